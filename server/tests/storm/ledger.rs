//! What the service keeps: counters, each of which goes up by one a transaction, and a note of every
//! transaction that was applied.
//!
//! A transaction says what its counter was when it was computed. Applied twice, out of order or on a
//! change that it should have conflicted with, it does not fit, and the service stops.

use std::future::Future;

use sqlx::{MySql, MySqlPool, PgPool, Postgres, Row, Sqlite, SqlitePool};
use waltz_client::{CallbackError, Mark, PartitionId, RawBytes, Transaction, TransactionId};
use waltz_sql::{Connection, SqlApply, SqlDatabase, sqlx};

/// How many counters there are.
pub(crate) const COUNTERS: i64 = 1000;
/// How many partitions they are spread over.
pub(crate) const PARTITIONS: u32 = 4;

/// A counter's partition.
pub(crate) fn partition_of(counter: i64) -> PartitionId {
    PartitionId(counter as u32 % PARTITIONS)
}

/// What a transaction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) counter: i64,
    /// What the counter is before.
    pub(crate) from: i64,
    /// Names the one submission that this is.
    pub(crate) operation: i64,
}

impl Step {
    pub(crate) fn encode(self) -> Vec<u8> {
        [self.counter, self.from, self.operation].map(i64::to_le_bytes).concat()
    }

    pub(crate) async fn of(transaction: &Transaction) -> Result<Self, CallbackError> {
        let data = transaction.data(&RawBytes).await?;
        let (words, []) = data.as_chunks() else { return Err("it is no step".into()) };
        let &[counter, from, operation] = words else { return Err("it is no step".into()) };
        let [counter, from, operation] = [counter, from, operation].map(i64::from_le_bytes);
        Ok(Self { counter, from, operation })
    }
}

/// Applies steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ledger;

/// The ledger's tables, in whichever database.
pub(crate) trait Book: Clone + Send + Sync + 'static {
    type Database: SqlDatabase;

    /// Makes the tables and the counters.
    fn create(&self) -> impl Future<Output = sqlx::Result<()>> + Send;
    /// What a counter is.
    fn value(&self, counter: i64) -> impl Future<Output = sqlx::Result<i64>> + Send;
    /// What all counters come to.
    fn total(&self) -> impl Future<Output = sqlx::Result<i64>> + Send;
    /// The notes of a partition from an id on, in the order of ids, so many at most.
    fn notes(
        &self,
        partition: PartitionId,
        after: Mark,
        limit: i64,
    ) -> impl Future<Output = sqlx::Result<Vec<(TransactionId, i64)>>> + Send;
    /// The pool itself.
    fn pool(&self) -> sqlx::Pool<Self::Database>;
}

macro_rules! ledger {
    ($database:ty, $pool:ty, $argument:literal) => {
        ledger!(@ $database, $pool,
            concat!("SELECT value FROM counters WHERE counter = ", $argument, "1"),
            concat!("UPDATE counters SET value = ", $argument, "1 WHERE counter = ", $argument, "2"),
            concat!("INSERT INTO notes (part, id, operation) VALUES (",
                $argument, "1, ", $argument, "2, ", $argument, "3)"),
            concat!("SELECT id, operation FROM notes WHERE part = ", $argument, "1 AND id >= ",
                $argument, "2 ORDER BY id LIMIT ", $argument, "3"));
    };
    (@ $database:ty, $pool:ty, $read:expr, $write:expr, $note:expr, $notes:expr) => {
        impl SqlApply<$database> for Ledger {
            async fn apply(
                &self,
                transaction: &Transaction,
                connection: &mut Connection<'_, $database>,
            ) -> Result<(), CallbackError> {
                let Step { counter, from, operation } = Step::of(transaction).await?;
                let row = connection.fetch_one(sqlx::query($read).bind(counter)).await?;
                let value: i64 = row.try_get(0)?;
                if value != from {
                    return Err(format!("counter {counter} is {value} and was {from}").into());
                }
                let write = sqlx::query($write).bind(from + 1).bind(counter);
                connection.execute(write).await?;
                let (part, id) = (i64::from(transaction.partition().0), transaction.id().0 as i64);
                let note = sqlx::query($note).bind(part).bind(id).bind(operation);
                connection.execute(note).await?;
                Ok(())
            }

            fn uncaught_exception(&self, transaction: &Transaction, error: &CallbackError) {
                super::instance::give_up(transaction, error);
            }
        }

        impl Book for $pool {
            type Database = $database;

            async fn create(&self) -> sqlx::Result<()> {
                for table in TABLES {
                    sqlx::query(table).execute(self).await?;
                }
                for counter in 0..COUNTERS {
                    let counter = sqlx::AssertSqlSafe(format!(
                        "INSERT INTO counters (counter, value) VALUES ({counter}, 0)"
                    ));
                    sqlx::query(counter).execute(self).await?;
                }
                Ok(())
            }

            async fn value(&self, counter: i64) -> sqlx::Result<i64> {
                sqlx::query($read).bind(counter).fetch_one(self).await?.try_get(0)
            }

            async fn total(&self) -> sqlx::Result<i64> {
                let rows = sqlx::query("SELECT value FROM counters").fetch_all(self).await?;
                rows.iter().map(|row| row.try_get::<i64, _>(0)).sum()
            }

            async fn notes(
                &self,
                partition: PartitionId,
                after: Mark,
                limit: i64,
            ) -> sqlx::Result<Vec<(TransactionId, i64)>> {
                let first = after.next().0 as i64;
                let notes =
                    sqlx::query($notes).bind(i64::from(partition.0)).bind(first).bind(limit);
                let rows = notes.fetch_all(self).await?;
                let note = |row: &<$database as sqlx::Database>::Row| {
                    Ok((TransactionId(row.try_get::<i64, _>(0)? as u64), row.try_get(1)?))
                };
                rows.iter().map(note).collect()
            }

            fn pool(&self) -> sqlx::Pool<$database> {
                self.clone()
            }
        }
    };
}

/// No key on notes: one that came twice is to be seen.
const TABLES: [&str; 3] = [
    "CREATE TABLE counters (counter BIGINT NOT NULL PRIMARY KEY, value BIGINT NOT NULL)",
    "CREATE TABLE notes (part BIGINT NOT NULL, id BIGINT NOT NULL, operation BIGINT NOT NULL)",
    "CREATE INDEX notes_by_id ON notes (part, id)",
];

ledger!(Postgres, PgPool, "$");
ledger!(Sqlite, SqlitePool, "?");
ledger!(@ MySql, MySqlPool,
    "SELECT value FROM counters WHERE counter = ?",
    "UPDATE counters SET value = ? WHERE counter = ?",
    "INSERT INTO notes (part, id, operation) VALUES (?, ?, ?)",
    "SELECT id, operation FROM notes WHERE part = ? AND id >= ? ORDER BY id LIMIT ?");
