//! What one node tells an operator's tools: the cluster's record as it knows it, and the replicas
//! that it keeps.
//!
//! Of as many partitions and replicas as there may be, and more than a hundred nodes, it fits the
//! head of one frame.

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
mod tests {
    use super::*;
    use crate::id::{Epoch, MAX_MEMBERS, TransactionId};
    use crate::limits::Limits;
    use crate::membership::{MAX_LOCALITY_NAME, MAX_PARTITIONS};
    use crate::wire::{Message, ServerReply};

    const NODES: u32 = 128;
    const MANY: u64 = 1 << 40;

    fn replica(partition: PartitionId) -> ReplicaInspection {
        let session = SessionId { epoch: Epoch(MANY), server: NodeId(u32::MAX), nonce: u64::MAX };
        let member = Member { node: NodeId(u32::MAX), storage: StorageId(u64::MAX) };
        let mark = TransactionId(MANY).mark();
        ReplicaInspection {
            partition,
            creation: CreationId(u64::MAX),
            promise: Some(session),
            normal: Some(session),
            start: mark,
            last: mark,
            low_water: mark,
            version: SetVersion(MANY),
            members: ReplicaSet(vec![member; MAX_MEMBERS]),
            damaged: MANY,
        }
    }

    fn registration(node: NodeId) -> NodeRegistration {
        let name = "n".repeat(MAX_LOCALITY_NAME);
        let (region, zone, capacity) = (Some(name.clone()), Some(name.clone()), Some(u64::MAX));
        NodeRegistration {
            node,
            address: Some(Address(name)),
            live: true,
            server: true,
            storage: Some(StorageId(u64::MAX)),
            used: true,
            locality: Locality { region, zone, capacity },
            operations: Operations::default(),
            preferred: (0..MAX_PARTITIONS / 8).map(PartitionId).collect(),
        }
    }

    #[test]
    fn the_largest_cluster_fits_one_frame() {
        let partitions = || (0..MAX_PARTITIONS).map(PartitionId);
        let inspection = NodeInspection {
            node: NodeId(u32::MAX),
            storage: Some(StorageId(u64::MAX)),
            suspect: false,
            coordinator: true,
            cluster: Some(Cluster { partitions: MAX_PARTITIONS, replicas: 7 }),
            controller: Some(NodeId(u32::MAX)),
            nodes: (0..NODES).map(NodeId).map(registration).collect(),
            regions: partitions().map(|one| (one, "r".repeat(MAX_LOCALITY_NAME))).collect(),
            generations: partitions().map(|one| (one, Generation(MANY))).collect(),
            replicas: partitions().map(replica).collect(),
        };
        let reply = ServerReply::Inspected { call: u64::MAX, inspection };
        let head = Message::Server(reply).frame().head;
        assert!(head.len() <= Limits::default().frame_head as usize, "{} bytes", head.len());
    }
}
