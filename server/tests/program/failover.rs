//! Nodes that hang, and nodes that are gone for a while: the others go on without them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use waltz_client::PartitionId;
use waltz_core::membership::LEASE_TTL;
use waltz_databases::{CoordinatorKind, CoordinatorServer};
use waltz_server::cluster::LocalCluster;

use super::load;
use super::support::{json_lines, waltz};

const NODES: u32 = 3;
/// On which node the coordinator is.
const COORDINATOR: usize = 0;
const PATIENCE: Duration = Duration::from_secs(60);

/// Three nodes, and a partition whose server is not the first node, on which the coordinator is unless
/// it is outside.
struct Scene {
    cluster: LocalCluster,
    partition: PartitionId,
    /// The index of the node that serves it.
    server: usize,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        Self::with_coordinator(None).await
    }

    async fn with_coordinator(outside: Option<&CoordinatorServer>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut plan = load::plan(directory.path(), NODES, NODES);
        plan.coordinator = outside.map(CoordinatorServer::address);
        let cluster = LocalCluster::start(&plan).await.unwrap();
        let server = COORDINATOR + 1;
        let partition = served_by(&cluster, server).await;
        Self { cluster, partition, server, _directory: directory }
    }

    /// Turns to a partition that another node serves.
    async fn turn_to(&mut self, server: usize) {
        (self.partition, self.server) = (served_by(&self.cluster, server).await, server);
    }

    /// What the cluster says of itself, asked at its coordinator.
    fn cluster_status(&self) -> Value {
        status(&self.cluster.addresses()[COORDINATOR])
    }

    /// What it says of the partition.
    fn status(&self) -> Value {
        self.cluster_status()["partitions"][self.partition.0 as usize].clone()
    }

    fn signal(&self, index: usize, signal: Signal) {
        self.cluster.signal(index, signal).unwrap();
    }

    async fn grow(&self, by: u64) {
        load::grow(self.cluster.addresses(), self.partition, by).await;
    }

    /// Waits until every replica has all that is committed.
    async fn catch_up(&self) {
        loop {
            let status = self.status();
            let replicas = status["replicas"].as_array().unwrap();
            let current =
                |replica: &Value| replica["state"] == "joined" && replica["last"] == status["hwm"];
            if replicas.len() == NODES as usize && replicas.iter().all(current) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// The partition that a node serves, once each node serves one.
async fn served_by(cluster: &LocalCluster, server: usize) -> PartitionId {
    loop {
        let status = status(&cluster.addresses()[COORDINATOR]);
        let partitions = status["partitions"].as_array().unwrap();
        let open = partitions.iter().filter(|partition| partition["open"] == true);
        let owners: BTreeMap<_, _> = open
            .map(|partition| (partition["owner"].as_u64(), partition["partition"].as_u64()))
            .collect();
        if owners.len() == NODES as usize {
            let partition = owners[&Some(server as u64 + 1)].expect("a number");
            return PartitionId(partition as u32);
        }
        tokio::task::yield_now().await;
    }
}

fn status(address: &str) -> Value {
    let output = waltz(["status", "--json", "--timeout=2s", "--server", address]);
    json_lines(&output).pop().expect("a status")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_replica_costs_nothing_and_catches_up() {
    let mut scene = Scene::new().await;
    let session = scene.status()["session"].clone();
    let hung = scene.server + 1;
    let failed = load::check(scene.cluster.addresses(), scene.partition, async || {
        scene.grow(500).await;
        scene.signal(hung, Signal::STOP);
        scene.grow(5_000).await;
        while scene.cluster_status()["nodes"][hung]["live"] == true {
            scene.grow(500).await;
        }
        scene.signal(hung, Signal::CONT);
        scene.grow(500).await;
    })
    .await;
    assert_eq!(failed, 0, "nobody waited for the replica, and nothing was tried again");
    scene.catch_up().await;
    assert_eq!(scene.status()["session"], session);
    scene.cluster.stop(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_away_for_a_while_costs_nothing() {
    let mut scene = Scene::new().await;
    let session = scene.status()["session"].clone();
    let (addresses, partition) = (scene.cluster.addresses(), scene.partition);
    let failed = load::check(addresses, partition, async || {
        scene.grow(500).await;
        scene.cluster.kill(COORDINATOR).await.unwrap();
        scene.grow(5_000).await;
        scene.cluster.restart(COORDINATOR).await.unwrap();
        scene.grow(500).await;
    })
    .await;
    assert_eq!(failed, 0);
    scene.catch_up().await;
    assert_eq!(scene.status()["session"], session);
    scene.cluster.stop(PATIENCE).await.unwrap();
}

/// It may find on its return that leases ended, and move partitions: appends can fail then.
#[tokio::test(flavor = "multi_thread")]
async fn a_hung_coordinator_loses_nothing() {
    let mut scene = Scene::new().await;
    load::check(scene.cluster.addresses(), scene.partition, async || {
        scene.grow(500).await;
        scene.signal(COORDINATOR, Signal::STOP);
        scene.grow(5_000).await;
        scene.signal(COORDINATOR, Signal::CONT);
        scene.grow(500).await;
    })
    .await;
    scene.catch_up().await;
    scene.cluster.stop(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_takes_over_from_a_server_that_is_gone() {
    let mut scene = Scene::new().await;
    lose_a_server(&mut scene).await;
    scene.cluster.stop(PATIENCE).await.unwrap();
}

async fn lose_a_server(scene: &mut Scene) {
    let (addresses, partition, server) = (scene.cluster.addresses(), scene.partition, scene.server);
    load::check(addresses, partition, async || {
        scene.grow(500).await;
        scene.cluster.kill(server).await.unwrap();
        scene.grow(500).await;
        assert_ne!(scene.status()["owner"], server + 1);
        scene.cluster.restart(server).await.unwrap();
        scene.grow(500).await;
    })
    .await;
    scene.catch_up().await;
}

/// The nodes go on alone while the coordinator is away, and fail over when it is there.
async fn the_nodes_need_it_for_changes_only(kind: CoordinatorKind) {
    let outside = CoordinatorServer::start(kind).unwrap();
    let mut scene = Scene::with_coordinator(Some(&outside)).await;
    let session = scene.status()["session"].clone();
    let failed = load::check(scene.cluster.addresses(), scene.partition, async || {
        scene.grow(500).await;
        outside.kill().unwrap();
        let away = Instant::now();
        // Longer than a lease lives by itself: nobody is taken for dead on account of that.
        while away.elapsed() < 2 * LEASE_TTL {
            scene.grow(500).await;
        }
        outside.restart().unwrap();
        let back = Instant::now();
        while back.elapsed() < 2 * LEASE_TTL {
            scene.grow(500).await;
        }
    })
    .await;
    assert_eq!(failed, 0, "no append needs it");
    assert_eq!(scene.status()["session"], session);
    scene.turn_to(COORDINATOR + 2).await;
    lose_a_server(&mut scene).await;
    scene.cluster.stop(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_need_etcd_for_changes_only() {
    the_nodes_need_it_for_changes_only(CoordinatorKind::Etcd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_need_zookeeper_for_changes_only() {
    the_nodes_need_it_for_changes_only(CoordinatorKind::ZooKeeper).await;
}
