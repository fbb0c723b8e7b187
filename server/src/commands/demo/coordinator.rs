//! Where the demo's cluster has its coordinator.

use anyhow::Context;
use clap::ValueEnum;
use waltz_databases::{CoordinatorKind, CoordinatorServer};

/// The kind of coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Coordinator {
    /// On the first node
    Embedded,
    /// An etcd that is started for the demo, and installed if need be
    Etcd,
    /// A ZooKeeper that is started for the demo, and installed if need be
    Zookeeper,
}

impl Coordinator {
    /// Starts it, unless a node is it; it runs until it is dropped.
    pub(super) async fn start(self) -> anyhow::Result<Option<CoordinatorServer>> {
        let kind = match self {
            Self::Embedded => return Ok(None),
            Self::Etcd => CoordinatorKind::Etcd,
            Self::Zookeeper => CoordinatorKind::ZooKeeper,
        };
        let started = tokio::task::spawn_blocking(move || CoordinatorServer::start(kind)).await?;
        started.map(Some).context("could not start the coordinator")
    }
}
