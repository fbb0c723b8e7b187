//! Which storages keep which partition: a pure function.
//!
//! A set is judged by its spread first: in how many zones, then in how many regions its replicas
//! stand. Wider is better, then evener: disks are filled in proportion to what they can keep. What is
//! kept already is kept for as long as no wider set can be had; disks that became uneven are no
//! reason to copy logs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::id::{Member, NodeId, PartitionId, ReplicaSet, StorageId};
use crate::membership::Locality;

/// How large a disk counts whose capacity nobody told, where others told theirs.
const USUAL_CAPACITY: u64 = 1 << 40;

/// A disk that replicas may be placed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementStorage {
    /// Its node.
    pub node: NodeId,
    /// The disk that the node has now.
    pub storage: StorageId,
    /// Where it stands, and how much it can keep.
    pub locality: Locality,
    /// Whether it gets new replicas: it is live and not drained.
    pub takes: bool,
    /// Whether replicas that are on it are to stay: it is not drained, nor given up.
    pub keeps: bool,
}

/// What a partition's replicas are to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementWish {
    /// The partition.
    pub partition: PartitionId,
    /// How many replicas.
    pub replicas: u32,
    /// Where they are now; empty for a new partition.
    pub current: ReplicaSet,
}

/// Why a partition can't be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{partition} is to have {replicas} replicas, and {storages} storages may keep one")]
pub struct PlacementError {
    /// The partition.
    pub partition: PartitionId,
    /// How many replicas it is to have.
    pub replicas: u32,
    /// How many storages may keep one.
    pub storages: u32,
}

/// What became of each wish: the partition's new set, or why there is none.
pub type Placed = BTreeMap<PartitionId, Result<ReplicaSet, PlacementError>>;

/// Places the replicas of partitions, in the order of the wishes.
///
/// A set spans as many zones as the storages allow, and of such sets as many regions. It differs
/// from the current one no more than that takes. Among equals the storage goes first that keeps
/// least for what it can keep. `load` says how many replicas of other partitions are on each node:
/// they count, and stay.
///
/// ```
/// use std::collections::BTreeMap;
/// use waltz_core::id::{NodeId, PartitionId, ReplicaSet, StorageId};
/// use waltz_core::membership::{Locality, PlacementStorage, PlacementWish, place};
///
/// let storage = |node: u32, zone: &str| PlacementStorage {
///     node: NodeId(node),
///     storage: StorageId(node.into()),
///     locality: Locality { zone: Some(zone.to_owned()), ..Locality::default() },
///     takes: true,
///     keeps: true,
/// };
/// let storages = [storage(1, "a"), storage(2, "a"), storage(3, "b"), storage(4, "c")];
/// let partition = PartitionId(0);
/// let wish = PlacementWish { partition, replicas: 3, current: ReplicaSet(Vec::new()) };
/// let placed = place(&storages, &BTreeMap::new(), &[wish]);
/// let nodes: Vec<_> = placed[&partition].as_ref().unwrap().nodes().collect();
/// assert_eq!(nodes, [1, 3, 4].map(NodeId), "a zone each");
/// ```
pub fn place(
    storages: &[PlacementStorage],
    load: &BTreeMap<NodeId, u64>,
    wishes: &[PlacementWish],
) -> Placed {
    let mut load = load.clone();
    for node in wishes.iter().flat_map(|wish| wish.current.nodes()) {
        *load.entry(node).or_default() += 1;
    }
    let mut placed = Placed::new();
    for wish in wishes {
        let result = place_one(storages, &load, wish);
        if let Ok(set) = &result {
            for node in wish.current.nodes() {
                load.entry(node).and_modify(|load| *load -= 1);
            }
            for node in set.nodes() {
                *load.entry(node).or_default() += 1;
            }
        }
        placed.insert(wish.partition, result);
    }
    placed
}

/// The replica of a set that another storage should rather have: that storage would still be less full
/// than the one it comes from, and the set stand no narrower. `load` counts all replicas on each node.
///
/// [`place`] copies no log because disks became uneven; this is for operators who want that, as
/// after adding a node. It returns the node that the replica leaves, if one should.
pub fn relieve(
    storages: &[PlacementStorage],
    load: &BTreeMap<NodeId, u64>,
    current: &ReplicaSet,
    onto: NodeId,
) -> Option<NodeId> {
    let onto = storages.iter().find(|one| one.node == onto && one.takes)?;
    let now: Vec<_> = storages.iter().filter(|one| current.contains(one.member())).collect();
    if now.len() < current.0.len() || now.iter().any(|one| one.node == onto.node) {
        return None;
    }
    let spread = Spread::of(now.iter().copied());
    let is_fit = |from: &&PlacementStorage| {
        let others = now.iter().copied().filter(|one| one.node != from.node);
        Spread::of(others.chain([onto])) >= spread && onto.fill_with(load, 1) < from.fill(load)
    };
    let fit = now.iter().copied().filter(is_fit);
    fit.max_by_key(|one| (one.fill(load), Reverse(one.node))).map(|one| one.node)
}

/// One partition: begins with what is kept, fills up, and then exchanges single replicas for as
/// long as that makes the set wider.
fn place_one(
    storages: &[PlacementStorage],
    load: &BTreeMap<NodeId, u64>,
    wish: &PlacementWish,
) -> Result<ReplicaSet, PlacementError> {
    let is_current = |one: &PlacementStorage| wish.current.contains(one.member());
    let usable: Vec<_> =
        storages.iter().filter(|one| if is_current(one) { one.keeps } else { one.takes }).collect();
    let count = wish.replicas as usize;
    if usable.len() < count || count == 0 {
        let (partition, replicas) = (wish.partition, wish.replicas);
        let storages = u32::try_from(usable.len()).unwrap_or(u32::MAX);
        return Err(PlacementError { partition, replicas, storages });
    }
    let best = |chosen: &[&PlacementStorage]| {
        let left = usable.iter().filter(|one| !chosen.iter().any(|other| other.node == one.node));
        left.copied().max_by_key(|one| {
            let spread = Spread::of(chosen.iter().copied().chain([*one]));
            (spread, Reverse(one.fill(load)), Reverse(one.node))
        })
    };
    let mut chosen: Vec<&PlacementStorage> = Vec::new();
    for _ in 0..count {
        chosen.extend(current_first(&usable, &chosen, is_current).or_else(|| best(&chosen)));
    }
    while let Some((index, one)) = widening(&usable, &chosen, load) {
        chosen[index] = one;
    }
    Ok(in_order(&chosen, &wish.current))
}

/// While fewer are chosen than are kept, the kept one that makes the set widest.
fn current_first<'a>(
    usable: &[&'a PlacementStorage],
    chosen: &[&'a PlacementStorage],
    is_current: impl Fn(&PlacementStorage) -> bool,
) -> Option<&'a PlacementStorage> {
    let is_left = |one: &&&PlacementStorage| !chosen.iter().any(|other| other.node == one.node);
    let kept = usable.iter().filter(|one| is_current(one)).filter(is_left);
    kept.copied()
        .max_by_key(|one| (Spread::of(chosen.iter().copied().chain([*one])), Reverse(one.node)))
}

/// The exchange of one replica that makes the set widest, if one makes it wider at all.
fn widening<'a>(
    usable: &[&'a PlacementStorage],
    chosen: &[&'a PlacementStorage],
    load: &BTreeMap<NodeId, u64>,
) -> Option<(usize, &'a PlacementStorage)> {
    let now = Spread::of(chosen.iter().copied());
    if now.regions == chosen.len() {
        return None;
    }
    let is_left = |one: &&&PlacementStorage| !chosen.iter().any(|other| other.node == one.node);
    let exchanges = usable.iter().filter(is_left).flat_map(|one| {
        (0..chosen.len()).map(move |index| {
            let others = chosen.iter().enumerate().filter(move |(other, _)| *other != index);
            let spread = Spread::of(others.map(|(_, other)| *other).chain([*one]));
            (spread, Reverse(one.fill(load)), Reverse((one.node, index)), *one)
        })
    });
    let wider = exchanges.filter(|(spread, ..)| *spread > now);
    let best = wider.max_by_key(|(spread, fill, name, _)| (*spread, *fill, *name));
    best.map(|(_, _, Reverse((_, index)), one)| (index, one))
}

/// What is kept in the order that it has, and what is new behind it.
fn in_order(chosen: &[&PlacementStorage], current: &ReplicaSet) -> ReplicaSet {
    let members: BTreeSet<_> = chosen.iter().map(|one| one.member()).collect();
    let kept = current.0.iter().copied().filter(|member| members.contains(member));
    let new = members.iter().copied().filter(|member| !current.contains(*member));
    ReplicaSet(kept.chain(new).collect())
}

/// How widely replicas stand: in how many zones, and in how many regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Spread {
    zones: usize,
    regions: usize,
}

impl Spread {
    fn of<'a>(storages: impl Iterator<Item = &'a PlacementStorage> + Clone) -> Self {
        let zones: BTreeSet<_> = storages.clone().map(PlacementStorage::zone).collect();
        let regions: BTreeSet<_> = storages.map(|one| one.locality.region.as_deref()).collect();
        Self { zones: zones.len(), regions: regions.len() }
    }
}

impl PlacementStorage {
    /// A registered disk: it takes new replicas if its node is live and not drained, and keeps
    /// those that are there unless it is drained.
    pub fn registered(member: Member, locality: Locality, live: bool, drained: bool) -> Self {
        let Member { node, storage } = member;
        Self { node, storage, locality, takes: live && !drained, keeps: !drained }
    }

    fn member(&self) -> Member {
        Member { node: self.node, storage: self.storage }
    }

    /// Zones of one name in two regions are two zones.
    fn zone(&self) -> (Option<&str>, Option<&str>) {
        (self.locality.region.as_deref(), self.locality.zone.as_deref())
    }

    /// How full it is, in replicas for what it can keep: only for comparisons.
    fn fill(&self, load: &BTreeMap<NodeId, u64>) -> u128 {
        self.fill_with(load, 0)
    }

    /// The same with so many replicas more.
    fn fill_with(&self, load: &BTreeMap<NodeId, u64>, more: u64) -> u128 {
        let capacity = self.locality.capacity.unwrap_or(USUAL_CAPACITY).max(1);
        let load = load.get(&self.node).copied().unwrap_or_default();
        (u128::from(load + more) << 64) / u128::from(capacity)
    }
}

#[cfg(test)]
mod tests;
