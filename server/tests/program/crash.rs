//! SIGKILL under load: what was acknowledged is there afterwards, exactly once, byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use waltz_client::{AppendRequest, Client, ClientConfig, Follower, Mark, NoDatabase, PartitionId};
use waltz_server::cluster::{ClusterPlan, LocalCluster};

const P: PartitionId = PartitionId(0);
const AT_ONCE: usize = 64;

fn plan(directory: &std::path::Path, nodes: u32) -> ClusterPlan {
    ClusterPlan {
        program: super::support::WALTZ.into(),
        directory: directory.to_owned(),
        nodes,
        partitions: 1,
        replicas: nodes,
    }
}

/// Appends numbered records until told to stop; each acknowledged one with its id.
async fn append_until(
    client: Client,
    mut stop: tokio::sync::oneshot::Receiver<()>,
) -> (BTreeMap<u64, u64>, BTreeSet<u64>) {
    let (mut acknowledged, mut failed, mut number) = (BTreeMap::new(), BTreeSet::new(), 0_u64);
    while stop.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
        let appends: Vec<_> = (number..number + AT_ONCE as u64)
            .map(|number| {
                let request = AppendRequest::new(number.to_le_bytes().to_vec());
                (number, client.append(P, request))
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

/// The whole log: each id with its number.
async fn read(config: ClientConfig) -> BTreeMap<u64, u64> {
    let (follower, mut feed) = Follower::new(Mark::NONE);
    let client = Client::connect(config, follower).await.unwrap();
    let reading = async {
        let mut log = BTreeMap::new();
        while let Some(transaction) = feed.next().await {
            let data = transaction.bytes().await.unwrap();
            let number = u64::from_le_bytes(data[..].try_into().unwrap());
            log.insert(transaction.id().0, number);
        }
        log
    };
    let ending = async {
        client.flush().await.unwrap();
        client.clone().close().await;
    };
    tokio::join!(reading, ending).0
}

/// Lets appends run, has `disturb` do its worst, and compares what was promised with what is.
async fn check(nodes: u32, disturb: impl AsyncFnOnce(&mut LocalCluster)) {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = LocalCluster::start(&plan(directory.path(), nodes)).await.unwrap();
    let minute = Duration::from_secs(60);
    let config = ClientConfig::new(cluster.addresses())
        .connect_timeout(minute)
        .mount_timeout(minute)
        .request_timeout(minute);
    let client = Client::connect(config.clone(), NoDatabase::newest()).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let appending = tokio::spawn(append_until(client.clone(), stopped));
    disturb(&mut cluster).await;
    stop.send(()).unwrap();
    let (acknowledged, failed) = appending.await.unwrap();
    client.close().await;

    let log = read(config).await;
    assert!(!acknowledged.is_empty());
    for (id, number) in &acknowledged {
        assert_eq!(log.get(id), Some(number), "transaction {id} was acknowledged");
    }
    let logged: BTreeSet<_> = log.values().copied().collect();
    assert_eq!(logged.len(), log.len(), "no record is in the log twice");
    assert!(logged.is_disjoint(&failed), "what was reported to have failed is not in the log");
    assert_eq!(log.keys().copied().collect::<Vec<_>>(), (0..log.len() as u64).collect::<Vec<_>>());
    cluster.stop(minute).await.unwrap();
}

/// Waits until the log has grown by so much, so that there is load when the worst comes.
async fn grow(cluster: &LocalCluster, by: u64) {
    let config = ClientConfig::new(cluster.addresses());
    let watcher = Client::connect(config, NoDatabase::newest()).await.unwrap();
    watcher.flush().await.unwrap();
    let mark = || watcher.high_water_mark(P).unwrap_or(Mark::NONE).count();
    let start = mark();
    while mark() < start + by {
        watcher.flush().await.unwrap();
    }
    watcher.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_loses_nothing() {
    check(1, async |cluster| {
        for _ in 0..3 {
            grow(cluster, 500).await;
            cluster.kill(0).await.unwrap();
            cluster.restart(0).await.unwrap();
        }
        grow(cluster, 500).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_lose_nothing_when_each_is_killed_and_when_all_are() {
    check(3, async |cluster| {
        for node in 0..3 {
            grow(cluster, 500).await;
            cluster.kill(node).await.unwrap();
            cluster.restart(node).await.unwrap();
        }
        grow(cluster, 500).await;
        for node in 0..3 {
            cluster.kill(node).await.unwrap();
        }
        for node in 0..3 {
            cluster.restart(node).await.unwrap();
        }
        grow(cluster, 500).await;
    })
    .await;
}
