//! What a node is told when it starts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::links::LinkConfig;
use crate::access::AccessConfig;
use crate::id::{ClusterKey, NodeId, PartitionId};
use crate::io::Address;
use crate::limits::Limits;
use crate::locks::LockWindow;
use crate::membership::{ControllerConfig, LEASE_TTL, Locality};
use crate::partition::retention::RetentionConfig;
use crate::partition::server::PartitionConfig;
use crate::planted::Planted;
use crate::sequencer::SequencerConfig;
use crate::storage::StorageConfig;
use crate::wire::Version;

/// What a node does; any combination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    /// Serves partitions.
    pub server: bool,
    /// Keeps replicas.
    pub storage: bool,
}

impl Roles {
    /// Both.
    pub const ALL: Self = Self { server: true, storage: true };
}

/// Where a cluster's coordinator is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CoordinatorAt {
    /// On this node, which also bootstraps the cluster. Exactly one node of a cluster hosts it.
    Here(ControllerConfig),
    /// On the node that listens there.
    Remote(Address),
    /// Outside of the cluster: the runtime reaches it. The nodes elect who controls.
    Outside {
        /// The cluster to bootstrap, if this node may.
        bootstrap: Option<ControllerConfig>,
    },
}

/// A node's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeConfig {
    /// Its name in the cluster.
    pub node: NodeId,
    /// The cluster.
    pub cluster: ClusterKey,
    /// Where others reach it.
    pub address: Address,
    /// What it does.
    pub roles: Roles,
    /// Where the coordinator is.
    pub coordinator: CoordinatorAt,
    /// How long the node counts as live without a word.
    pub lease: Duration,
    /// Partitions it should serve rather than others.
    pub preferred: BTreeSet<PartitionId>,
    /// Where it stands, and how much it can keep.
    pub locality: Locality,
    /// The newest version of the protocol to speak, one [that is spoken](Version::is_spoken). It
    /// is held back while a cluster is upgraded, so that the former release can still come back.
    pub newest: Version,
    /// How connections are kept.
    pub links: LinkConfig,
    /// Who may do what.
    pub access: AccessConfig,
    /// How partitions are served.
    pub partition: PartitionConfig,
    /// Most bytes of the newest committed records to keep in memory, of all partitions served here.
    pub recent_bytes: usize,
    /// How replicas kept here are looked after.
    pub storage: StorageConfig,
    /// Bounds of what peers send.
    pub limits: Limits,
    /// The rule broken on purpose, in simulations.
    pub planted: Planted,
}

impl NodeConfig {
    /// A node with default settings that serves and stores.
    pub fn new(
        node: NodeId,
        cluster: ClusterKey,
        address: Address,
        coordinator: CoordinatorAt,
    ) -> Self {
        let limits = Limits::default();
        Self {
            node,
            cluster,
            address,
            roles: Roles::ALL,
            coordinator,
            lease: LEASE_TTL,
            preferred: BTreeSet::new(),
            locality: Locality::default(),
            newest: Version::NEWEST,
            links: LinkConfig::default(),
            access: AccessConfig::default(),
            partition: PartitionConfig {
                sequencer: Arc::new(SequencerConfig::new(node, limits)),
                locks: LockWindow::default(),
                mounts: Arc::default(),
                limits,
                retry_min: Duration::from_millis(10),
                retry_max: Duration::from_millis(100),
                retention: RetentionConfig::default(),
                patience: Duration::from_secs(10),
                planted: Planted::NONE,
            },
            recent_bytes: 256 << 20,
            storage: StorageConfig::default(),
            limits,
            planted: Planted::NONE,
        }
    }

    /// Applies other limits everywhere.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self.partition.limits = limits;
        let sequencer = Arc::make_mut(&mut self.partition.sequencer);
        sequencer.limits = limits;
        sequencer.run_bytes = sequencer.run_bytes.min(limits.frame_payload as usize);
        let mounts = Arc::make_mut(&mut self.partition.mounts);
        mounts.read_bytes = mounts.read_bytes.min(limits.frame_payload);
        self
    }

    /// Breaks a rule everywhere.
    #[must_use]
    pub fn with_planted(mut self, planted: Planted) -> Self {
        self.planted = planted;
        self.partition.planted = planted;
        Arc::make_mut(&mut self.partition.sequencer).planted = planted;
        self
    }
}
