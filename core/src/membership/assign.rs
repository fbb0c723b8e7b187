//! Which server serves which partition: a pure function.

mod cost;

use std::collections::{BTreeMap, BTreeSet};

use cost::Costs;

use crate::id::{NodeId, PartitionId};

/// Spreads partitions over the live servers.
///
/// A partition that some live servers prefer goes to one of these, any other to any server. Servers
/// that may serve the same partitions have equally many, but for one, and no more partitions move than
/// that takes. Where `loads` are known, partitions then change places until no exchange would make the
/// more expensive one of two servers noticeably cheaper; a partition without a load costs nothing. The
/// same arguments give the same answer everywhere, and an answer stands as long as they do. Without
/// a live server nothing is assigned.
///
/// Partitions are handled in groups that the same servers may serve, the group with the fewest
/// servers first, so that those with a choice even out what those without left uneven.
pub fn assign(
    live: &BTreeSet<NodeId>,
    preferences: &BTreeMap<NodeId, BTreeSet<PartitionId>>,
    loads: &BTreeMap<PartitionId, u32>,
    current: &BTreeMap<PartitionId, NodeId>,
    partitions: impl IntoIterator<Item = PartitionId>,
) -> BTreeMap<PartitionId, NodeId> {
    let mut assigned = BTreeMap::new();
    if live.is_empty() {
        return assigned;
    }
    let prefers = |server: &NodeId, partition: PartitionId| {
        preferences.get(server).is_some_and(|preferred| preferred.contains(&partition))
    };
    let mut groups: BTreeMap<(usize, Vec<NodeId>), BTreeSet<PartitionId>> = BTreeMap::new();
    for partition in partitions {
        let mut servers: Vec<NodeId> =
            live.iter().copied().filter(|server| prefers(server, partition)).collect();
        if servers.is_empty() {
            servers = live.iter().copied().collect();
        }
        groups.entry((servers.len(), servers)).or_default().insert(partition);
    }
    let mut counts: BTreeMap<NodeId, usize> = live.iter().map(|&server| (server, 0)).collect();
    let mut costs = Costs::new(live, loads);
    for ((_, servers), group) in groups {
        let servers: Vec<(NodeId, usize)> =
            servers.into_iter().map(|server| (server, counts[&server])).collect();
        let mut group: BTreeMap<_, _> =
            assign_group(&servers, current, &group).into_iter().collect();
        let mut total: BTreeMap<NodeId, usize> = servers.into_iter().collect();
        for server in group.values() {
            *total.entry(*server).or_default() += 1;
        }
        costs.even_out(&total, &mut group);
        for server in group.values() {
            *counts.entry(*server).or_default() += 1;
        }
        assigned.append(&mut group);
    }
    assigned
}

/// Spreads one group over servers that already have some load each.
fn assign_group(
    servers: &[(NodeId, usize)],
    current: &BTreeMap<PartitionId, NodeId>,
    group: &BTreeSet<PartitionId>,
) -> Vec<(PartitionId, NodeId)> {
    let mut held: BTreeMap<NodeId, usize> = BTreeMap::new();
    for server in group.iter().filter_map(|partition| current.get(partition)) {
        *held.entry(*server).or_default() += 1;
    }
    let mut room = quotas(servers, &held, group.len());
    let mut assigned = Vec::with_capacity(group.len());
    let mut moving = Vec::new();
    for &partition in group {
        let kept =
            current.get(&partition).and_then(|server| Some((*server, room.get_mut(server)?)));
        match kept {
            Some((server, room)) if *room > 0 => {
                *room -= 1;
                assigned.push((partition, server));
            }
            _ => moving.push(partition),
        }
    }
    let free = room.into_iter().flat_map(|(server, room)| std::iter::repeat_n(server, room));
    assigned.extend(moving.into_iter().zip(free));
    assert_eq!(assigned.len(), group.len(), "quotas add up to the group");
    assigned
}

/// How many partitions of a group each server gets so that total loads are as even as can be:
/// water filled in to a level. The few that stand one above the level are those that would have to
/// give one up otherwise.
fn quotas(
    servers: &[(NodeId, usize)],
    held: &BTreeMap<NodeId, usize>,
    count: usize,
) -> BTreeMap<NodeId, usize> {
    let needed = |level: usize| -> usize {
        servers.iter().map(|(_, load)| level.saturating_sub(*load)).sum()
    };
    let lowest = servers.iter().map(|(_, load)| *load).min().unwrap_or_default();
    let mut level = lowest + count / servers.len();
    while needed(level + 1) <= count {
        level += 1;
    }
    let mut quotas: BTreeMap<NodeId, usize> =
        servers.iter().map(|&(server, load)| (server, level.saturating_sub(load))).collect();
    let mut at_level: Vec<NodeId> =
        servers.iter().filter(|(_, load)| *load <= level).map(|(server, _)| *server).collect();
    let gives_up_one =
        |server: &NodeId| held.get(server).copied().unwrap_or_default() > quotas[server];
    at_level.sort_by_key(|server| (!gives_up_one(server), *server));
    for server in at_level.into_iter().take(count - needed(level)) {
        *quotas.entry(server).or_default() += 1;
    }
    quotas
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, btree_set};
    use proptest::prelude::*;

    use super::*;

    type Current = BTreeMap<PartitionId, NodeId>;
    type Preferences = BTreeMap<NodeId, BTreeSet<PartitionId>>;

    fn partitions(count: u32) -> impl Iterator<Item = PartitionId> + Clone {
        (0..count).map(PartitionId)
    }

    fn nodes(ids: &[u32]) -> BTreeSet<NodeId> {
        ids.iter().map(|&id| NodeId(id)).collect()
    }

    fn load(assigned: &Current, server: NodeId) -> usize {
        assigned.values().filter(|&&other| other == server).count()
    }

    fn moves(current: &Current, assigned: &Current) -> usize {
        assigned.iter().filter(|(partition, server)| current.get(partition) != Some(server)).count()
    }

    fn balanced(live: &BTreeSet<NodeId>, assigned: &Current) -> bool {
        let loads = live.iter().map(|&server| load(assigned, server));
        loads.clone().max().unwrap_or(0) - loads.min().unwrap_or(0) <= 1
    }

    /// The fewest moves of all balanced assignments, by trying every assignment there is.
    fn fewest_moves(live: &BTreeSet<NodeId>, current: &Current, count: u32) -> usize {
        let servers: Vec<NodeId> = live.iter().copied().collect();
        let all = servers.len().pow(count);
        let assignment = |mut number: usize| -> Current {
            partitions(count)
                .map(|partition| {
                    let server = servers[number % servers.len()];
                    number /= servers.len();
                    (partition, server)
                })
                .collect()
        };
        (0..all)
            .map(assignment)
            .filter(|assigned| balanced(live, assigned))
            .map(|assigned| moves(current, &assigned))
            .min()
            .expect("some assignment is balanced")
    }

    #[test]
    fn a_dead_servers_partitions_spread_and_no_other_moves() {
        let current: Current = partitions(6).zip([1, 1, 2, 2, 3, 3].map(NodeId)).collect();
        let assigned =
            assign(&nodes(&[1, 2]), &BTreeMap::new(), &BTreeMap::new(), &current, partitions(6));
        let expected: Current = partitions(6).zip([1, 1, 2, 2, 1, 2].map(NodeId)).collect();
        assert_eq!(assigned, expected);
    }

    #[test]
    fn nothing_is_assigned_without_a_server() {
        let current = [(PartitionId(0), NodeId(1))].into();
        assert_eq!(
            assign(&nodes(&[]), &BTreeMap::new(), &BTreeMap::new(), &current, partitions(3)),
            BTreeMap::new()
        );
    }

    #[test]
    fn the_others_even_out_what_preferences_leave_uneven() {
        let preferences = [(NodeId(1), [0, 1].map(PartitionId).into())].into();
        let assigned =
            assign(&nodes(&[1, 2]), &preferences, &BTreeMap::new(), &Current::new(), partitions(4));
        let expected: Current = partitions(4).zip([1, 1, 2, 2].map(NodeId)).collect();
        assert_eq!(assigned, expected);
    }

    fn cost(assigned: &Current, loads: &BTreeMap<PartitionId, u32>, server: NodeId) -> u64 {
        let held = assigned.iter().filter(|(_, other)| **other == server);
        held.filter_map(|(partition, _)| loads.get(partition)).map(|load| u64::from(*load)).sum()
    }

    #[test]
    fn busy_partitions_are_spread_and_idle_ones_change_places_with_them() {
        let current: Current = partitions(6).zip([1, 1, 1, 2, 2, 2].map(NodeId)).collect();
        let loads = partitions(6).zip([500, 400, 300, 10, 10, 10]).collect();
        let servers = nodes(&[1, 2]);
        let assigned = assign(&servers, &BTreeMap::new(), &loads, &current, partitions(6));
        assert_eq!(moves(&current, &assigned), 2, "{assigned:?}");
        assert_eq!([1, 2].map(|server| load(&assigned, NodeId(server))), [3, 3]);
        let costs = [1, 2].map(|server| cost(&assigned, &loads, NodeId(server)));
        assert!(costs[0].abs_diff(costs[1]) <= 200, "{costs:?}");
    }

    #[test]
    fn what_differs_little_stays_where_it_is() {
        let current: Current = partitions(4).zip([1, 1, 2, 2].map(NodeId)).collect();
        let loads = partitions(4).zip([100, 104, 98, 99]).collect();
        let servers = nodes(&[1, 2]);
        assert_eq!(assign(&servers, &BTreeMap::new(), &loads, &current, partitions(4)), current);
    }

    fn some_loads() -> impl Strategy<Value = BTreeMap<PartitionId, u32>> {
        btree_map((0..24_u32).prop_map(PartitionId), 0..1000_u32, 0..24)
    }

    fn server() -> impl Strategy<Value = NodeId> {
        (0..5_u32).prop_map(NodeId)
    }

    fn some_current() -> impl Strategy<Value = Current> {
        btree_map((0..24_u32).prop_map(PartitionId), server(), 0..24)
    }

    fn some_preferences() -> impl Strategy<Value = Preferences> {
        btree_map(server(), btree_set((0..24_u32).prop_map(PartitionId), 0..24), 0..5)
    }

    proptest! {
        #[test]
        fn balanced_with_the_fewest_moves(
            live in btree_set((0..3_u32).prop_map(NodeId), 1..=3),
            current in btree_map((0..6_u32).prop_map(PartitionId), (0..4_u32).prop_map(NodeId), 0..6),
            count in 0..=6_u32,
        ) {
            let assigned = assign(&live, &BTreeMap::new(), &BTreeMap::new(), &current, partitions(count));
            prop_assert!(balanced(&live, &assigned));
            prop_assert_eq!(moves(&current, &assigned), fewest_moves(&live, &current, count));
        }

        #[test]
        fn every_partition_has_a_live_server_that_prefers_it_if_any_does(
            live in btree_set(server(), 1..=5),
            preferences in some_preferences(),
            loads in some_loads(),
            current in some_current(),
            count in 0..24_u32,
        ) {
            let assigned = assign(&live, &preferences, &loads, &current, partitions(count));
            prop_assert!(assigned.keys().copied().eq(partitions(count)));
            for (partition, server) in &assigned {
                prop_assert!(live.contains(server));
                let preferring: Vec<&NodeId> = live
                    .iter()
                    .filter(|server| preferences.get(server).is_some_and(|p| p.contains(partition)))
                    .collect();
                prop_assert!(preferring.is_empty() || preferring.contains(&server));
            }
        }

        #[test]
        fn servers_of_equal_preferences_have_equal_loads_within_one(
            live in btree_set(server(), 2..=5),
            mut preferences in some_preferences(),
            loads in some_loads(),
            current in some_current(),
            count in 0..24_u32,
        ) {
            let equals: Vec<NodeId> = live.iter().copied().take(2).collect();
            let preferred = preferences.get(&equals[0]).cloned().unwrap_or_default();
            preferences.insert(equals[1], preferred);
            let assigned = assign(&live, &preferences, &loads, &current, partitions(count));
            prop_assert!(load(&assigned, equals[0]).abs_diff(load(&assigned, equals[1])) <= 1);
        }

        #[test]
        fn known_loads_make_no_server_more_expensive_than_the_dearest_was(
            live in btree_set(server(), 1..=5),
            loads in some_loads(),
            current in some_current(),
            count in 0..24_u32,
        ) {
            let of = |loads: &BTreeMap<_, _>| {
                assign(&live, &BTreeMap::new(), loads, &current, partitions(count))
            };
            let dearest = |assigned: &Current| {
                live.iter().map(|server| cost(assigned, &loads, *server)).max()
            };
            prop_assert!(dearest(&of(&loads)) <= dearest(&of(&BTreeMap::new())));
        }

        #[test]
        fn what_is_assigned_stays(
            live in btree_set(server(), 1..=5),
            preferences in some_preferences(),
            loads in some_loads(),
            current in some_current(),
            count in 0..24_u32,
        ) {
            let assigned = assign(&live, &preferences, &loads, &current, partitions(count));
            let again = assign(&live, &preferences, &loads, &assigned, partitions(count));
            prop_assert_eq!(again, assigned);
        }
    }
}
