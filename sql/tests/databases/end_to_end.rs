//! Services on a database, with the real client and a real node.

use sqlx::Pool;
use waltz_client::{
    CallbackError, Client, FeedMode, Outcome, PartitionId, PartitionLocalLock, TransactionBuilder,
    TransactionContext,
};

use crate::ledger::Books;
use crate::node::TestNode;
use crate::support::TestDatabase;

crate::on_every_database!(
    services_that_share_a_database_follow_the_log,
    data_is_loaded_before_the_database_is_asked,
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
