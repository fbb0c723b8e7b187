//! One database transaction: it moves the mark and applies what the mark moves over, or leaves
//! nothing behind.

use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, SqlSafeStr, Transaction as Sql};
use waltz_client::{CallbackError, Mark, Transaction};

use crate::callbacks::{Shared, SqlApply};
use crate::connection::{Connection, Unsound};
use crate::database::SqlDatabase;
use crate::error::SqlError;
use crate::marks::MarkError;

/// What came of a database transaction.
pub(crate) enum Attempt {
    /// All is applied.
    Applied,
    /// The mark is elsewhere: another instance has moved it, or there is no row yet.
    Elsewhere(Option<Mark>),
    /// The application refused one of the transactions; nothing was applied.
    Rejected { index: usize, error: CallbackError },
    /// The database refused to commit, for a reason that one of the transactions is.
    NotCommitted(sqlx::Error),
    /// Nothing was applied, unless the connection was lost while it was being committed. The mark
    /// tells.
    Transient(String),
    /// Trying again does not help.
    Failed(SqlError),
}

/// Applies a batch of consecutive transactions of a partition, if the mark is right before them.
pub(crate) async fn attempt<DB: SqlDatabase, A: SqlApply<DB>>(
    shared: &Shared<DB, A>,
    batch: &[Transaction],
) -> Attempt {
    let mut connection = match shared.pool.acquire().await {
        Ok(connection) => connection,
        Err(error) => return failed::<DB>("connect", error),
    };
    let (attempt, state) = on_connection(shared, &mut connection, batch).await;
    if state == ConnectionState::Unknown {
        connection.close_on_drop();
    }
    attempt
}

/// In what state a database transaction left its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionState {
    Reusable,
    Unknown,
}

async fn on_connection<DB: SqlDatabase, A: SqlApply<DB>>(
    shared: &Shared<DB, A>,
    connection: &mut PoolConnection<DB>,
    batch: &[Transaction],
) -> (Attempt, ConnectionState) {
    let mut sql = match connection.begin_with(DB::BEGIN.into_sql_str()).await {
        Ok(sql) => sql,
        Err(error) => {
            return (failed::<DB>("begin a transaction", error), ConnectionState::Unknown);
        }
    };
    match in_transaction(shared, &mut sql, batch).await {
        Ok(()) => match sql.commit().await {
            Ok(()) => (Attempt::Applied, ConnectionState::Reusable),
            Err(error) if DB::is_transient(&error) => {
                (Attempt::Transient(error.to_string()), ConnectionState::Unknown)
            }
            Err(error) => (Attempt::NotCommitted(error), ConnectionState::Unknown),
        },
        Err(attempt) => match sql.rollback().await {
            Ok(()) => (attempt, ConnectionState::Reusable),
            // The database rolls back by itself what was never committed.
            Err(_) => (attempt, ConnectionState::Unknown),
        },
    }
}

/// Moves the mark and applies the batch; or why that must not be committed.
async fn in_transaction<DB: SqlDatabase, A: SqlApply<DB>>(
    shared: &Shared<DB, A>,
    sql: &mut Sql<'_, DB>,
    batch: &[Transaction],
) -> Result<(), Attempt> {
    let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return Ok(()) };
    let (partition, first, last) = (first.partition(), first.id(), last.id());
    let advanced = shared.marks.advance::<DB>(sql, partition, first, last).await;
    if !advanced.map_err(mark_failed::<DB>)? {
        let mark = shared.marks.read::<DB>(sql, partition).await.map_err(mark_failed::<DB>)?;
        return Err(Attempt::Elsewhere(mark));
    }
    // What can't be released has ended together with the transaction that it was made in.
    let ended = |error: sqlx::Error| match DB::is_transient(&error) {
        true => Attempt::Transient(error.to_string()),
        false => Attempt::Failed(SqlError::TransactionEnded { partition, first, last }),
    };
    let mut savepoint = sql.begin().await.map_err(ended)?;
    apply_all(shared, &mut savepoint, batch).await?;
    savepoint.commit().await.map_err(ended)
}

async fn apply_all<DB: SqlDatabase, A: SqlApply<DB>>(
    shared: &Shared<DB, A>,
    connection: &mut DB::Connection,
    batch: &[Transaction],
) -> Result<(), Attempt> {
    let mut connection = Connection::<DB>::new(connection);
    for (index, transaction) in batch.iter().enumerate() {
        let applied = shared.application.apply(transaction, &mut connection).await;
        let error = match (connection.soundness(), applied) {
            (Ok(()), Ok(())) => continue,
            (Ok(()) | Err(Unsound::Failed(_)), Err(error)) => error,
            (Err(Unsound::Failed(reason)), Ok(())) => SqlError::StatementFailed(reason).into(),
            (Err(Unsound::Transient(reason)), _) => return Err(Attempt::Transient(reason)),
        };
        return Err(Attempt::Rejected { index, error });
    }
    Ok(())
}

fn failed<DB: SqlDatabase>(action: &'static str, source: sqlx::Error) -> Attempt {
    match DB::is_transient(&source) {
        true => Attempt::Transient(source.to_string()),
        false => Attempt::Failed(SqlError::Database { action, source }),
    }
}

fn mark_failed<DB: SqlDatabase>(error: MarkError) -> Attempt {
    match error {
        MarkError::Database(error) => failed::<DB>("move the high-water mark", error),
        MarkError::Certain(error) => Attempt::Failed(error),
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use bytes::BytesMut;
    use sqlx::sqlite::SqlitePoolOptions;
    use sqlx::{Sqlite, SqlitePool};
    use waltz_client::{ClientCallbacks, ClientId, PartitionId, ReqId};
    use waltz_core::id::Generation;
    use waltz_core::limits::Limits;
    use waltz_core::record::NewRecord;

    use super::*;
    use crate::SqlCallbacks;

    /// Has found a way around the checks of statements.
    struct Cheating(&'static str);

    impl SqlApply<Sqlite> for Cheating {
        async fn apply(
            &self,
            _: &Transaction,
            connection: &mut Connection<'_, Sqlite>,
        ) -> Result<(), CallbackError> {
            Ok(connection.cheat(self.0).await?)
        }
    }

    async fn memory() -> SqlitePool {
        let one = SqlitePoolOptions::new().max_connections(1);
        one.connect("sqlite::memory:").await.expect("it is in memory")
    }

    fn transaction() -> Transaction {
        let (generation, partition) = (Generation(1), PartitionId(0));
        let record = NewRecord {
            req_id: ReqId { client: ClientId(1), generation, partition, sequence: 0 },
            header: 0,
            computed_at: Mark::NONE,
            writes: &[],
            reads: &[],
            appends: &[],
            data: &[],
        };
        let mut bytes = BytesMut::new();
        record.encode(&Limits::default(), &mut bytes).expect("it is short");
        Transaction::of_record(bytes.freeze()).expect("it was just encoded")
    }

    #[tokio::test]
    async fn a_transaction_that_was_ended_is_noticed() {
        for cheat in ["COMMIT", "ROLLBACK", "RELEASE _sqlx_savepoint_1"] {
            let callbacks = SqlCallbacks::new(memory().await, Cheating(cheat));
            callbacks.migrate().await.expect("the table is made");
            let error = callbacks.apply_transaction(&transaction()).await.expect_err(cheat);
            let error = error.downcast_ref::<SqlError>();
            assert!(matches!(error, Some(SqlError::TransactionEnded { .. })), "{cheat}: {error:?}");
        }
        let callbacks = SqlCallbacks::new(memory().await, Cheating("SELECT 1"));
        callbacks.migrate().await.expect("the table is made");
        callbacks.apply_transaction(&transaction()).await.expect("it does no harm");
    }
}
