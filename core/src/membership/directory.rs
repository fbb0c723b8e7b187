//! The cluster as one node knows it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{Generation, Member, NodeId, PartitionId};
use crate::io::Address;
use crate::membership::{
    Assignment, Cluster, Consumers, Fact, Locality, Name, NodeRecord, Operations, PartitionMeta,
    PlacementStorage, StorageRecord, Target,
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
    pub(super) operations: BTreeMap<NodeId, Operations>,
    pub(super) localities: BTreeMap<NodeId, Locality>,
    pub(super) regions: BTreeMap<PartitionId, String>,
    pub(super) loads: BTreeMap<PartitionId, u32>,
    pub(super) controller: Option<NodeId>,
    /// Where each node was last known to listen; outlives its lease.
    pub(super) addresses: BTreeMap<NodeId, Address>,
    /// The highest generation seen of each partition; outlives what the coordinator knows.
    pub(super) generations: BTreeMap<PartitionId, Generation>,
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

    /// A node whose lease is alive.
    pub fn node(&self, node: NodeId) -> Option<&NodeRecord> {
        self.nodes.get(&node)
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

    /// What operators want of a node, if they ever said.
    pub fn operations(&self, node: NodeId) -> Option<&Operations> {
        self.operations.get(&node)
    }

    /// Where a node stands, if it ever said.
    pub fn locality(&self, node: NodeId) -> Option<&Locality> {
        self.localities.get(&node)
    }

    /// The partitions that are to be served in a region, ascending.
    pub fn regions(&self) -> impl Iterator<Item = (PartitionId, &str)> {
        self.regions.iter().map(|(partition, region)| (*partition, region.as_str()))
    }

    /// How busy partitions are, as measured last; empty where nobody measured.
    pub fn loads(&self) -> &BTreeMap<PartitionId, u32> {
        &self.loads
    }

    /// The node that controls, where that is elected.
    pub fn controller(&self) -> Option<NodeId> {
        self.controller
    }

    /// The highest generation of each partition that was seen, ascending.
    pub fn generations(&self) -> impl Iterator<Item = (PartitionId, Generation)> {
        self.generations.iter().map(|(partition, generation)| (*partition, *generation))
    }

    /// The registered disks, as replicas may be placed on them.
    pub fn placement(&self) -> Vec<PlacementStorage> {
        let storage = |(&node, record): (&NodeId, &StorageRecord)| {
            let member = Member { node, storage: record.storage };
            let drained = self.operations(node).is_some_and(|of| of.storage_drained);
            let locality = self.locality(node).cloned().unwrap_or_default();
            PlacementStorage::registered(member, locality, self.is_live(node), drained)
        };
        self.storages.iter().map(storage).collect()
    }

    /// Every node that is recorded in some way, or that was live.
    pub fn known_nodes(&self) -> BTreeSet<NodeId> {
        let live = self.nodes.keys().chain(self.addresses.keys());
        let recorded = self.storages.keys().chain(self.operations.keys());
        live.chain(recorded).chain(self.localities.keys()).copied().collect()
    }

    /// Whether a replica's node has come back with another disk: this replica is gone.
    pub fn is_replaced(&self, member: Member) -> bool {
        self.storages.get(&member.node).is_some_and(|record| record.storage != member.storage)
    }

    /// What is known under a name that edits are made to.
    pub(super) fn fact(&self, name: Name) -> Option<Fact> {
        Some(match name {
            Name::Cluster => Fact::Cluster(self.cluster?),
            Name::Storage(node) => Fact::Storage(node, self.storages.get(&node)?.clone()),
            Name::Partition(partition) => {
                Fact::Partition(partition, self.partitions.get(&partition)?.clone())
            }
            Name::Assignment(partition) => {
                Fact::Assignment(partition, *self.assignments.get(&partition)?)
            }
            Name::Target(partition) => {
                Fact::Target(partition, self.targets.get(&partition)?.clone())
            }
            Name::Consumers(partition) => {
                Fact::Consumers(partition, self.consumers.get(&partition)?.clone())
            }
            Name::Operations(node) => Fact::Operations(node, self.operations.get(&node)?.clone()),
            Name::Locality(node) => Fact::Locality(node, self.localities.get(&node)?.clone()),
            Name::Region(partition) => {
                Fact::Region(partition, self.regions.get(&partition)?.clone())
            }
            Name::Loads if self.loads.is_empty() => return None,
            Name::Loads => Fact::Loads(self.loads.clone()),
            Name::Controller | Name::Node(_) | Name::Epoch(_) => return None,
        })
    }

    /// What clients are told: partitions and their servers, and every node that ever listened.
    /// A client spreads its keys over the number of partitions, so it hears of none before the
    /// cluster's first ones all exist, and of none that are added before all of them do. Nothing is
    /// assigned before that either: partitions with a server can be told meanwhile.
    pub fn view(&self) -> ClusterView {
        let whole = self.cluster.is_some_and(|c| self.partitions.len() >= c.partitions as usize);
        let is_told = |partition: &PartitionId| {
            whole || self.cluster.is_some() && self.assignments.contains_key(partition)
        };
        let told = self.partitions.iter().filter(|(partition, _)| is_told(partition));
        let partitions = told.map(|(&partition, meta)| {
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
