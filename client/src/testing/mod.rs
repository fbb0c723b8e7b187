//! A whole cluster within a test: the machines that run in production, without sockets and disks.
//!
//! ```
//! use waltz_client::testing::TestCluster;
//! use waltz_client::{AppendRequest, NoDatabase, PartitionId, TransactionId};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let cluster = TestCluster::start();
//! let client = cluster.client(NoDatabase::newest()).await;
//! let partition = PartitionId(0);
//!
//! // Lost once on its way: the single try says so, a submitted context would be executed again.
//! cluster.lose_appends(1);
//! assert!(client.append(partition, AppendRequest::new("first")).await.is_err());
//!
//! // What was committed is there after a crash.
//! let committed = client.append(partition, AppendRequest::new("second")).await;
//! assert_eq!(committed, Ok(TransactionId(0)));
//! cluster.restart().await;
//! assert!(client.fetch(partition, TransactionId(0)).await.is_ok());
//! client.close().await;
//! # }
//! ```
//!
//! Time is tokio's. In a test with `start_paused = true` it jumps from event to event, so that waits
//! and deadlines cost nothing. Everything random follows from the [seed](TestCluster::seed): on a
//! paused runtime of one thread the same seed makes the same run.

mod disk;
mod faults;
mod network;

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use waltz_core::client::ClientConfig;
use waltz_core::id::{ClusterKey, NodeId};
use waltz_core::io::{Address, Level, Report};
use waltz_core::journal::DEFAULT_SEGMENT_BYTES;
use waltz_core::limits::Limits;
use waltz_core::membership::{ControllerConfig, ControllerConfigError};
use waltz_core::node::{CoordinatorAt, Node, NodeConfig, Recovered};
use waltz_core::planted::Planted;
use waltz_runtime::Runtime;
use waltz_runtime::journal::{Journal, JournalConfig};
use waltz_runtime::node::{World, run_node};
use waltz_runtime_tokio::{TokioRuntime, TokioTimer};

use crate::callbacks::ClientCallbacks;
use crate::client::Client;
use crate::error::ConnectError;
use disk::{TestDisk, TestJournal};
use network::{Network, TestNet};

/// The environment variable that holds the seed of a run to be replayed.
const SEED_VARIABLE: &str = "WALTZ_TEST_SEED";

/// What a [`TestCluster`] is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestClusterConfig {
    /// How many nodes there are, each with a disk. 1 by default.
    pub nodes: u32,
    /// How many of them keep each partition. 1 by default.
    pub replicas: u32,
    /// How many partitions there are. 4 by default.
    pub partitions: u32,
    /// How long a frame is on its way. Not at all by default.
    pub latency: Duration,
    /// What all that is random follows from, and what names the cluster. By default the number in the environment variable
    /// `WALTZ_TEST_SEED`; without it, another one each time.
    pub seed: u64,
}

impl Default for TestClusterConfig {
    fn default() -> Self {
        let seed = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(fresh_seed);
        Self { nodes: 1, replicas: 1, partitions: 4, latency: Duration::ZERO, seed }
    }
}

/// Seeds differ between processes and within each: hash maps are seeded by the system.
fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(SEED_VARIABLE)
}

/// A cluster in this process, for tests of applications; see the [module](self). It ends when it is
/// dropped, and when that happens in a panic, says how to replay the run.
#[derive(Debug)]
pub struct TestCluster {
    config: TestClusterConfig,
    controller: ControllerConfig,
    network: Network,
    origin: Instant,
    disks: BTreeMap<NodeId, TestDisk>,
    running: Mutex<BTreeMap<NodeId, JoinHandle<()>>>,
}

impl TestCluster {
    /// Starts one node with four partitions, on the tokio runtime this is called in.
    ///
    /// # Panics
    /// Outside of a tokio runtime that has time enabled.
    pub fn start() -> Self {
        Self::start_with(TestClusterConfig::default()).expect("one node can keep four partitions")
    }

    /// Starts a cluster of the caller's choice.
    ///
    /// # Errors
    /// When there can be no such cluster.
    ///
    /// # Panics
    /// Outside of a tokio runtime that has time enabled.
    pub fn start_with(config: TestClusterConfig) -> Result<Self, ControllerConfigError> {
        let TestClusterConfig { nodes, replicas, partitions, latency, seed } = config;
        let controller = ControllerConfig::new(partitions, replicas, nodes)?;
        let disks = (1..=nodes).map(|node| (NodeId(node), TestDisk::default())).collect();
        let cluster = Self {
            config,
            controller,
            network: Network::new(seed, latency),
            origin: Instant::now(),
            disks,
            running: Mutex::default(),
        };
        for node in cluster.disks.keys() {
            cluster.start_node(*node);
        }
        Ok(cluster)
    }

    /// What all that is random follows from.
    pub fn seed(&self) -> u64 {
        self.config.seed
    }

    /// A configuration for clients of this cluster, to be changed as the test needs it.
    pub fn client_config(&self) -> ClientConfig {
        ClientConfig::new(self.disks.keys().map(|node| address(*node).0))
    }

    /// Connects a client.
    ///
    /// # Panics
    /// When the cluster can't be reached in time: all of its nodes are stopped.
    pub async fn client(&self, callbacks: impl ClientCallbacks) -> Client {
        let connected = self.connect(self.client_config(), callbacks).await;
        connected.expect("a cluster that runs can be reached")
    }

    /// Connects a client with a configuration of its own.
    ///
    /// # Errors
    /// When the cluster can't be reached in time, or refuses this client.
    pub async fn connect(
        &self,
        config: ClientConfig,
        callbacks: impl ClientCallbacks,
    ) -> Result<Client, ConnectError> {
        Client::connect_on(self.runtime(), config, callbacks).await
    }

    /// What its clients run on.
    pub(crate) fn runtime(&self) -> impl Runtime + use<> {
        let (network, tokio) = (self.network.clone(), TokioRuntime::current());
        TestRuntime { network, tokio, origin: self.origin }
    }

    /// The next appends, of whatever client, get lost on their way, so many of them: contexts are
    /// executed again, single tries fail.
    pub fn lose_appends(&self, appends: u32) {
        self.network.with_faults(|faults| faults.lost = appends);
    }

    /// The next appends, of whatever client, meet a conflict, so many of them. Only those that were
    /// computed on at least one transaction can.
    pub fn fail_locks(&self, appends: u32) {
        self.network.with_faults(|faults| faults.conflicts = appends);
    }

    /// Lets this share of all appends, from 0 to 1, get lost or meet a conflict.
    pub fn set_failure_rate(&self, share: f64) {
        self.network.with_faults(|faults| faults.rate = share);
    }

    /// From now on each frame is on its way for so long. Connections keep their order.
    pub fn set_latency(&self, latency: Duration) {
        self.network.set_latency(latency);
    }

    /// Clients are fed nothing more, and so do not learn what becomes of their appends, until
    /// [`Self::resume_feeds`].
    pub fn suspend_feeds(&self) {
        self.network.with_faults(|faults| faults.suspended = true);
    }

    /// Gives clients what was held back, and what comes from now on.
    pub fn resume_feeds(&self) {
        self.network.resume_feeds();
    }

    /// Breaks all connections of clients; what was on its way to a client is lost. Clients connect
    /// again by themselves.
    pub fn drop_connections(&self) {
        self.network.drop_clients();
    }

    /// Stops a node as a crash would. One that does not run stays as it is.
    pub async fn stop_node(&self, node: NodeId) {
        let running = self.lock().remove(&node);
        if let Some(running) = running {
            running.abort();
            // It ends as aborted, or has ended before.
            let _ = running.await;
        }
    }

    /// Starts a stopped node with what its disk holds. One that runs stays as it is.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn start_node(&self, node: NodeId) {
        let disk = self.disks.get(&node).expect("the cluster has the node").clone();
        let mut running = self.lock();
        if running.contains_key(&node) {
            return;
        }
        let life = self.live(node, disk);
        running.insert(node, tokio::spawn(life));
    }

    /// Stops all nodes as a crash would, and starts them again.
    pub async fn restart(&self) {
        for node in self.disks.keys() {
            self.stop_node(*node).await;
        }
        for node in self.disks.keys() {
            self.start_node(*node);
        }
    }

    /// One life of a node.
    fn live(&self, node: NodeId, disk: TestDisk) -> impl Future<Output = ()> + Send + use<> {
        let (limits, cluster) = (Limits::default(), ClusterKey(self.config.seed));
        let coordinator = match node {
            NodeId(1) => CoordinatorAt::Here(self.controller),
            _ => CoordinatorAt::Remote(address(NodeId(1))),
        };
        let config = NodeConfig::new(node, cluster, address(node), coordinator);
        let journal = JournalConfig {
            cluster,
            node,
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            limits,
            planted: Planted::NONE,
        };
        let mut recovered = Recovered::new(limits, Planted::NONE);
        let (journal, recovery) =
            Journal::open(disk.clone(), journal, self.network.random(), &mut recovered)
                .expect("a disk in memory keeps what was written");
        let machine = Node::new(config, recovered, recovery.storage, self.network.random());
        let world = World {
            net: self.network.listener(address(node)),
            journal: TestJournal::new(journal, disk),
            timer: TokioTimer::counting_from(self.origin),
            coordinator: None,
            archive: None,
            observer: None,
        };
        async move {
            run_node(machine, world, Box::new(report), pending()).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, JoinHandle<()>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        for (_, running) in std::mem::take(&mut *self.lock()) {
            running.abort();
        }
        if std::thread::panicking() {
            let seed = self.config.seed;
            #[expect(clippy::print_stderr, reason = "it belongs beside the panic's own message")]
            {
                eprintln!("replay with {SEED_VARIABLE}={seed}");
            }
        }
    }
}

/// Where a node listens.
fn address(node: NodeId) -> Address {
    Address(node.to_string())
}

fn report(report: Report) {
    let Report { level, partition, peer, text } = report;
    let partition = partition.map(tracing::field::display);
    let peer = peer.map(tracing::field::display);
    match level {
        Level::Info => tracing::debug!(partition, peer, "{text}"),
        Level::Warning => tracing::info!(partition, peer, "{text}"),
        Level::Error => tracing::error!(partition, peer, "{text}"),
    }
}

/// What clients of a [`TestCluster`] run on.
#[derive(Debug, Clone)]
struct TestRuntime {
    network: Network,
    tokio: TokioRuntime,
    origin: Instant,
}

impl Runtime for TestRuntime {
    type Net = TestNet;
    type Timer = TokioTimer;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tokio.spawn(task);
    }

    fn net(&self) -> TestNet {
        self.network.dialer()
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer::counting_from(self.origin)
    }

    fn random(&self) -> u64 {
        self.network.random()
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.tokio.blocking(work).await
    }
}
