//! What tests of applications can do with a cluster of their own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use waltz_client::testing::{TestCluster, TestClusterConfig};
use waltz_client::{
    AppendError, AppendRequest, CallbackError, Client, Mark, NoDatabase, NodeId, Outcome,
    PartitionId, PartitionLocalLock, TransactionBuilder, TransactionContext, TransactionId,
};

const P: PartitionId = PartitionId(2);

static EXECUTIONS: AtomicU32 = AtomicU32::new(0);

/// Writes under one lock, and counts how often it is executed.
struct Count(&'static AtomicU32);

impl TransactionContext for Count {
    fn partition(&self, _: u32) -> PartitionId {
        P
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        builder.write_lock(PartitionLocalLock::new("counter", 1));
        Ok(true)
    }
}

async fn append(client: &Client, data: &'static str) -> Result<TransactionId, AppendError> {
    client.append(P, AppendRequest::new(data)).await
}

#[tokio::test(start_paused = true)]
async fn a_context_is_executed_again_after_each_kind_of_failure() {
    let cluster = TestCluster::start();
    let client = cluster.client(NoDatabase::newest()).await;
    assert_eq!(append(&client, "first").await, Ok(TransactionId(0)));
    cluster.lose_appends(2);
    cluster.fail_locks(3);
    let outcome = client.submit(Count(&EXECUTIONS)).await;
    assert!(matches!(outcome, Outcome::Committed(TransactionId(1))), "{outcome:?}");
    assert_eq!(EXECUTIONS.load(Ordering::Relaxed), 6, "five failed");
}

#[tokio::test(start_paused = true)]
async fn a_single_try_says_what_failed_it() {
    let cluster = TestCluster::start();
    let client = cluster.client(NoDatabase::newest()).await;
    cluster.lose_appends(1);
    assert_eq!(append(&client, "lost").await, Err(AppendError::Failed(P)));
    assert_eq!(append(&client, "first").await, Ok(TransactionId(0)));
    cluster.fail_locks(1);
    let conflict = append(&client, "in conflict").await;
    assert!(
        matches!(conflict, Err(AppendError::Conflict { id: TransactionId(0), .. })),
        "{conflict:?}"
    );
    assert_eq!(append(&client, "second").await, Ok(TransactionId(1)));
}

#[tokio::test(start_paused = true)]
async fn several_clients_see_one_log_whatever_fails() {
    let cluster = TestCluster::start();
    let writers =
        [cluster.client(NoDatabase::newest()).await, cluster.client(NoDatabase::newest()).await];
    let mut feed = writers[0].feed(P, Mark::NONE);
    cluster.set_failure_rate(0.3);
    cluster.set_latency(Duration::from_millis(2));
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let submissions: Vec<_> = (0..100).map(|n| writers[n % 2].submit(Count(&RUNS))).collect();
    let mut ids = Vec::new();
    for submission in submissions {
        match submission.await {
            Outcome::Committed(id) => ids.push(id),
            other => panic!("contexts are executed until they commit: {other:?}"),
        }
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..100).map(TransactionId).collect::<Vec<_>>());
    for id in ids {
        let next = feed.next().await.expect("there are more").expect("it can be read");
        assert_eq!(next.id(), id);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_client_is_not_fed_it_does_not_know() {
    let cluster = TestCluster::start();
    let client = cluster.client(NoDatabase::newest()).await;
    assert_eq!(append(&client, "first").await, Ok(TransactionId(0)));
    cluster.suspend_feeds();
    let mut second = client.append(P, AppendRequest::new("second"));
    assert!(timeout(Duration::from_millis(50), &mut second).await.is_err(), "nothing tells");
    let given_up = AppendRequest::new("third").timeout(Duration::from_millis(50));
    let given_up = client.append(P, given_up).await;
    assert!(matches!(given_up, Err(AppendError::InDoubt(_))), "{given_up:?}");
    cluster.resume_feeds();
    assert_eq!(second.await, Ok(TransactionId(1)));
    assert_eq!(append(&client, "fourth").await, Ok(TransactionId(3)), "the third is in the log");
}

#[tokio::test(start_paused = true)]
async fn clients_come_back_by_themselves() {
    let cluster = TestCluster::start();
    let client = cluster.client(NoDatabase::newest()).await;
    assert_eq!(append(&client, "first").await, Ok(TransactionId(0)));
    cluster.drop_connections();
    client.flush().await.expect("it connects again");
    cluster.restart().await;
    client.flush().await.expect("the cluster is there again");
    assert_eq!(append(&client, "second").await, Ok(TransactionId(1)), "the first was kept");
}

#[tokio::test(start_paused = true)]
async fn three_nodes_go_on_without_one() {
    let config = TestClusterConfig { nodes: 3, replicas: 3, ..TestClusterConfig::default() };
    let cluster = TestCluster::start_with(config).expect("such a cluster can be");
    let client = cluster.client(NoDatabase::newest()).await;
    assert_eq!(append(&client, "first").await, Ok(TransactionId(0)));
    cluster.stop_node(NodeId(3)).await;
    client.flush().await.expect("two of three are a quorum");
    assert_eq!(append(&client, "second").await, Ok(TransactionId(1)));
    cluster.start_node(NodeId(3));
    cluster.stop_node(NodeId(2)).await;
    client.flush().await.expect("another two are as good");
    assert_eq!(append(&client, "third").await, Ok(TransactionId(2)));
}

#[test]
fn a_seed_makes_one_run() {
    async fn run(seed: u64) -> (u32, Duration) {
        let runs: &'static AtomicU32 = Box::leak(Box::default());
        let began = Instant::now();
        let config = TestClusterConfig { seed, ..TestClusterConfig::default() };
        let cluster = TestCluster::start_with(config).expect("such a cluster can be");
        let client = cluster.client(NoDatabase::newest()).await;
        cluster.set_failure_rate(0.5);
        for _ in 0..50 {
            let outcome = client.submit(Count(runs)).await;
            assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
        }
        (runs.load(Ordering::Relaxed), began.elapsed())
    }
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().expect("a runtime can be built")
    };
    let [first, again, other] = [7, 7, 8].map(|seed| runtime().block_on(run(seed)));
    assert_eq!(first, again);
    assert_ne!(first, other);
}

#[test]
fn a_cluster_that_cannot_be_is_refused() {
    let config = TestClusterConfig { partitions: 0, ..TestClusterConfig::default() };
    assert!(TestCluster::start_with(config).is_err());
}
