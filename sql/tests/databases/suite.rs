//! What callbacks promise while nothing crashes.

use std::num::NonZeroUsize;
use std::time::Duration;

use waltz_client::{ClientCallbacks, Mark, PartitionId};
use waltz_sql::{SqlError, SqlOptions, StatementError};

use crate::ledger::{Books, follow};
use crate::support::{P, TestDatabase, mark, transaction, transactions};

crate::on_every_database!(
    instances_that_share_a_database_apply_everything_once_together,
    a_batch_is_applied_in_parts_that_fit,
    progress_is_kept_before_a_transaction_that_fails,
    another_instance_may_apply_what_failed_here,
    statements_that_end_transactions_are_refused,
    a_failed_statement_can_not_be_ignored,
    what_the_database_has_is_not_applied_again,
    a_database_that_went_back_is_reported,
    a_table_that_is_missing_is_reported,
    migrations_run_twice_and_at_once,
    instances_race_for_the_first_row,
    another_table_keeps_other_marks,
);

async fn instances_that_share_a_database_apply_everything_once_together<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    let (one, other) = (PartitionId(1), PartitionId(2));
    let all = [transactions(one, 0..300), transactions(other, 0..300)];
    let mut instances = Vec::new();
    for instance in 1..=3 {
        let callbacks = books.instance(instance).await;
        let all = all.clone();
        instances.push(async move {
            let at_once = 5 * instance as usize;
            tokio::join!(
                follow(&callbacks, &all[0], at_once),
                follow(&callbacks, &all[1], at_once)
            );
        });
    }
    futures_util::future::join_all(instances).await;
    books.assert_applied(one, 300).await;
    books.assert_applied(other, 300).await;
}

async fn a_batch_is_applied_in_parts_that_fit<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    let three = NonZeroUsize::new(3).expect("not zero");
    let callbacks =
        books.instance_with(1, SqlOptions::default().max_transactions(three).max_bytes(7)).await;
    let (applied, result) = callbacks.apply_batch(&transactions(P, 0..10)).await;
    result.expect("nothing fails");
    assert_eq!(applied, 10);
    books.assert_applied(P, 10).await;
}

async fn progress_is_kept_before_a_transaction_that_fails<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    let callbacks = books.instance(1).await;
    let mut batch = transactions(P, 0..5);
    batch[3] = transaction(P, 3, "fail");
    let (applied, result) = callbacks.apply_batch(&batch).await;
    assert_eq!(applied, 3);
    assert_eq!(result.expect_err("it fails").to_string(), "it is not to be applied");
    books.assert_applied(P, 3).await;
    let (applied, result) = callbacks.apply_batch(&batch[3..]).await;
    assert_eq!(applied, 0, "it fails again");
    assert!(result.is_err());
    batch[3] = transaction(P, 3, "write");
    let (applied, result) = callbacks.apply_batch(&batch[3..]).await;
    assert_eq!((applied, result.is_ok()), (2, true), "the reason has gone");
    books.assert_applied(P, 5).await;
}

async fn another_instance_may_apply_what_failed_here<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    let (failing, other) = (books.instance(1).await, books.instance(2).await);
    let mut batch = transactions(P, 0..4);
    follow(&other, &batch, 2).await;
    batch[1] = transaction(P, 1, "fail");
    let (applied, result) = failing.apply_batch(&batch).await;
    assert_eq!((applied, result.is_ok()), (4, true));
    books.assert_applied(P, 4).await;
}

async fn statements_that_end_transactions_are_refused<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    let callbacks = books.instance(1).await;
    let attempts = [
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
        "SAVEPOINT a",
        "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
        "/* harmless */ COMMIT",
        "SELECT 1; COMMIT",
    ];
    for attempt in attempts {
        let batch = [transaction(P, 0, "write"), transaction(P, 1, attempt)];
        let (_, result) = callbacks.apply_batch(&batch).await;
        let error = result.expect_err(attempt);
        assert!(error.downcast_ref::<StatementError>().is_some(), "{attempt}: {error}");
        books.assert_applied(P, 1).await;
    }
    // Only the statement is refused: an application that goes on has done no harm.
    let batch = [transaction(P, 1, "ignoring COMMIT"), transaction(P, 2, "write")];
    let (applied, result) = callbacks.apply_batch(&batch).await;
    assert_eq!((applied, result.is_ok()), (2, true));
    books.assert_applied(P, 3).await;
}

async fn a_failed_statement_can_not_be_ignored<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    let callbacks = books.instance(1).await;
    let batch = [
        transaction(P, 0, "write"),
        transaction(P, 1, "ignoring INSERT INTO counters VALUES (3, 0)"),
        transaction(P, 2, "write"),
    ];
    let (applied, result) = callbacks.apply_batch(&batch).await;
    assert_eq!(applied, 1);
    let error = result.expect_err("a key was there twice");
    let error = error.downcast_ref::<SqlError>();
    assert!(matches!(error, Some(SqlError::StatementFailed(_))), "{error:?}");
    books.assert_applied(P, 1).await;
}

async fn what_the_database_has_is_not_applied_again<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    let callbacks = books.instance(1).await;
    let batch = transactions(P, 0..8);
    follow(&callbacks, &batch[..6], 6).await;
    let (applied, result) = callbacks.apply_batch(&batch[..3]).await;
    assert_eq!((applied, result.is_ok()), (3, true), "all of it is there");
    let (applied, result) = callbacks.apply_batch(&batch[4..]).await;
    assert_eq!((applied, result.is_ok()), (4, true), "half of it is there");
    callbacks.apply_transaction(&batch[7]).await.expect("it is there");
    books.assert_applied(P, 8).await;
}

async fn a_database_that_went_back_is_reported<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    let callbacks = books.instance(1).await;
    let batch = transactions(P, 0..8);
    follow(&callbacks, &batch[..2], 2).await;
    let (applied, result) = callbacks.apply_batch(&batch[5..]).await;
    assert_eq!(applied, 0);
    let error = result.expect_err("it has a gap");
    let gap = error.downcast_ref::<SqlError>();
    assert!(matches!(gap, Some(SqlError::Gap { mark: at, .. }) if *at == mark(1)), "{error}");
    books.execute("UPDATE waltz_marks SET next_id = -1").await;
    let error = callbacks.high_water_mark(P).await.expect_err("it is no mark");
    assert!(matches!(error.downcast_ref(), Some(SqlError::NotAMark { stored: -1, .. })), "{error}");
}

async fn a_table_that_is_missing_is_reported<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    let callbacks = books.instance(1).await;
    books.execute("DROP TABLE waltz_marks").await;
    let error = callbacks.high_water_mark(P).await.expect_err("there is no table");
    assert!(error.to_string().contains("migrate"), "{error}");
    let (applied, result) = callbacks.apply_batch(&transactions(P, 0..2)).await;
    assert_eq!(applied, 0);
    assert!(matches!(
        result.expect_err("no table").downcast_ref(),
        Some(SqlError::Database { .. })
    ));
    callbacks.migrate().await.expect("it is made");
    // No row yet: applying makes it.
    follow(&callbacks, &transactions(P, 0..2), 2).await;
    books.assert_applied(P, 2).await;
}

async fn migrations_run_twice_and_at_once<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    follow(&books.instance(1).await, &transactions(P, 0..2), 2).await;
    books.instance(2).await.migrate().await.expect("it is made already");
    books.assert_applied(P, 2).await;
    let mut migrations = Vec::new();
    for instance in 1..=4 {
        let options = SqlOptions::default().table("other_marks".parse().expect("a name"));
        let callbacks = books.instance_with(instance, options).await;
        migrations.push(async move { callbacks.migrate().await });
    }
    for migration in futures_util::future::join_all(migrations).await {
        migration.expect("one of them makes it");
    }
}

async fn instances_race_for_the_first_row<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    let mut marks = Vec::new();
    for instance in 0..8 {
        let callbacks = books.instance(instance).await;
        marks.push(async move { callbacks.high_water_mark(P).await });
    }
    for mark in futures_util::future::join_all(marks).await {
        assert_eq!(mark.expect("one of them makes it"), Mark::NONE);
    }
    books.assert_applied(P, 0).await;
}

async fn another_table_keeps_other_marks<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    let options = SqlOptions::default()
        .table("other_marks".parse().expect("a name"))
        .patience(Duration::from_secs(5));
    let other = books.instance_with(1, options).await;
    other.migrate().await.expect("the table is made");
    let (applied, result) = other.apply_batch(&transactions(P, 0..3)).await;
    assert_eq!((applied, result.is_ok()), (3, true));
    let callbacks = books.instance(2).await;
    assert_eq!(callbacks.high_water_mark(P).await.expect("it is there"), Mark::NONE);
    assert_eq!(other.high_water_mark(P).await.expect("it is there"), mark(2));
}
