//! The client for threads does what the other does.

use std::time::Duration;

use tokio::runtime::Builder;
use waltz_client::blocking::{Client, ConnectError};
use waltz_client::testing::TestCluster;
use waltz_client::{
    AppendRequest, CallbackError, ClientConfig, ClientError, FeedOptions, Mark, NoDatabase,
    Outcome, PartitionId, TransactionBuilder, TransactionContext, TransactionId,
};

const P: PartitionId = PartitionId(0);

struct Noting;

impl TransactionContext for Noting {
    fn partition(&self, _: u32) -> PartitionId {
        P
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        builder.data_bytes("noted");
        Ok(true)
    }
}

fn cluster() -> (TestCluster, Client) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a thread can be started");
    let (cluster, client) = runtime.block_on(async {
        let cluster = TestCluster::start();
        let client = cluster.client(NoDatabase::newest()).await;
        (cluster, client)
    });
    (cluster, Client::on(runtime, client))
}

#[test]
fn threads_append_submit_and_read() {
    let (_cluster, client) = cluster();
    let appended = std::thread::scope(|scope| {
        let threads = [(); 4]
            .map(|()| scope.spawn(|| client.append(P, AppendRequest::new("appended")).wait()));
        threads.map(|thread| thread.join().expect("it does not panic").expect("nothing fails"))
    });
    let mut ids = appended.map(|id| id.0);
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2, 3]);
    let outcome = client.submit(Noting).wait();
    assert!(matches!(outcome, Outcome::Committed(TransactionId(4))), "{outcome:?}");
    client.submit_when_ready(Noting, Default::default()).detach();
    client.flush().expect("it answers");
    assert_eq!(client.high_water_mark(P), Some(Mark::at(TransactionId(5))));
    let feed = client.feed_with(P, Mark::at(TransactionId(3)), FeedOptions::new().until_now());
    let read: Vec<_> = feed
        .map(|transaction| client.bytes(&transaction.expect("it can be read")).expect("it is here"))
        .collect();
    assert_eq!(read, ["noted", "noted"]);
    assert_eq!(client.cluster().expect("it answers").partitions.len(), 4);
    client.clone().close();
    assert_eq!(client.flush(), Err(ClientError::Closed));
}

#[test]
fn nobody_to_connect_to_is_an_error() {
    let config = ClientConfig::new(["127.0.0.1:1"]).connect_timeout(Duration::from_millis(50));
    let error = Client::connect(config, NoDatabase::newest()).expect_err("nobody listens there");
    assert!(matches!(error, ConnectError::Connect(_)), "{error:?}");
}
