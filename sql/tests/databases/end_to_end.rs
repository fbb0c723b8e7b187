//! Services on a database, with the real client and a real node.

use futures_util::TryStreamExt;
use sqlx::Pool;
use waltz_client::{
    AppendRequest, CallbackError, Client, ClientCallbacks, FeedMode, FeedOptions, FetchError, Mark,
    NoDatabase, Outcome, PartitionId, PartitionLocalLock, Transaction, TransactionBuilder,
    TransactionContext, TransactionId,
};
use waltz_sql::{Connection, SqlApply, SqlCallbacks};

use crate::ledger::Books;
use crate::node::TestNode;
use crate::support::TestDatabase;

crate::on_every_database!(
    services_that_share_a_database_follow_the_log,
    data_is_loaded_before_the_database_is_asked,
    data_that_is_not_needed_is_not_loaded,
);

const P: PartitionId = PartitionId(0);

/// Writes only while the ledger is as long as its author believes.
struct Extend<DB: TestDatabase> {
    pool: Pool<DB>,
}

impl<DB: TestDatabase> TransactionContext for Extend<DB> {
    fn partition(&self, _: u32) -> PartitionId {
        P
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        // Reads what was applied, as contexts do.
        let count = DB::integers(&self.pool, "SELECT COUNT(*) FROM entries").await[0][0];
        let mark = builder.high_water_mark();
        if (count as u64) < mark.count() {
            return Err("the database is behind the client".into());
        }
        builder.write_lock(PartitionLocalLock::new("ledger", 0)).data_bytes("write");
        Ok(true)
    }
}

async fn services_that_share_a_database_follow_the_log<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    let node = TestNode::start(1);
    let mut services = Vec::new();
    for instance in 1..=2 {
        let callbacks = books.instance(instance).await;
        let client = Client::connect(node.config(), callbacks).await.expect("it connects");
        let submissions: Vec<_> =
            (0..30).map(|_| client.submit(Extend { pool: books.pool.clone() })).collect();
        services.push((client, submissions));
    }
    for (client, submissions) in services {
        for submission in submissions {
            let outcome = submission.await;
            assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
        }
        client.flush().await.expect("everything is decided");
        client.close().await;
    }
    books.assert_applied(P, 60).await;
}

async fn data_is_loaded_before_the_database_is_asked<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    let node = TestNode::start(1);
    let config = node.config().feed(FeedMode::Headers);
    let client = Client::connect(config, books.instance(1).await).await.expect("it connects");
    for _ in 0..10 {
        let outcome = client.submit(Extend { pool: books.pool.clone() }).await;
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    }
    client.close().await;
    books.assert_applied(P, 10).await;
}

/// Reads the data of transactions with this header, and of no others.
const READS_DATA: u32 = 1;

/// Counts transactions.
struct Counter;

impl<DB: TestDatabase> SqlApply<DB> for Counter {
    async fn apply(
        &self,
        transaction: &Transaction,
        connection: &mut Connection<'_, DB>,
    ) -> Result<(), CallbackError> {
        if transaction.header() == READS_DATA {
            transaction.bytes().await?;
        }
        connection.execute("UPDATE counters SET entries = entries + 1").await?;
        Ok(())
    }

    fn needs_data(&self, transaction: &Transaction) -> bool {
        transaction.header() == READS_DATA
    }
}

async fn data_that_is_not_needed_is_not_loaded<DB: TestDatabase>() {
    let books = Books::<DB>::new().await;
    books.execute("INSERT INTO counters VALUES (0, 0)").await;
    let node = TestNode::start(1);
    let client = Client::connect(node.config(), NoDatabase::newest()).await.expect("it connects");
    for header in [0, 0, READS_DATA, 0] {
        let append = client.append(P, AppendRequest::new("data").header(header));
        append.await.expect("it is committed");
    }
    let options = FeedOptions::new().headers_only().until_now();
    let feed = client.feed_with(P, Mark::NONE, options);
    let batch: Vec<_> = feed.try_collect().await.expect("it is there");
    client.close().await;
    // The feed and its client are gone: whatever is loaded from now on fails.
    assert_eq!(batch[0].bytes().await, Err(FetchError::Closed));

    let callbacks = SqlCallbacks::new(books.pool.clone(), Counter);
    let (applied, result) = callbacks.apply_batch(&batch).await;
    assert_eq!(applied, 2);
    let error = result.expect_err("the third one needs its data");
    assert_eq!(error.downcast_ref(), Some(&FetchError::Closed), "{error}");
    assert_eq!(books.integers("SELECT entries FROM counters").await, [[2]]);
    let mark = callbacks.high_water_mark(P).await.expect("it is there");
    assert_eq!(mark, Mark::at(TransactionId(1)));
}
