//! Which nodes get replicas where nobody names them: [`place`] and [`relieve`] over what a survey found.

use std::collections::BTreeMap;

use waltz_client::{NodeId, PartitionId};
use waltz_core::id::ReplicaSet;
use waltz_core::membership::{PlacementStorage, PlacementWish, place, relieve};

use super::super::roster::Roster;
use super::{Layout, Move, PlanError};

/// The disks of a roster, and the replicas of a layout.
#[derive(Debug, Clone)]
pub(in crate::commands::admin) struct Placing<'a> {
    layout: &'a Layout,
    storages: Vec<PlacementStorage>,
}

impl<'a> Placing<'a> {
    /// What there is.
    pub(in crate::commands::admin) fn new(roster: &Roster, layout: &'a Layout) -> Self {
        let storages = roster.iter().filter_map(|node| node.placement()).collect();
        Self { layout, storages }
    }

    /// Without a node: it gets nothing, and keeps nothing.
    pub(in crate::commands::admin) fn without(mut self, node: NodeId) -> Self {
        for storage in self.storages.iter_mut().filter(|storage| storage.node == node) {
            (storage.takes, storage.keeps) = (false, false);
        }
        self
    }

    /// Sets that are as wide as the nodes allow, of so many replicas or as many as there are.
    ///
    /// # Errors
    /// When there are too few nodes.
    pub(in crate::commands::admin) fn sets(
        &self,
        partitions: impl IntoIterator<Item = PartitionId>,
        replicas: Option<u32>,
    ) -> Result<Vec<Move>, PlanError> {
        let wish = |partition| {
            let current = self.layout.wanted_set(partition);
            let count = u32::try_from(current.0.len()).unwrap_or(u32::MAX);
            PlacementWish { partition, replicas: replicas.unwrap_or(count), current }
        };
        let wishes: Vec<_> = partitions.into_iter().map(wish).collect();
        let others = self
            .layout
            .partitions()
            .filter(|partition| wishes.iter().all(|wish| wish.partition != *partition));
        let load = self.load(others);
        let mut moves = Vec::new();
        for (partition, set) in place(&self.storages, &load, &wishes) {
            let nodes = set?.nodes().collect();
            moves.extend(self.layout.set(partition, &nodes)?);
        }
        Ok(moves)
    }

    /// Replicas of fuller nodes on this one, until it has its share.
    ///
    /// # Errors
    /// When it can't have them.
    pub(in crate::commands::admin) fn relieving(
        &self,
        onto: NodeId,
    ) -> Result<Vec<Move>, PlanError> {
        let mut load = self.load(self.layout.partitions());
        let mut moves = Vec::new();
        for partition in self.layout.partitions() {
            let current = self.layout.wanted_set(partition);
            if let Some(from) = relieve(&self.storages, &load, &current, onto) {
                moves.extend(self.layout.exchange(partition, from, onto)?);
                load.entry(from).and_modify(|load| *load -= 1);
                *load.entry(onto).or_default() += 1;
            } else if current.nodes().any(|node| node == onto) {
                // Asked for before, and perhaps not done.
                moves.extend(self.layout.set(partition, &current.nodes().collect())?);
            }
        }
        Ok(moves)
    }

    /// How many replicas of these partitions are on each node.
    fn load(&self, partitions: impl Iterator<Item = PartitionId>) -> BTreeMap<NodeId, u64> {
        let mut load = BTreeMap::new();
        for set in partitions.map(|partition| self.layout.wanted_set(partition)) {
            let ReplicaSet(members) = set;
            for member in members {
                *load.entry(member.node).or_default() += 1;
            }
        }
        load
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use waltz_client::NodeRegistration;
    use waltz_core::id::StorageId;
    use waltz_core::membership::{Locality, Operations};

    use super::*;

    /// Nodes 1 to 6, two in each of the zones a, b and c.
    fn roster() -> Vec<NodeRegistration> {
        let node = |(number, zone): (u32, &str)| NodeRegistration {
            node: NodeId(number),
            address: None,
            live: true,
            server: true,
            storage: Some(StorageId(number.into())),
            used: true,
            locality: Locality { zone: Some(zone.to_owned()), ..Locality::default() },
            operations: Operations::default(),
            preferred: BTreeSet::new(),
        };
        (1..).zip(["a", "a", "b", "b", "c", "c"]).map(node).collect()
    }

    /// The nodes that each partition moves to.
    fn nodes(moves: Result<Vec<Move>, PlanError>) -> Vec<Vec<u32>> {
        let moves = moves.expect("there is a plan");
        moves.iter().map(|it| it.to.iter().map(|member| member.node.0).collect()).collect()
    }

    #[test]
    fn replicas_leave_for_the_emptiest_node_of_the_same_zone_and_no_other_moves() {
        let layout = Layout::for_tests(6, &[&[1, 3, 5], &[2, 3, 6], &[1, 4, 5]]);
        let placing = Placing::new(&Roster::of(roster()), &layout).without(NodeId(5));
        let leaving = placing.sets(layout.on(NodeId(5)), None);
        assert_eq!(nodes(leaving), [[1, 3, 6], [1, 4, 6]]);
    }

    #[test]
    fn too_few_nodes_are_told_of() {
        let mut nodes = roster();
        nodes[4].operations.storage_drained = true;
        nodes[5].live = false;
        let layout = Layout::for_tests(6, &[&[1, 3, 4]]);
        let placing = Placing::new(&Roster::of(nodes), &layout);
        let error = placing.sets(layout.partitions(), Some(5)).expect_err("there are four");
        assert!(matches!(error, PlanError::Placement(_)), "{error}");
    }

    #[test]
    fn an_added_node_gets_its_share() {
        let layout = Layout::for_tests(6, &[&[1, 3, 5][..]; 4]);
        let placing = Placing::new(&Roster::of(roster()), &layout);
        assert_eq!(nodes(placing.relieving(NodeId(2))), [[2, 3, 5], [2, 3, 5]]);
    }
}
