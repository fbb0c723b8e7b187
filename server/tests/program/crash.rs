//! SIGKILL under load: what was acknowledged is there afterwards, exactly once, byte for byte.

use std::time::Duration;

use waltz_client::PartitionId;
use waltz_server::cluster::LocalCluster;

use super::load;

const P: PartitionId = PartitionId(0);

/// Has `disturb` do its worst to a cluster of so many nodes.
async fn check(nodes: u32, disturb: impl AsyncFnOnce(&mut LocalCluster)) {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = load::start(directory.path(), nodes, 1).await;
    load::check(cluster.addresses(), P, async || disturb(&mut cluster).await).await;
    cluster.stop(Duration::from_secs(60)).await.unwrap();
}

async fn grow(cluster: &LocalCluster, by: u64) {
    load::grow(cluster.addresses(), P, by).await;
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
