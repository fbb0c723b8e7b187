//! Which partitions get which replicas: pure functions of what a survey found.
//!
//! What is so already is never planned, and what is under way is planned as it was begun: a command
//! that was interrupted goes on when it is run again.

mod placing;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use placing::Placing;
use thiserror::Error;
use waltz_client::{NodeId, PartitionId};
use waltz_core::id::{Member, ReplicaSet, StorageId};
use waltz_core::membership::PlacementError;

use crate::commands::survey::Survey;

/// A partition's way from the replicas that it has to those that it shall have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) partition: PartitionId,
    /// The replicas at the beginning, each with its disk.
    pub(super) from: BTreeSet<Member>,
    /// The replicas at the end, each with its disk.
    pub(super) to: BTreeSet<Member>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum PlanError {
    /// There is no such node.
    #[error("the cluster has no node {node}", node = .0.0)]
    UnknownNode(NodeId),
    /// It keeps no replicas.
    #[error("node {node} has no disk for replicas; only nodes with the storage role have", node = .0.0)]
    NoDisk(NodeId),
    /// A new replica would be on a node that is down.
    #[error("node {node} is not running, and can take no new replica", node = .0.0)]
    NotLive(NodeId),
    /// It was named twice.
    #[error("node {node} is named twice; a node keeps one replica of a partition", node = .0.0)]
    Repeated(NodeId),
    /// Too few nodes could have one.
    #[error("{0}: that are up and not drained")]
    Placement(#[from] PlacementError),
    /// It has one already.
    #[error("partition {partition} has a replica on node {node} already", partition = partition.0, node = node.0)]
    AlreadyThere {
        /// The partition.
        partition: PartitionId,
        /// The node.
        node: NodeId,
    },
}

/// A partition's replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Current {
    /// The newest set that is known.
    members: BTreeSet<Member>,
    /// The newest set that the coordinator knows.
    recorded: BTreeSet<Member>,
    /// The set that was asked for last.
    target: Option<BTreeSet<Member>>,
}

/// Where replicas are, and the disks that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    disks: BTreeMap<NodeId, Option<StorageId>>,
    live: BTreeSet<NodeId>,
    partitions: BTreeMap<PartitionId, Current>,
}

impl Layout {
    /// The layout that a survey found.
    pub(super) fn of(survey: &Survey) -> Self {
        let sorted = |set: &ReplicaSet| set.0.iter().copied().collect::<BTreeSet<_>>();
        let served = survey.served();
        let partitions = survey.view.partitions.iter().map(|view| {
            let status = served.get(&view.partition);
            let newest = status.filter(|status| status.version >= view.version);
            let current = Current {
                members: sorted(newest.map_or(&view.replicas, |status| &status.members)),
                recorded: sorted(&view.replicas),
                target: status.and_then(|status| status.target.as_ref()).map(sorted),
            };
            (view.partition, current)
        });
        let nodes = &survey.view.nodes;
        Self {
            disks: nodes.iter().map(|node| (node.node, node.storage)).collect(),
            live: nodes.iter().filter(|node| node.live).map(|node| node.node).collect(),
            partitions: partitions.collect(),
        }
    }

    /// All partitions, ascending.
    pub(super) fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.partitions.keys().copied()
    }

    /// The nodes that a partition has replicas on, or will have when what was asked for is done.
    fn wanted(&self, partition: PartitionId) -> BTreeSet<NodeId> {
        self.wanted_set(partition).nodes().collect()
    }

    /// The same with the disks.
    fn wanted_set(&self, partition: PartitionId) -> ReplicaSet {
        let current = self.partitions.get(&partition).into_iter();
        let sets = current.map(|current| current.target.as_ref().unwrap_or(&current.members));
        ReplicaSet(sets.flatten().copied().collect())
    }

    /// Whether a replica of a partition is on a node, with the disk that the node has now.
    pub(super) fn is_at_home(&self, partition: PartitionId, node: NodeId) -> bool {
        let disk = self.disks.get(&node).copied().flatten();
        let members = self.partitions.get(&partition).into_iter().flat_map(|it| &it.members);
        members.filter(|member| member.node == node).all(|member| Some(member.storage) == disk)
    }

    /// The partitions with a replica on a node, or about to have one.
    pub(super) fn on(&self, node: NodeId) -> BTreeSet<PartitionId> {
        let has = |current: &Current| {
            let target = current.target.iter().flatten();
            current.members.iter().chain(target).any(|member| member.node == node)
        };
        let mut found = BTreeSet::new();
        found
            .extend(self.partitions.iter().filter(|(_, c)| has(c)).map(|(partition, _)| partition));
        found
    }

    /// Nodes that were named for replicas.
    ///
    /// # Errors
    /// When one of them is none, has no disk, or is named twice.
    pub(super) fn named(&self, numbers: &[u32]) -> Result<BTreeSet<NodeId>, PlanError> {
        let mut named = BTreeSet::new();
        for node in numbers.iter().copied().map(NodeId) {
            self.member(node)?;
            if !named.insert(node) {
                return Err(PlanError::Repeated(node));
            }
        }
        Ok(named)
    }

    /// Replicas on exactly these nodes, on the disks that they have now. `None`: it is so already.
    ///
    /// # Errors
    /// When one of them can't have a replica.
    pub(super) fn set(
        &self,
        partition: PartitionId,
        nodes: &BTreeSet<NodeId>,
    ) -> Result<Option<Move>, PlanError> {
        let Some(current) = self.partitions.get(&partition) else { return Ok(None) };
        let to = nodes.iter().map(|node| self.member(*node)).collect::<Result<BTreeSet<_>, _>>()?;
        let mut new = to.difference(&current.members);
        if let Some(dead) = new.find(|member| !self.live.contains(&member.node)) {
            return Err(PlanError::NotLive(dead.node));
        }
        let is_so = to == current.members
            && to == current.recorded
            && current.target.as_ref().is_none_or(|target| *target == to);
        let from = current.members.clone();
        Ok((!is_so).then_some(Move { partition, from, to }))
    }

    /// The replica on one node moved to another. `None`: there is no replica on the first.
    ///
    /// # Errors
    /// When the other node can't have it, or has one.
    pub(super) fn exchange(
        &self,
        partition: PartitionId,
        from: NodeId,
        to: NodeId,
    ) -> Result<Option<Move>, PlanError> {
        let Some(current) = self.partitions.get(&partition) else { return Ok(None) };
        let mut wanted = self.wanted(partition);
        if wanted.remove(&from) {
            if !wanted.insert(to) {
                return Err(PlanError::AlreadyThere { partition, node: to });
            }
        } else if !current.members.iter().any(|member| member.node == from) {
            return Ok(None);
        }
        self.set(partition, &wanted)
    }

    fn member(&self, node: NodeId) -> Result<Member, PlanError> {
        let disk = self.disks.get(&node).ok_or(PlanError::UnknownNode(node))?;
        Ok(Member { node, storage: disk.ok_or(PlanError::NoDisk(node))? })
    }
}

#[cfg(test)]
impl Layout {
    /// So many nodes that run, each with the disk of its number, and partitions on these.
    fn for_tests(nodes: u32, sets: &[&[u32]]) -> Self {
        let nodes = (1..=nodes).map(NodeId);
        let disk = |node: NodeId| StorageId(node.0.into());
        let current = |set: &&[u32]| {
            let members = set.iter().map(|node| NodeId(*node));
            let members: BTreeSet<_> =
                members.map(|node| Member { node, storage: disk(node) }).collect();
            Current { recorded: members.clone(), members, target: None }
        };
        Self {
            disks: nodes.clone().map(|node| (node, Some(disk(node)))).collect(),
            live: nodes.collect(),
            partitions: (0..).map(PartitionId).zip(sets.iter().map(current)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTITION: PartitionId = PartitionId(0);

    fn member(node: u32, disk: u64) -> Member {
        Member { node: NodeId(node), storage: StorageId(disk) }
    }

    fn members(nodes: &[u32]) -> BTreeSet<Member> {
        nodes.iter().map(|node| member(*node, (*node).into())).collect()
    }

    fn nodes(nodes: &[u32]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    /// Nodes 1 to 5, each with the disk of its number, 5 down, 6 without a disk; one partition.
    fn layout(now: &[u32], target: Option<&[u32]>) -> Layout {
        let mut layout = Layout::for_tests(5, &[now]);
        layout.disks.insert(NodeId(6), None);
        layout.live = nodes(&[1, 2, 3, 4, 6]);
        let current = layout.partitions.get_mut(&PARTITION).expect("it is there");
        current.target = target.map(members);
        layout
    }

    fn planned(from: &[u32], to: &[u32]) -> Result<Option<Move>, PlanError> {
        Ok(Some(Move { partition: PARTITION, from: members(from), to: members(to) }))
    }

    #[test]
    fn what_is_so_already_is_not_planned() {
        let now = layout(&[1, 2, 3], None);
        assert_eq!(now.set(PARTITION, &nodes(&[1, 2, 3])), Ok(None));
        assert_eq!(now.exchange(PARTITION, NodeId(4), NodeId(1)), Ok(None));
        assert_eq!(now.set(PARTITION, &nodes(&[1, 2, 4])), planned(&[1, 2, 3], &[1, 2, 4]));
    }

    #[test]
    fn a_disk_that_was_exchanged_is_another_replica() {
        let mut now = layout(&[1, 2, 3], None);
        now.disks.insert(NodeId(3), Some(StorageId(33)));
        let mut to = members(&[1, 2]);
        to.insert(member(3, 33));
        let from = members(&[1, 2, 3]);
        let expected = Ok(Some(Move { partition: PARTITION, from, to }));
        assert_eq!(now.set(PARTITION, &nodes(&[1, 2, 3])), expected);
    }

    #[test]
    fn a_move_that_is_under_way_goes_on() {
        let begun = layout(&[1, 2, 3, 4], Some(&[2, 3, 4]));
        let rest = planned(&[1, 2, 3, 4], &[2, 3, 4]);
        assert_eq!(begun.exchange(PARTITION, NodeId(1), NodeId(4)), rest);
        let done = layout(&[2, 3, 4], Some(&[2, 3, 4]));
        assert_eq!(done.exchange(PARTITION, NodeId(1), NodeId(4)), Ok(None));
        // Asked for and not begun: that the set is the old one still is not what is wanted.
        let asked = layout(&[1, 2, 3], Some(&[2, 3, 4]));
        assert_eq!(asked.set(PARTITION, &nodes(&[1, 2, 3])), planned(&[1, 2, 3], &[1, 2, 3]));
        assert_eq!(asked.on(NodeId(4)), [PARTITION].into());
    }

    #[test]
    fn nodes_that_can_have_no_replica_are_named() {
        let now = layout(&[1, 2, 3], None);
        let cases = [
            (now.set(PARTITION, &nodes(&[1, 9])), PlanError::UnknownNode(NodeId(9))),
            (now.set(PARTITION, &nodes(&[1, 6])), PlanError::NoDisk(NodeId(6))),
            (now.named(&[1, 2, 1]).map(|_| None), PlanError::Repeated(NodeId(1))),
            (now.set(PARTITION, &nodes(&[1, 5])), PlanError::NotLive(NodeId(5))),
            (
                now.exchange(PARTITION, NodeId(1), NodeId(2)),
                PlanError::AlreadyThere { partition: PARTITION, node: NodeId(2) },
            ),
        ];
        for (plan, error) in cases {
            assert_eq!(plan, Err(error));
        }
        let kept = layout(&[1, 2, 5], None);
        assert_eq!(kept.set(PARTITION, &nodes(&[1, 5])), planned(&[1, 2, 5], &[1, 5]));
    }
}
