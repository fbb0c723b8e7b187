//! What operators, and consumers of a log, ask of a cluster.

mod refusal;

use serde::{Deserialize, Serialize};

pub use refusal::OperatorRefusal;

use crate::id::{Generation, Mark, NodeId, PartitionId, SetVersion};
use crate::membership::PartitionMeta;
use crate::wire::Version;

/// Something an operator wants. Any node answers but for [`Self::Trim`], which the partition's
/// server does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperatorRequest {
    /// Keep a partition's replicas on exactly these nodes, on the disks that they have now. The
    /// answer says that the wish is recorded; the partition's server then fulfils it, one replica
    /// at a time.
    SetReplicas {
        /// The partition.
        partition: PartitionId,
        /// The nodes.
        nodes: Vec<NodeId>,
    },
    /// Go on with these replicas alone, although they may lack committed transactions. For when a
    /// majority is lost for good.
    Recover {
        /// The partition.
        partition: PartitionId,
        /// The nodes whose replicas are left.
        survivors: Vec<NodeId>,
        /// The newest replica set that the operator has seen: nothing is forced once there is a
        /// newer one.
        version: SetVersion,
    },
    /// Forget a partition's oldest transactions.
    Trim {
        /// The partition.
        partition: PartitionId,
        /// Everything up to here.
        start: Mark,
    },
    /// A consumer has applied a partition's log up to here; a new one is registered. What a
    /// registered consumer has not applied is not trimmed by age or size.
    AdvanceConsumer {
        /// The partition.
        partition: PartitionId,
        /// The consumer's name.
        consumer: String,
        /// What it has applied.
        mark: Mark,
    },
    /// Wait for a consumer no more.
    RemoveConsumer {
        /// The partition.
        partition: PartitionId,
        /// The consumer's name.
        consumer: String,
    },
    /// Have so many partitions. Those that are there keep their logs; an application that spreads
    /// its keys over the number of partitions finds them elsewhere from then on.
    AddPartitions {
        /// How many there are to be in all; more than now.
        partitions: u32,
    },
    /// Have a node serve no partitions while another live one can, or as usual again.
    DrainServer {
        /// The node.
        node: NodeId,
        /// Whether it is to be drained.
        drained: bool,
    },
    /// Place no new replicas on a node, or as usual again. Those that are there stay until they
    /// are moved.
    DrainStorage {
        /// The node.
        node: NodeId,
        /// Whether it is to be drained.
        drained: bool,
    },
    /// Have partitions served by a node rather than by others, beside those that it prefers by
    /// itself; or no longer.
    Prefer {
        /// The node.
        node: NodeId,
        /// Which.
        partitions: Vec<PartitionId>,
        /// Whether it is to be preferred.
        preferred: bool,
    },
    /// Have a partition served in a region while a live node there can; a node that prefers the
    /// partition comes first, wherever it is.
    PreferRegion {
        /// The partition.
        partition: PartitionId,
        /// The region; `None`: any.
        region: Option<String>,
    },
    /// Make a cluster, where no node was told to make one. Its disks have to be empty.
    CreateCluster {
        /// How many partitions.
        partitions: u32,
        /// How many replicas each has.
        replicas: u32,
    },
    /// Forget a dead node for good, with all that is recorded of it. It is new when it comes back.
    ForgetNode {
        /// The node.
        node: NodeId,
    },
    /// Give a coordinator that lost everything its cluster back, from what disks know.
    RestoreCluster {
        /// How many replicas each partition has when it is created.
        replicas: u32,
        /// All partitions.
        partitions: Vec<KnownPartition>,
    },
    /// Say how busy partitions are, instead of what was said before: servers then serve about
    /// equally much. Partitions that are not named count as idle; with none at all only their number
    /// counts.
    SetLoads {
        /// Each partition's load, in any unit.
        loads: Vec<(PartitionId, u32)>,
    },
    /// Forget the cluster with all partitions and all that was wanted of nodes. What is on disks stays
    /// there, and no new cluster is made of them until they are emptied.
    DeleteCluster,
}

/// What is left of a partition's record when the coordinator lost it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPartition {
    /// The partition.
    pub partition: PartitionId,
    /// The newest generation that anyone remembers, or the epoch of the highest session promised
    /// if that is more. Generations and epochs go on far above it.
    pub generation: Generation,
    /// Its creation and newest replica set.
    pub meta: PartitionMeta,
}

impl OperatorRequest {
    /// The one partition that it is about, if it is about one.
    pub fn partition(&self) -> Option<PartitionId> {
        match self {
            Self::SetReplicas { partition, .. }
            | Self::Recover { partition, .. }
            | Self::Trim { partition, .. }
            | Self::AdvanceConsumer { partition, .. }
            | Self::RemoveConsumer { partition, .. }
            | Self::PreferRegion { partition, .. } => Some(*partition),
            Self::AddPartitions { .. }
            | Self::DrainServer { .. }
            | Self::DrainStorage { .. }
            | Self::Prefer { .. }
            | Self::CreateCluster { .. }
            | Self::ForgetNode { .. }
            | Self::RestoreCluster { .. }
            | Self::SetLoads { .. }
            | Self::DeleteCluster => None,
        }
    }

    /// How many partitions the cluster would have, if that would be another number.
    pub fn partitions(&self) -> Option<u32> {
        match self {
            Self::AddPartitions { partitions } | Self::CreateCluster { partitions, .. } => {
                Some(*partitions)
            }
            Self::RestoreCluster { partitions, .. } => u32::try_from(partitions.len()).ok(),
            _ => None,
        }
    }

    /// The version of the protocol that has it.
    pub fn since(&self) -> Version {
        match self {
            Self::SetReplicas { .. }
            | Self::Recover { .. }
            | Self::Trim { .. }
            | Self::AdvanceConsumer { .. }
            | Self::RemoveConsumer { .. } => Version::FIRST,
            Self::AddPartitions { .. }
            | Self::DrainServer { .. }
            | Self::DrainStorage { .. }
            | Self::Prefer { .. }
            | Self::PreferRegion { .. }
            | Self::CreateCluster { .. }
            | Self::ForgetNode { .. }
            | Self::RestoreCluster { .. }
            | Self::SetLoads { .. }
            | Self::DeleteCluster => Version::OPERATIONS,
        }
    }
}
