//! What one node tells an operator's tools: the cluster's record as it knows it, and the replicas
//! that it keeps.
//!
//! Of as many partitions and replicas as there may be, and more than a hundred nodes, it fits one
//! long message.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::{
    CreationId, Generation, Mark, Member, NodeId, PartitionId, ReplicaSet, SessionId, SetVersion,
    StorageId,
};
use crate::io::Address;
use crate::membership::{Cluster, Locality, Operations, PlacementStorage};

/// What a node knows of its cluster, and what it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInspection {
    /// The node.
    pub node: NodeId,
    /// Its disk, if it keeps replicas.
    pub storage: Option<StorageId>,
    /// Whether its journal lost entries: its replicas give sound records and nothing else.
    pub suspect: bool,
    /// Whether it reaches the coordinator now.
    pub coordinator: bool,
    /// The cluster's figures; `None`: the coordinator knows no cluster, or was never reached.
    pub cluster: Option<Cluster>,
    /// The node that assigns partitions, if this one knows it.
    pub controller: Option<NodeId>,
    /// All nodes that are registered, or were, ascending.
    pub nodes: Vec<NodeRegistration>,
    /// The partitions that an operator wants served in a region, ascending.
    pub regions: Vec<(PartitionId, String)>,
    /// The highest generation of each partition that this node has seen since it started,
    /// ascending. It outlives what the coordinator knows.
    pub generations: Vec<(PartitionId, Generation)>,
    /// The replicas on its disk, ascending by partition.
    pub replicas: Vec<ReplicaInspection>,
}

/// One node, as the coordinator knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRegistration {
    /// The node.
    pub node: NodeId,
    /// Where it listens, or last did.
    pub address: Option<Address>,
    /// Whether its lease is alive.
    pub live: bool,
    /// Whether it serves partitions; false while it is not live.
    pub server: bool,
    /// The disk that it registered, if it keeps replicas.
    pub storage: Option<StorageId>,
    /// Whether that disk belongs to a cluster that was formed.
    pub used: bool,
    /// Where it stands, and how much it can keep.
    pub locality: Locality,
    /// What operators want of it.
    pub operations: Operations,
    /// The partitions that it prefers by itself; none while it is not live.
    pub preferred: BTreeSet<PartitionId>,
}

impl NodeRegistration {
    /// The node as replicas may be placed on it, if it has a disk.
    pub fn placement(&self) -> Option<PlacementStorage> {
        let member = Member { node: self.node, storage: self.storage? };
        let (locality, drained) = (self.locality.clone(), self.operations.storage_drained);
        Some(PlacementStorage::registered(member, locality, self.live, drained))
    }
}

/// One replica, as its own node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaInspection {
    /// The partition.
    pub partition: PartitionId,
    /// The creation that it answers for.
    pub creation: CreationId,
    /// Every lower session is refused; `None` before the first was promised.
    pub promise: Option<SessionId>,
    /// The last session that it joined.
    pub normal: Option<SessionId>,
    /// Everything up to here was trimmed.
    pub start: Mark,
    /// The last id of its log.
    pub last: Mark,
    /// Everything up to here is known to be committed.
    pub low_water: Mark,
    /// The version of the newest replica set in its log, committed or not.
    pub version: SetVersion,
    /// That set.
    pub members: ReplicaSet,
    /// How many of its records it is known to be unable to read.
    pub damaged: u64,
}

#[cfg(test)]
mod tests;
