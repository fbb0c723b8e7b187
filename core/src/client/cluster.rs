//! The cluster as this client knows it, put together from what nodes say. Of two views of one
//! partition the newer generation counts, so a node that lags behind takes nothing back.

use std::collections::BTreeMap;

use crate::id::{Generation, NodeId, PartitionId};
use crate::io::Address;
use crate::wire::{ClusterView, NodeView, PartitionView};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Cluster {
    known: bool,
    partitions: BTreeMap<PartitionId, PartitionView>,
    nodes: BTreeMap<NodeId, NodeView>,
}

impl Cluster {
    /// Whether any node has said anything.
    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    pub(super) fn merge(&mut self, view: ClusterView) {
        self.known = true;
        for node in view.nodes {
            self.nodes.insert(node.node, node);
        }
        for new in view.partitions {
            match self.partitions.get(&new.partition) {
                Some(old) if (old.generation, old.version) > (new.generation, new.version) => {}
                _ => {
                    self.partitions.insert(new.partition, new);
                }
            }
        }
    }

    pub(super) fn view(&self) -> ClusterView {
        ClusterView {
            partitions: self.partitions.values().cloned().collect(),
            nodes: self.nodes.values().cloned().collect(),
        }
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = PartitionId> + '_ {
        self.partitions.keys().copied()
    }

    pub(super) fn count(&self) -> u32 {
        self.partitions.len() as u32
    }

    pub(super) fn has_partition(&self, partition: PartitionId) -> bool {
        self.partitions.contains_key(&partition)
    }

    pub(super) fn has_node(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    pub(super) fn owner(&self, partition: PartitionId) -> Option<(NodeId, Generation)> {
        let view = self.partitions.get(&partition)?;
        Some((view.owner?, view.generation))
    }

    pub(super) fn address(&self, node: NodeId) -> Option<&Address> {
        Some(&self.nodes.get(&node)?.address)
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = &Address> + '_ {
        self.nodes.values().map(|node| &node.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ReplicaSet, SetVersion};

    #[test]
    fn an_older_generation_takes_nothing_back() {
        let view = |generation, owner| ClusterView {
            partitions: vec![PartitionView {
                partition: PartitionId(0),
                generation: Generation(generation),
                owner: Some(NodeId(owner)),
                version: SetVersion::FIRST,
                replicas: ReplicaSet(Vec::new()),
            }],
            nodes: Vec::new(),
        };
        let mut cluster = Cluster::default();
        assert!(!cluster.is_known());
        cluster.merge(view(2, 7));
        cluster.merge(view(1, 8));
        assert_eq!(cluster.owner(PartitionId(0)), Some((NodeId(7), Generation(2))));
        cluster.merge(view(3, 9));
        assert_eq!(cluster.owner(PartitionId(0)), Some((NodeId(9), Generation(3))));
        assert_eq!(cluster.view(), view(3, 9));
    }
}
