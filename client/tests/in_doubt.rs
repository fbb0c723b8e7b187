//! What was given up can be asked about, and the answer is certain.

use std::time::Duration;

use waltz_client::testing::{TestCluster, TestClusterConfig};
use waltz_client::{
    AppendError, AppendRequest, Client, ClientError, ClusterKey, InDoubt, Mark, NoDatabase,
    PartitionId, Partitions, Resolution, TransactionId,
};

const P: PartitionId = PartitionId(2);
const SOON: Duration = Duration::from_millis(50);

/// A cluster with a transaction, and the client that appended it.
async fn cluster() -> (TestCluster, Client) {
    let cluster = TestCluster::start();
    let client = cluster.client(NoDatabase::newest()).await;
    assert_eq!(client.append(P, AppendRequest::new("first")).await, Ok(TransactionId(0)));
    (cluster, client)
}

async fn given_up(client: &Client) -> InDoubt {
    match client.append(P, AppendRequest::new("second").timeout(SOON)).await {
        Err(AppendError::InDoubt(in_doubt)) => in_doubt,
        other => panic!("not in doubt: {other:?}"),
    }
}

/// An append that is in the log, and whose client can't know.
async fn committed(cluster: &TestCluster, client: &Client) -> InDoubt {
    cluster.suspend_feeds();
    given_up(client).await
}

/// An append that gets lost, and whose client can't know yet.
async fn lost(cluster: &TestCluster, client: &Client) -> InDoubt {
    cluster.set_latency(2 * SOON);
    cluster.lose_appends(1);
    given_up(client).await
}

#[tokio::test(start_paused = true)]
async fn the_client_itself_tells_once_it_is_decided() {
    let (cluster, client) = cluster().await;
    let in_doubt = committed(&cluster, &client).await;
    assert_eq!(in_doubt.partition(), P);
    assert_eq!(in_doubt.mark, Mark::at(TransactionId(0)));
    let (answer, ()) = tokio::join!(client.outcome_of(&in_doubt), async {
        tokio::time::sleep(SOON).await;
        cluster.resume_feeds();
    });
    assert_eq!(answer, Ok(Resolution::Committed(TransactionId(1))));
    let again = client.outcome_of(&in_doubt).await;
    assert_eq!(again, Ok(Resolution::Committed(TransactionId(1))), "it is remembered");
    let in_doubt = lost(&cluster, &client).await;
    assert_eq!(client.outcome_of(&in_doubt).await, Ok(Resolution::NotCommitted));
}

#[tokio::test(start_paused = true)]
async fn another_client_tells_what_became_of_a_closed_ones_appends() {
    let (cluster, client) = cluster().await;
    let in_doubt = committed(&cluster, &client).await;
    client.close().await;
    cluster.resume_feeds();
    let client = cluster.client(NoDatabase::newest()).await;
    assert_eq!(client.outcome_of(&in_doubt).await, Ok(Resolution::Committed(TransactionId(1))));
    let in_doubt = lost(&cluster, &client).await;
    client.close().await;
    let client = cluster.client(NoDatabase::newest()).await;
    assert_eq!(client.outcome_of(&in_doubt).await, Ok(Resolution::NotCommitted));
    let mark = in_doubt.mark;
    assert_eq!(mark, Mark::at(TransactionId(1)));
}

#[tokio::test(start_paused = true)]
async fn asking_for_a_client_that_runs_does_it_no_harm() {
    let (cluster, running) = cluster().await;
    let in_doubt = committed(&cluster, &running).await;
    cluster.resume_feeds();
    let other = cluster.client(NoDatabase::newest()).await;
    assert_eq!(other.outcome_of(&in_doubt).await, Ok(Resolution::Committed(TransactionId(1))));
    assert_eq!(running.append(P, AppendRequest::new("third")).await, Ok(TransactionId(2)));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_left_the_partition_looks_into_the_log() {
    let (cluster, client) = cluster().await;
    let in_doubt = committed(&cluster, &client).await;
    client.set_partitions(Partitions::none()).await.expect("it is open");
    cluster.resume_feeds();
    assert_eq!(client.outcome_of(&in_doubt).await, Ok(Resolution::Committed(TransactionId(1))));
    client.set_partitions(Partitions::All).await.expect("it is open");
    assert_eq!(client.append(P, AppendRequest::new("third")).await, Ok(TransactionId(2)));
    assert_eq!(client.outcome_of(&in_doubt).await, Ok(Resolution::Committed(TransactionId(1))));
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_told_is_an_error() {
    let (cluster, client) = cluster().await;
    let in_doubt = committed(&cluster, &client).await;
    cluster.resume_feeds();
    let other = cluster.client(NoDatabase::newest()).await;
    let mut elsewhere = in_doubt;
    elsewhere.req_id.partition = PartitionId(77);
    let unknown = other.outcome_of(&elsewhere).await;
    assert_eq!(unknown, Err(ClientError::UnknownPartition(PartitionId(77))));
    let ahead = InDoubt { mark: Mark::at(TransactionId(9)), ..in_doubt };
    let ahead = other.outcome_of(&ahead).await;
    assert!(matches!(ahead, Err(ClientError::AheadOfLog { .. })), "{ahead:?}");
    other.clone().close().await;
    assert_eq!(other.outcome_of(&in_doubt).await, Err(ClientError::Closed));
}

#[tokio::test(start_paused = true)]
async fn another_cluster_does_not_guess() {
    let (cluster, client) = cluster().await;
    let in_doubt = committed(&cluster, &client).await;
    cluster.resume_feeds();
    let seed = cluster.seed() ^ 1;
    let other = TestCluster::start_with(TestClusterConfig { seed, ..TestClusterConfig::default() });
    let other = other.expect("it can be").client(NoDatabase::newest()).await;
    let (attempt, client) = (ClusterKey(cluster.seed()), ClusterKey(seed));
    let told = other.outcome_of(&in_doubt).await;
    assert_eq!(told, Err(ClientError::OtherCluster { attempt, client }));
}
