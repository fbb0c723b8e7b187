//! Partitions of one database that apply at the same time.

use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{MySql, Postgres};
use tokio::sync::Barrier;
use waltz_client::{CallbackError, ClientCallbacks, PartitionId, Transaction};
use waltz_sql::{Connection, SqlApply, SqlCallbacks};

use crate::ledger::Books;
use crate::support::{TestDatabase, transaction};

/// Has both partitions in the middle of their database transactions at the same time.
struct Meeting {
    barrier: Barrier,
    calls: AtomicU64,
}

impl<DB: TestDatabase> SqlApply<DB> for Meeting {
    async fn apply(
        &self,
        _: &Transaction,
        connection: &mut Connection<'_, DB>,
    ) -> Result<(), CallbackError> {
        connection.execute("SELECT 1").await?;
        // Once one of them has failed, nobody comes to meet the other.
        if self.calls.fetch_add(1, Ordering::Relaxed) < 2 {
            self.barrier.wait().await;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_partitions_do_not_fail_each_other() {
    check::<Postgres>("ANALYZE waltz_marks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_partitions_do_not_fail_each_other() {
    check::<MySql>("ANALYZE TABLE waltz_marks").await;
}

async fn check<DB: TestDatabase>(analyze: &str) {
    let books = Books::<DB>::new().await;
    let (one, other) = (PartitionId(1), PartitionId(2));
    let meeting = Meeting { barrier: Barrier::new(2), calls: AtomicU64::new(0) };
    let callbacks = SqlCallbacks::new(DB::connect(&books.place).await, meeting);
    for partition in [one, other] {
        callbacks.high_water_mark(partition).await.expect("it is made");
    }
    // From now on the database knows how small the table is.
    books.execute(analyze).await;
    let (one, other) = (transaction(one, 0, ""), transaction(other, 0, ""));
    let applied =
        tokio::join!(callbacks.apply_transaction(&one), callbacks.apply_transaction(&other));
    applied.0.expect("it is applied");
    applied.1.expect("it is applied");
    assert_eq!(callbacks.application().calls.load(Ordering::Relaxed), 2, "nothing was tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_applications_have_their_settings() {
    struct Settings;
    impl SqlApply<Postgres> for Settings {
        async fn apply(
            &self,
            _: &Transaction,
            connection: &mut Connection<'_, Postgres>,
        ) -> Result<(), CallbackError> {
            let sql = "SELECT (current_setting('enable_seqscan') = 'on')::int::bigint, \
                (current_setting('transaction_isolation') = 'serializable')::int::bigint";
            let row = connection.fetch_one(sql).await?;
            let settings: (i64, i64) = sqlx::FromRow::from_row(&row)?;
            if settings == (1, 1) { Ok(()) } else { Err(format!("{settings:?}").into()) }
        }
    }
    let books = Books::<Postgres>::new().await;
    let callbacks = SqlCallbacks::new(books.pool.clone(), Settings);
    callbacks.high_water_mark(PartitionId(0)).await.expect("it is made");
    for id in 0..8 {
        let transaction = transaction(PartitionId(0), id, "");
        callbacks.apply_transaction(&transaction).await.expect("the settings are as they were");
    }
}
