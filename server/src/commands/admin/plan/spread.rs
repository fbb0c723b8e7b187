//! Which node gets a replica: one far from the others, then one that is not full.
//!
//! Far is another zone, then another region; nodes that don't say where they stand are all in one
//! place. Full is measured in replicas, in proportion to capacity where every node has one.

use std::collections::{BTreeMap, BTreeSet};

use waltz_client::{NodeId, PartitionId};

use super::super::roster::Roster;
use super::Layout;

/// Where nodes stand, and how many replicas each has once what was chosen is carried out.
#[derive(Debug, Clone)]
pub(in crate::commands::admin) struct Spread<'a> {
    roster: &'a Roster,
    open: BTreeSet<NodeId>,
    replicas: BTreeMap<NodeId, u64>,
}

impl<'a> Spread<'a> {
    /// The nodes of a roster with the replicas of a layout.
    pub(in crate::commands::admin) fn new(roster: &'a Roster, layout: &Layout) -> Self {
        let mut replicas = BTreeMap::new();
        for node in layout.partitions().flat_map(|partition| layout.wanted(partition)) {
            *replicas.entry(node).or_default() += 1;
        }
        Self { roster, open: roster.open_storages(), replicas }
    }

    /// The best node for one more replica beside those that are kept, or `None`: there is no node
    /// left. It counts as having it from now on.
    pub(in crate::commands::admin) fn choose(
        &mut self,
        kept: &BTreeSet<NodeId>,
        but: Option<NodeId>,
    ) -> Option<NodeId> {
        let candidates =
            self.open.iter().filter(|node| !kept.contains(node) && but != Some(**node));
        let best =
            *candidates.min_by_key(|node| (self.nearness(**node, kept), self.fill(**node)))?;
        self.give(best);
        Some(best)
    }

    /// The set that a partition should have: as many replicas as wanted, on nodes that are up and
    /// not drained, in as many places as there are, with as much of the present set as possible.
    /// `None`: there are not enough nodes.
    pub(in crate::commands::admin) fn improve(
        &mut self,
        now: &BTreeSet<NodeId>,
        count: usize,
    ) -> Option<BTreeSet<NodeId>> {
        let mut kept: BTreeSet<_> = now.intersection(&self.open).copied().collect();
        now.difference(&kept).for_each(|node| self.take(*node));
        while kept.len() > count {
            self.drop_nearest(&mut kept)?;
        }
        while kept.len() < count {
            let node = self.choose(&kept, None)?;
            kept.insert(node);
        }
        // Each round has one more place than the one before.
        while let Some((leaves, comes)) = self.exchange_for_distance(&kept) {
            kept.remove(&leaves);
            kept.insert(comes);
            self.take(leaves);
            self.give(comes);
        }
        Some(kept)
    }

    /// A partition's replica that another node should rather have, as that is much emptier and the
    /// set is in as many places afterwards.
    pub(in crate::commands::admin) fn relieve(
        &mut self,
        layout: &Layout,
        partition: PartitionId,
        onto: NodeId,
    ) -> Option<NodeId> {
        let now = layout.wanted(partition);
        if now.contains(&onto) || !self.open.contains(&onto) {
            return None;
        }
        let places = self.places(&now);
        let is_fit = |from: &&NodeId| {
            let mut then = now.clone();
            then.remove(*from);
            then.insert(onto);
            self.places(&then) >= places && self.fill_after(onto, 1) < self.fill_after(**from, 0)
        };
        let from = *now.iter().filter(is_fit).max_by_key(|node| self.fill(**node))?;
        self.take(from);
        self.give(onto);
        Some(from)
    }

    fn drop_nearest(&mut self, kept: &mut BTreeSet<NodeId>) -> Option<()> {
        let others = |node: &NodeId| {
            let mut others = kept.clone();
            others.remove(node);
            others
        };
        let nearest = *kept
            .iter()
            .max_by_key(|node| (self.nearness(**node, &others(node)), self.fill(**node)))?;
        kept.remove(&nearest);
        self.take(nearest);
        Some(())
    }

    /// A node of the set and one outside of it, with which the set would be in more places.
    fn exchange_for_distance(&self, kept: &BTreeSet<NodeId>) -> Option<(NodeId, NodeId)> {
        let places = self.places(kept);
        let pairs = kept.iter().flat_map(|leaves| {
            let outside = self.open.iter().filter(|node| !kept.contains(node));
            outside.map(move |comes| (*leaves, *comes))
        });
        let wider = pairs.filter(|(leaves, comes)| {
            let mut then = kept.clone();
            then.remove(leaves);
            then.insert(*comes);
            self.places(&then) > places
        });
        wider.min_by_key(|(_, comes)| self.fill(*comes))
    }

    /// How many zones, then how many regions.
    fn places(&self, nodes: &BTreeSet<NodeId>) -> (usize, usize) {
        let zones: BTreeSet<_> = nodes.iter().map(|node| self.place(*node)).collect();
        let regions: BTreeSet<_> = zones.iter().map(|(region, _)| region).collect();
        (zones.len(), regions.len())
    }

    /// How many of these nodes stand in the same zone, and how many in the same region.
    fn nearness(&self, node: NodeId, others: &BTreeSet<NodeId>) -> (usize, usize) {
        let (region, zone) = self.place(node);
        let places = || others.iter().map(|other| self.place(*other));
        (
            places().filter(|other| *other == (region, zone)).count(),
            places().filter(|(other, _)| *other == region).count(),
        )
    }

    fn place(&self, node: NodeId) -> (Option<&str>, Option<&str>) {
        let locality = self.roster.node(node).map(|node| &node.locality);
        let region = locality.and_then(|locality| locality.region.as_deref());
        (region, locality.and_then(|locality| locality.zone.as_deref()))
    }

    fn fill(&self, node: NodeId) -> u128 {
        self.fill_after(node, 0)
    }

    /// How full a node is with so many replicas more.
    fn fill_after(&self, node: NodeId, more: u64) -> u128 {
        let capacity =
            |node: NodeId| self.roster.node(node).and_then(|node| node.locality.capacity);
        let replicas = u128::from(self.replicas.get(&node).copied().unwrap_or(0) + more);
        let all_told = self.open.iter().all(|node| capacity(*node).is_some());
        match capacity(node).filter(|capacity| all_told && *capacity > 0) {
            Some(capacity) => (replicas << 64) / u128::from(capacity),
            None => replicas,
        }
    }

    fn give(&mut self, node: NodeId) {
        *self.replicas.entry(node).or_default() += 1;
    }

    fn take(&mut self, node: NodeId) {
        let replicas = self.replicas.entry(node).or_default();
        *replicas = replicas.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use waltz_client::NodeRegistration;
    use waltz_core::id::StorageId;
    use waltz_core::membership::{Locality, Operations};

    use super::*;

    fn set(nodes: &[u32]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

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

    fn spread<'a>(roster: &'a Roster, sets: &[&[u32]]) -> Spread<'a> {
        Spread::new(roster, &Layout::for_tests(6, sets))
    }

    #[test]
    fn a_new_replica_goes_to_another_zone_and_then_to_the_emptiest_node() {
        let roster = Roster::of(roster());
        let mut spread = spread(&roster, &[&[1, 3, 5], &[1, 3, 5]]);
        assert_eq!(spread.choose(&set(&[1, 3]), Some(NodeId(5))), Some(NodeId(6)));
        assert_eq!(spread.choose(&set(&[1, 3]), None), Some(NodeId(6)), "it has fewer still");
        assert_eq!(spread.choose(&set(&[1, 2, 3, 4, 5, 6]), None), None);
    }

    #[test]
    fn drained_and_dead_nodes_get_nothing_and_give_what_they_have() {
        let mut nodes = roster();
        nodes[4].operations.storage_drained = true;
        nodes[5].live = false;
        let roster = Roster::of(nodes);
        let mut spread = spread(&roster, &[&[1, 3, 5]]);
        assert_eq!(spread.improve(&set(&[1, 3, 5]), 3), Some(set(&[1, 2, 3])));
        assert_eq!(spread.improve(&set(&[1, 3, 5]), 5), None, "there are four nodes");
    }

    #[test]
    fn sets_become_as_wide_as_they_can_and_stay_so() {
        let roster = Roster::of(roster());
        let mut spread = spread(&roster, &[&[1, 2, 3]]);
        let improved = spread.improve(&set(&[1, 2, 3]), 3).expect("there are enough");
        assert!(improved.contains(&NodeId(3)) && improved.intersection(&set(&[5, 6])).count() == 1);
        assert_eq!(spread.improve(&improved, 3), Some(improved.clone()), "nothing to be gained");
        assert_eq!(spread.improve(&set(&[1, 3, 5]), 3), Some(set(&[1, 3, 5])));
        assert_eq!(spread.improve(&set(&[1, 2, 3, 5]), 3).map(|set| set.len()), Some(3));
    }

    #[test]
    fn an_empty_node_is_given_replicas_of_its_own_zone_until_it_has_its_share() {
        let roster = Roster::of(roster());
        let sets: [&[u32]; 4] = [&[1, 3, 5]; 4];
        let layout = Layout::for_tests(6, &sets);
        let mut spread = Spread::new(&roster, &layout);
        let relieved = (0..4)
            .map(PartitionId)
            .filter_map(|partition| spread.relieve(&layout, partition, NodeId(2)));
        assert_eq!(relieved.collect::<Vec<_>>(), [NodeId(1), NodeId(1)]);
    }

    #[test]
    fn a_disk_twice_as_large_is_half_as_full() {
        let mut nodes = roster();
        for node in &mut nodes {
            node.locality.zone = None;
            node.locality.capacity = Some(if node.node == NodeId(1) { 400 } else { 100 });
        }
        let roster = Roster::of(nodes);
        let mut spread = spread(&roster, &[&[1], &[1], &[2], &[3], &[4], &[5], &[6]]);
        assert_eq!(spread.choose(&BTreeSet::new(), None), Some(NodeId(1)));
    }
}
