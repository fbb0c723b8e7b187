//! Instances, connections and databases that go away while they apply.

use std::time::Duration;

use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;
use sqlx::{MySql, Pool, Postgres, Sqlite};
use waltz_client::ClientCallbacks;
use waltz_databases::Kind;
use waltz_sql::{SqlError, SqlOptions};

use crate::ledger::{Books, follow, on_pool};
use crate::proxy::{Cut, Proxy};
use crate::support::{
    OnServer, P, TestDatabase, mariadb_at, postgres_at, transaction, transactions,
};

crate::on_every_database!(
    an_instance_that_ends_between_apply_and_commit_leaves_nothing_behind,
    an_application_that_panics_leaves_nothing_behind,
);

async fn an_instance_that_ends_between_apply_and_commit_leaves_nothing_behind<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    let callbacks = books.instance(1).await;
    let applying = callbacks.clone();
    let task = tokio::spawn(async move {
        let batch = [transaction(P, 0, "write"), transaction(P, 1, "wait")];
        applying.apply_batch(&batch).await.0
    });
    callbacks.application().waits.notified().await;
    task.abort();
    assert!(task.await.is_err_and(|error| error.is_cancelled()));
    follow(&books.instance(2).await, &transactions(P, 0..5), 2).await;
    follow(&callbacks, &transactions(P, 0..7), 2).await;
    books.assert_applied(P, 7).await;
}

async fn an_application_that_panics_leaves_nothing_behind<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    let callbacks = books.instance(1).await;
    let applying = callbacks.clone();
    let task = tokio::spawn(async move {
        let batch = [transaction(P, 0, "write"), transaction(P, 1, "panic")];
        applying.apply_batch(&batch).await.0
    });
    assert!(task.await.is_err_and(|error| error.is_panic()));
    follow(&callbacks, &transactions(P, 0..5), 2).await;
    books.assert_applied(P, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_commits_whose_answer_is_lost_are_resolved() {
    check_lost_answers::<Postgres>(postgres_at).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_commits_whose_answer_is_lost_are_resolved() {
    check_lost_answers::<MySql>(mariadb_at).await;
}

async fn check_lost_answers<DB: TestDatabase<Place = OnServer>>(connect: fn(&str) -> Pool<DB>) {
    let books = Books::<DB>::new().await;
    let OnServer { server, name } = &books.place;
    let proxy = Proxy::start(server.socket()).await;
    let pool = connect(&server.url_at(proxy.port, name));
    let callbacks = on_pool(pool, 1, SqlOptions::default());
    let all = transactions(P, 0..8);
    for (batch, cut) in all.chunks(2).zip([Cut::BeforeCommit, Cut::BeforeAnswer].repeat(2)) {
        callbacks.high_water_mark(P).await.expect("it is there");
        proxy.cut_next(cut);
        let (applied, result) = callbacks.apply_batch(batch).await;
        result.expect("it is tried again");
        assert_eq!(applied, 2);
        assert!(!proxy.is_armed(), "a commit was cut");
    }
    books.assert_applied(P, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_killed_in_mid_apply_comes_back() {
    check_kill::<Postgres>(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_killed_in_mid_apply_comes_back() {
    check_kill::<MySql>(Kind::MariaDb).await;
}

async fn check_kill<DB: TestDatabase<Place = OnServer>>(kind: Kind) {
    let books = Books::<DB>::at(OnServer::alone(kind).await).await;
    let callbacks = books.instance(1).await;
    follow(&callbacks, &transactions(P, 0..3), 3).await;
    let applying = callbacks.clone();
    let task = tokio::spawn(async move {
        let mut batch = transactions(P, 0..6);
        batch[4] = transaction(P, 4, "wait");
        applying.apply_batch(&batch).await
    });
    let ledger = callbacks.application();
    ledger.waits.notified().await;
    let server = books.place.server.clone();
    let killing = server.clone();
    let killed = tokio::task::spawn_blocking(move || killing.kill());
    killed.await.expect("no panic").expect("it dies");
    ledger.go_on.send_replace(true);
    let restarted = tokio::task::spawn_blocking(move || server.restart());
    restarted.await.expect("no panic").expect("it comes back");
    let (applied, result) = task.await.expect("no panic");
    result.expect("it is tried again");
    assert_eq!(applied, 6);
    books.assert_applied(P, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_that_stays_away_is_reported() {
    let connect = |url: &str| PgPoolOptions::new().acquire_timeout(SHORT).connect_lazy(url);
    check_absence::<Postgres>(Kind::Postgres, connect).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_that_stays_away_is_reported() {
    let connect = |url: &str| MySqlPoolOptions::new().acquire_timeout(SHORT).connect_lazy(url);
    check_absence::<MySql>(Kind::MariaDb, connect).await;
}

const SHORT: Duration = Duration::from_millis(200);

async fn check_absence<DB: TestDatabase<Place = OnServer>>(
    kind: Kind,
    connect: fn(&str) -> Result<Pool<DB>, sqlx::Error>,
) {
    let books = Books::<DB>::at(OnServer::alone(kind).await).await;
    let OnServer { server, name } = books.place.clone();
    let pool = connect(&server.url(&name)).expect("the URL is one");
    let callbacks = on_pool(pool, 1, SqlOptions::default().patience(SHORT));
    let batch = transactions(P, 0..4);
    follow(&callbacks, &batch[..2], 2).await;
    server.kill().expect("it dies");
    let (applied, result) = callbacks.apply_batch(&batch).await;
    let error = result.expect_err("there is no database");
    assert_eq!(applied, 0, "whether the first are applied can't be asked");
    assert!(matches!(error.downcast_ref(), Some(SqlError::Unavailable { .. })), "{error}");
    assert!(callbacks.high_water_mark(P).await.is_err());
    server.restart().expect("it comes back");
    // The client gives it again, as often as it takes.
    let patient = books.instance(2).await;
    let (applied, result) = patient.apply_batch(&batch).await;
    assert_eq!((applied, result.is_ok()), (4, true));
    books.assert_applied(P, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_transactions_that_fail_as_late_as_the_commit_are_found() {
    check_deferred::<Postgres>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_transactions_that_fail_as_late_as_the_commit_are_found() {
    check_deferred::<Sqlite>().await;
}

async fn check_deferred<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    books
        .execute(
            "CREATE TABLE parents (id BIGINT PRIMARY KEY); \
             CREATE TABLE children (parent BIGINT NOT NULL \
             REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)",
        )
        .await;
    let callbacks = books.instance(1).await;
    let mut batch = transactions(P, 0..5);
    batch[2] = transaction(P, 2, "INSERT INTO children VALUES (7)");
    let (applied, result) = callbacks.apply_batch(&batch).await;
    assert_eq!(applied, 2);
    assert!(matches!(
        result.expect_err("no parent").downcast_ref(),
        Some(SqlError::Database { .. })
    ));
    books.assert_applied(P, 2).await;
    books.execute("INSERT INTO parents VALUES (7)").await;
    let (applied, result) = callbacks.apply_batch(&batch[2..]).await;
    assert_eq!((applied, result.is_ok()), (3, true));
    books.assert_applied(P, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_can_roll_back_by_itself() {
    let books = Books::<Sqlite>::new().await;
    let callbacks = books.instance(1).await;
    let batch = [
        transaction(P, 0, "write"),
        transaction(P, 1, "ignoring INSERT OR ROLLBACK INTO counters VALUES (3, 0)"),
    ];
    let (applied, result) = callbacks.apply_batch(&batch).await;
    assert_eq!(applied, 1);
    assert!(matches!(
        result.expect_err("rolled back").downcast_ref(),
        Some(SqlError::StatementFailed(_))
    ));
    books.assert_applied(P, 1).await;
    follow(&callbacks, &transactions(P, 0..9), 3).await;
    books.assert_applied(P, 9).await;
}
