//! An application that writes down what it applies, so that anything applied twice, left out or
//! out of order shows, and that misbehaves where its transactions say so.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Pool};
use tokio::sync::{Notify, watch};
use waltz_client::{CallbackError, ClientCallbacks, PartitionId, Transaction};
use waltz_sql::{Connection, SqlApply, SqlCallbacks, SqlOptions, StatementError};

use crate::support::{TestDatabase, mark};

/// No key in the table of entries: a transaction that is applied twice has two rows.
const TABLES: &str = "CREATE TABLE entries (partition_id BIGINT NOT NULL, id BIGINT NOT NULL, \
     position BIGINT NOT NULL, instance BIGINT NOT NULL); \
     CREATE TABLE counters (partition_id BIGINT PRIMARY KEY, entries BIGINT NOT NULL)";

/// One instance of it.
pub(crate) struct Ledger {
    instance: i64,
    /// Notified when a transaction that says so waits.
    pub(crate) waits: Arc<Notify>,
    /// Until this is true.
    pub(crate) go_on: watch::Sender<bool>,
}

/// A database with the ledger's tables.
pub(crate) struct Books<DB: TestDatabase> {
    pub(crate) place: DB::Place,
    pub(crate) pool: Pool<DB>,
}

impl<DB: TestDatabase> Books<DB> {
    pub(crate) async fn new() -> Self {
        Self::at(DB::place().await).await
    }

    pub(crate) async fn at(place: DB::Place) -> Self {
        let pool = DB::connect(&place).await;
        DB::execute(&pool, TABLES).await;
        let books = Self { place, pool };
        books.instance(0).await.migrate().await.expect("the table is made");
        books
    }

    /// One more instance, with connections of its own.
    pub(crate) async fn instance(&self, instance: i64) -> SqlCallbacks<DB, Ledger> {
        self.instance_with(instance, SqlOptions::default()).await
    }

    pub(crate) async fn instance_with(
        &self,
        instance: i64,
        options: SqlOptions,
    ) -> SqlCallbacks<DB, Ledger> {
        on_pool(DB::connect(&self.place).await, instance, options)
    }

    /// Demands that exactly the first transactions of a partition are applied, once and in order.
    pub(crate) async fn assert_applied(&self, partition: PartitionId, count: u64) {
        let partition_id = partition.0;
        let sql = format!(
            "SELECT id, position FROM entries WHERE partition_id = {partition_id} \
             ORDER BY position, id"
        );
        let expected: Vec<_> = (0..count as i64).map(|id| vec![id, id]).collect();
        assert_eq!(self.integers(&sql).await, expected);
        let sql = format!("SELECT next_id FROM waltz_marks WHERE partition_id = {partition_id}");
        assert_eq!(self.integers(&sql).await, [[count as i64]], "the mark says the same");
    }

    pub(crate) async fn integers(&self, sql: &str) -> Vec<Vec<i64>> {
        DB::integers(&self.pool, sql).await
    }

    pub(crate) async fn execute(&self, sql: &str) {
        DB::execute(&self.pool, sql).await;
    }
}

pub(crate) fn on_pool<DB: TestDatabase>(
    pool: Pool<DB>,
    instance: i64,
    options: SqlOptions,
) -> SqlCallbacks<DB, Ledger> {
    let (waits, go_on) = (Arc::default(), watch::Sender::new(false));
    SqlCallbacks::with_options(pool, Ledger { instance, waits, go_on }, options)
}

/// Applies a batch from the mark that the database has, as a client does.
pub(crate) async fn follow<DB: TestDatabase>(
    callbacks: &SqlCallbacks<DB, Ledger>,
    transactions: &[Transaction],
    at_once: usize,
) {
    let Some(last) = transactions.last() else { return };
    let next = callbacks.high_water_mark(last.partition()).await.expect("it is there").next();
    let rest = &transactions[next.0.min(last.id().0 + 1) as usize..];
    for batch in rest.chunks(at_once) {
        let (applied, result) = callbacks.apply_batch(batch).await;
        result.expect("nothing fails");
        assert_eq!(applied, batch.len());
    }
    let end = callbacks.high_water_mark(last.partition()).await.expect("it is there");
    assert!(end >= mark(last.id().0));
}

impl<DB: TestDatabase> SqlApply<DB> for Ledger {
    async fn apply(
        &self,
        transaction: &Transaction,
        connection: &mut Connection<'_, DB>,
    ) -> Result<(), CallbackError> {
        let data = transaction.bytes().await?;
        self.write(transaction, connection).await?;
        match std::str::from_utf8(&data)? {
            "write" => Ok(()),
            "fail" => Err("it is not to be applied".into()),
            "panic" => panic!("on purpose"),
            "wait" => {
                self.waits.notify_one();
                self.go_on.subscribe().wait_for(|go_on| *go_on).await?;
                // What it waited for may have been the end of the database.
                let sql = "UPDATE counters SET entries = entries";
                connection.execute(sql).await?;
                Ok(())
            }
            swallowed if swallowed.starts_with("ignoring ") => {
                let sql = swallowed.trim_start_matches("ignoring ").to_owned();
                let refused = connection.execute(AssertSqlSafe(sql)).await;
                assert!(refused.is_err(), "it is neither allowed nor possible");
                Ok(())
            }
            sql => {
                connection.execute(AssertSqlSafe(sql.to_owned())).await?;
                Ok(())
            }
        }
    }
}

impl Ledger {
    /// Writes down the transaction, and how many came before it.
    async fn write<DB: TestDatabase>(
        &self,
        transaction: &Transaction,
        connection: &mut Connection<'_, DB>,
    ) -> Result<(), StatementError> {
        let (partition, id) = (transaction.partition().0, transaction.id().0);
        let sql = format!("SELECT entries FROM counters WHERE partition_id = {partition}");
        let counter = connection.fetch_optional(AssertSqlSafe(sql)).await?;
        let position = counter.as_ref().map_or(0, DB::integer);
        let sql = match counter {
            None => format!("INSERT INTO counters VALUES ({partition}, 1)"),
            Some(_) => format!(
                "UPDATE counters SET entries = {} WHERE partition_id = {partition}",
                position + 1
            ),
        };
        connection.execute(AssertSqlSafe(sql)).await?;
        let instance = self.instance;
        let sql = format!("INSERT INTO entries VALUES ({partition}, {id}, {position}, {instance})");
        connection.execute(AssertSqlSafe(sql)).await?;
        Ok(())
    }
}
