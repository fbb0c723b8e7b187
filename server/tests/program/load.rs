//! A load of numbered records, and the comparison of what was promised with what is in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use waltz_client::{
    AppendRequest, Client, ClientConfig, FeedOptions, Mark, NoDatabase, PartitionId, Partitions,
};
use waltz_server::cluster::{ClusterPlan, LocalCluster};

const AT_ONCE: usize = 64;

/// A cluster with a replica of each partition on every node. Partitions are spread over the nodes.
pub(crate) async fn start(
    directory: &std::path::Path,
    nodes: u32,
    partitions: u32,
) -> LocalCluster {
    LocalCluster::start(&plan(directory, nodes, partitions)).await.unwrap()
}

/// What such a cluster is.
pub(crate) fn plan(directory: &std::path::Path, nodes: u32, partitions: u32) -> ClusterPlan {
    let plan = ClusterPlan::new(super::support::WALTZ, directory);
    ClusterPlan { nodes, partitions, replicas: nodes, ..plan }
}

/// A patient client of one partition.
fn config(addresses: Vec<String>, partition: PartitionId) -> ClientConfig {
    let minute = Duration::from_secs(60);
    ClientConfig::new(addresses)
        .partitions(Partitions::from_iter([partition]))
        .connect_timeout(minute)
        .mount_timeout(minute)
        .request_timeout(minute)
}

/// Appends numbered records until told to stop; each acknowledged one with its id.
async fn append_until(
    client: Client,
    partition: PartitionId,
    mut stop: tokio::sync::oneshot::Receiver<()>,
) -> (BTreeMap<u64, u64>, BTreeSet<u64>) {
    let (mut acknowledged, mut failed, mut number) = (BTreeMap::new(), BTreeSet::new(), 0_u64);
    while stop.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
        let appends: Vec<_> = (number..number + AT_ONCE as u64)
            .map(|number| {
                let request = AppendRequest::new(number.to_le_bytes().to_vec());
                (number, client.append(partition, request))
            })
            .collect();
        number += AT_ONCE as u64;
        for (number, append) in appends {
            match append.await {
                Ok(id) => assert_eq!(acknowledged.insert(id.0, number), None),
                Err(_) => assert!(failed.insert(number)),
            }
        }
    }
    (acknowledged, failed)
}

async fn read(config: ClientConfig, partition: PartitionId) -> BTreeMap<u64, u64> {
    let client = Client::connect(config, NoDatabase::newest()).await.unwrap();
    read_numbers(&client, partition).await
}

/// The whole log: each id with the number at the beginning of its data.
pub(crate) async fn read_numbers(client: &Client, partition: PartitionId) -> BTreeMap<u64, u64> {
    let mut feed = client.feed_with(partition, Mark::NONE, FeedOptions::new().until_now());
    let mut log = BTreeMap::new();
    while let Some(transaction) = feed.next().await {
        let transaction = transaction.unwrap();
        let data = transaction.bytes().await.unwrap();
        let number = u64::from_le_bytes(data[..8].try_into().unwrap());
        log.insert(transaction.id().0, number);
    }
    log
}

/// Lets appends run while `disturb` does its worst, and compares what was promised with what is.
/// Returns how many appends failed.
pub(crate) async fn check(
    addresses: Vec<String>,
    partition: PartitionId,
    disturb: impl AsyncFnOnce(),
) -> usize {
    let config = config(addresses, partition);
    let client = Client::connect(config.clone(), NoDatabase::newest()).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let appending = tokio::spawn(append_until(client.clone(), partition, stopped));
    disturb().await;
    stop.send(()).unwrap();
    let (acknowledged, failed) = appending.await.unwrap();
    client.close().await;

    let log = read(config, partition).await;
    assert!(!acknowledged.is_empty());
    for (id, number) in &acknowledged {
        assert_eq!(log.get(id), Some(number), "transaction {id} was acknowledged");
    }
    let logged: BTreeSet<_> = log.values().copied().collect();
    assert_eq!(logged.len(), log.len(), "no record is in the log twice");
    assert!(logged.is_disjoint(&failed), "what was reported to have failed is not in the log");
    assert_eq!(log.keys().copied().collect::<Vec<_>>(), (0..log.len() as u64).collect::<Vec<_>>());
    failed.len()
}

/// Waits until the log has grown by so much, so that there is load when the worst comes.
pub(crate) async fn grow(addresses: Vec<String>, partition: PartitionId, by: u64) {
    let config = config(addresses, partition);
    let watcher = Client::connect(config, NoDatabase::newest()).await.unwrap();
    watcher.flush().await.unwrap();
    let mark = || watcher.high_water_mark(partition).unwrap_or(Mark::NONE).count();
    let start = mark();
    while mark() < start + by {
        watcher.flush().await.unwrap();
    }
    watcher.close().await;
}
