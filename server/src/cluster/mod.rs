//! A cluster of real processes on this machine: for the demo, the benchmarks and the tests.
//!
//! Every node is this very program, started as `serve` with a data directory of its own. A node
//! that is killed comes back on the port that the system gave it at first. Nodes end when the
//! process that started them ends, however that happens: each watches its standard input.

mod node;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use thiserror::Error;

pub use node::{NodeProcess, Ready};

/// What to start.
///
/// ```no_run
/// use waltz_server::cluster::ClusterPlan;
///
/// let plan = ClusterPlan { nodes: 5, ..ClusterPlan::new("target/release/waltz", "data") };
/// ```
#[derive(Debug, Clone)]
pub struct ClusterPlan {
    /// The `waltz` program.
    pub program: PathBuf,
    /// Where each node gets a directory.
    pub directory: PathBuf,
    /// How many nodes; each is server and storage, the first one the coordinator too unless that is
    /// outside.
    pub nodes: u32,
    /// How many partitions.
    pub partitions: u32,
    /// How many replicas each partition has.
    pub replicas: u32,
    /// The coordinator's address, if it is outside of the cluster.
    pub coordinator: Option<String>,
    /// Where each node runs, the first one first; those beyond run on loopback.
    pub places: Vec<Place>,
    /// What every node is told beside all this, as arguments of `waltz serve`.
    pub arguments: Vec<String>,
}

/// Where a node runs, how others reach it, and what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What its command begins with, such as `ip netns exec NAME`.
    pub prefix: Vec<String>,
    /// The address that it listens on.
    pub host: IpAddr,
    /// Where others reach it, if that is elsewhere.
    pub advertise: Option<String>,
    /// What it does, if not what its plan has all nodes do.
    pub roles: Option<&'static str>,
}

impl Default for Place {
    fn default() -> Self {
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self { prefix: Vec::new(), host, advertise: None, roles: None }
    }
}

impl ClusterPlan {
    /// Three nodes on loopback, four partitions with a replica on each node.
    pub fn new(program: impl Into<PathBuf>, directory: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            directory: directory.into(),
            nodes: 3,
            partitions: 4,
            replicas: 3,
            coordinator: None,
            places: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// The coordinator of one more node; `None`: that node is it.
    fn coordinator_of(&self, first: Option<&NodeProcess>) -> Option<String> {
        self.coordinator.clone().or_else(|| first.map(|first| first.address().to_owned()))
    }

    fn place(&self, number: u32) -> Place {
        let index = number.checked_sub(1).map_or(0, |index| index as usize);
        self.places.get(index).cloned().unwrap_or_default()
    }
}

/// Why a cluster is not as it should be.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// A process could not be started, watched or ended.
    #[error("could not {action} node {number}")]
    Process {
        /// What was tried.
        action: &'static str,
        /// The node.
        number: u32,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A node did not say that it is ready.
    #[error("node {number} did not become ready: {reason}; its log, {log}, ends with: {last}")]
    NotReady {
        /// The node.
        number: u32,
        /// What it did instead.
        reason: String,
        /// Where its log is.
        log: PathBuf,
        /// What it said last.
        last: String,
    },
}

/// A running cluster. Dropping it kills its nodes.
#[derive(Debug)]
pub struct LocalCluster {
    nodes: Vec<NodeProcess>,
}

impl LocalCluster {
    /// Starts all nodes and waits until each is ready.
    ///
    /// # Errors
    /// When a node can't be started or does not become ready.
    pub async fn start(plan: &ClusterPlan) -> Result<Self, ClusterError> {
        let mut nodes: Vec<NodeProcess> = Vec::new();
        for number in 1..=plan.nodes {
            let coordinator = plan.coordinator_of(nodes.first());
            nodes.push(NodeProcess::start(plan, number, coordinator).await?);
        }
        Ok(Self { nodes })
    }

    /// Starts one more node of the same plan, on an empty directory, and waits until it is ready.
    ///
    /// # Errors
    /// When it can't be started or does not become ready.
    pub async fn add(&mut self, plan: &ClusterPlan) -> Result<(), ClusterError> {
        let coordinator = plan.coordinator_of(self.nodes.first());
        let number = self.nodes.last().map_or(1, |last| last.number() + 1);
        self.nodes.push(NodeProcess::start(plan, number, coordinator).await?);
        Ok(())
    }

    /// Where each node is reached.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.address().to_owned()).collect()
    }

    /// Where each node listens, whatever is in front of it.
    pub fn listens_on(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.listens_on().to_owned()).collect()
    }

    /// The data directory of each node, with its number.
    pub fn data_directories(&self) -> impl Iterator<Item = (u32, &Path)> {
        self.nodes.iter().map(|node| (node.number(), node.data_directory()))
    }

    /// The process ids of the nodes that run.
    pub fn processes(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(NodeProcess::process).collect()
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Kills a node at once, as a crash would.
    ///
    /// # Errors
    /// When the process can't be killed.
    pub async fn kill(&mut self, index: usize) -> Result<(), ClusterError> {
        self.nodes[index].kill().await
    }

    /// Starts a killed node again, on its port and its data, and waits until it is ready.
    ///
    /// # Errors
    /// When it can't be started or does not become ready.
    pub async fn restart(&mut self, index: usize) -> Result<(), ClusterError> {
        self.nodes[index].restart().await
    }

    /// Asks one node to stop, as an operator would, and waits; kills it if it does not stop in time.
    ///
    /// # Errors
    /// When the process can't be asked or watched.
    pub async fn stop_one(&mut self, index: usize, patience: Duration) -> Result<(), ClusterError> {
        self.nodes[index].signal(Signal::TERM)?;
        self.nodes[index].wait_or_kill(patience).await
    }

    /// Sends a node's process a signal, if it runs.
    ///
    /// # Errors
    /// When the process can't be told.
    pub fn signal(&self, index: usize, signal: Signal) -> Result<(), ClusterError> {
        self.nodes[index].signal(signal)
    }

    /// Asks every node to stop, as an operator would, and waits; kills what does not stop in time.
    ///
    /// # Errors
    /// When a process can't be asked or watched.
    pub async fn stop(&mut self, patience: Duration) -> Result<(), ClusterError> {
        for node in &mut self.nodes {
            node.signal(Signal::TERM)?;
        }
        for node in &mut self.nodes {
            node.wait_or_kill(patience).await?;
        }
        Ok(())
    }
}
