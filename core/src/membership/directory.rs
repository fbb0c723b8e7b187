//! The cluster as one node knows it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{Generation, Member, NodeId, PartitionId};
use crate::io::Address;
use crate::membership::{
    Assignment, Cluster, Consumers, Fact, Name, NodeRecord, PartitionMeta, StorageRecord, Target,
};
use crate::wire::{ClusterView, NodeView, PartitionView};

/// Nodes, disks, partitions and assignments, as the coordinator last told them. It survives the
/// coordinator's absence: stale, and used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Directory {
    pub(super) cluster: Option<Cluster>,
    pub(super) nodes: BTreeMap<NodeId, NodeRecord>,
    pub(super) storages: BTreeMap<NodeId, StorageRecord>,
    pub(super) partitions: BTreeMap<PartitionId, PartitionMeta>,
    pub(super) assignments: BTreeMap<PartitionId, Assignment>,
    pub(super) targets: BTreeMap<PartitionId, Target>,
    pub(super) consumers: BTreeMap<PartitionId, Consumers>,
    /// Where each node was last known to listen; outlives its lease.
    pub(super) addresses: BTreeMap<NodeId, Address>,
}

impl Directory {
    /// The cluster's figures, once it is bootstrapped.
    pub fn cluster(&self) -> Option<Cluster> {
        self.cluster
    }

    /// The nodes whose leases are alive, ascending.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &NodeRecord)> {
        self.nodes.iter().map(|(node, record)| (*node, record))
    }

    /// Whether a node's lease is alive.
    pub fn is_live(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    /// Where a node listens, or last did.
    pub fn address(&self, node: NodeId) -> Option<&Address> {
        self.addresses.get(&node)
    }

    /// The disk a node last registered.
    pub fn storage(&self, node: NodeId) -> Option<&StorageRecord> {
        self.storages.get(&node)
    }

    /// All partitions, ascending.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionId, &PartitionMeta)> {
        self.partitions.iter().map(|(partition, meta)| (*partition, meta))
    }

    /// A partition's creation and newest known replica set.
    pub fn partition(&self, partition: PartitionId) -> Option<&PartitionMeta> {
        self.partitions.get(&partition)
    }

    /// A partition's server and the assignment's version.
    pub fn assignment(&self, partition: PartitionId) -> Option<(NodeId, Generation)> {
        let assignment = self.assignments.get(&partition)?;
        Some((assignment.server, assignment.generation))
    }

    /// The replicas that an operator wants a partition to have, if one has said so.
    pub fn target(&self, partition: PartitionId) -> Option<&Target> {
        self.targets.get(&partition)
    }

    /// A partition's registered consumers, if it ever had one.
    pub fn consumers(&self, partition: PartitionId) -> Option<&Consumers> {
        self.consumers.get(&partition)
    }

    /// Whether a replica's node has come back with another disk: this replica is gone.
    pub fn is_replaced(&self, member: Member) -> bool {
        self.storages.get(&member.node).is_some_and(|record| record.storage != member.storage)
    }

    /// What is known under a name of a partition that edits are made to.
    pub(super) fn fact(&self, name: Name) -> Option<Fact> {
        match name {
            Name::Partition(partition) => {
                Some(Fact::Partition(partition, self.partitions.get(&partition)?.clone()))
            }
            Name::Target(partition) => {
                Some(Fact::Target(partition, self.targets.get(&partition)?.clone()))
            }
            Name::Consumers(partition) => {
                Some(Fact::Consumers(partition, self.consumers.get(&partition)?.clone()))
            }
            Name::Controller
            | Name::Cluster
            | Name::Node(_)
            | Name::Storage(_)
            | Name::Assignment(_)
            | Name::Epoch(_) => None,
        }
    }

    /// What clients are told: partitions and their servers, and every node that ever listened.
    /// No partitions before all of them exist: a client spreads its keys over their number.
    pub fn view(&self) -> ClusterView {
        let whole = self.cluster.is_some_and(|c| self.partitions.len() >= c.partitions as usize);
        let partitions = self.partitions.iter().filter(|_| whole).map(|(&partition, meta)| {
            let assignment = self.assignments.get(&partition);
            PartitionView {
                partition,
                generation: assignment.map_or(Generation(0), |assignment| assignment.generation),
                owner: assignment.map(|assignment| assignment.server),
                version: meta.version,
                replicas: meta.replicas.clone(),
            }
        });
        let nodes = self.addresses.iter().map(|(&node, address)| NodeView {
            node,
            address: address.clone(),
            live: self.is_live(node),
            storage: self.storages.get(&node).map(|record| record.storage),
        });
        ClusterView { partitions: partitions.collect(), nodes: nodes.collect() }
    }
}
