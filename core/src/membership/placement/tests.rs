use proptest::prelude::*;

use super::*;

fn storage(node: u32, region: Option<u8>, zone: Option<u8>) -> PlacementStorage {
    let name = |name: u8| name.to_string();
    PlacementStorage {
        node: NodeId(node),
        storage: StorageId(node.into()),
        locality: Locality { region: region.map(name), zone: zone.map(name), capacity: None },
        takes: true,
        keeps: true,
    }
}

fn zones(zones: &[u8]) -> Vec<PlacementStorage> {
    (1..).zip(zones).map(|(node, zone)| storage(node, None, Some(*zone))).collect()
}

fn set(storages: &[PlacementStorage], nodes: &[u32]) -> ReplicaSet {
    let named = nodes.iter().filter_map(|node| storages.iter().find(|one| one.node.0 == *node));
    ReplicaSet(named.map(PlacementStorage::member).collect())
}

fn wish(partition: u32, replicas: u32, current: ReplicaSet) -> PlacementWish {
    PlacementWish { partition: PartitionId(partition), replicas, current }
}

fn nodes(placed: &Placed, partition: u32) -> Vec<u32> {
    let set = placed[&PartitionId(partition)].as_ref().expect("it can be placed");
    set.nodes().map(|node| node.0).collect()
}

#[test]
fn a_set_that_is_too_narrow_is_widened_by_the_fewest_moves() {
    let storages = zones(&[0, 0, 0, 1, 2]);
    let wish = wish(0, 3, set(&storages, &[3, 2, 1]));
    let placed = place(&storages, &BTreeMap::new(), &[wish]);
    assert_eq!(nodes(&placed, 0).len(), 3);
    assert_eq!(nodes(&placed, 0)[1..], [4, 5], "one of the old zone stays, first");
}

#[test]
fn a_drained_storage_is_emptied_and_a_dead_one_gets_nothing() {
    let mut storages = zones(&[0, 1, 2, 2, 2]);
    storages[0].takes = false;
    storages[0].keeps = false;
    storages[3].takes = false;
    let placed = place(&storages, &BTreeMap::new(), &[wish(7, 3, set(&storages, &[1, 2, 4]))]);
    assert_eq!(nodes(&placed, 7), [2, 4, 3]);
    let all = place(&storages, &BTreeMap::new(), &[wish(7, 4, ReplicaSet(Vec::new()))]);
    let error = PlacementError { partition: PartitionId(7), replicas: 4, storages: 3 };
    assert_eq!(all[&PartitionId(7)], Err(error));
}

#[test]
fn an_empty_storage_relieves_the_fullest_of_its_zone_until_it_has_its_share() {
    let storages = zones(&[0, 0, 1, 1, 2, 2]);
    let current = set(&storages, &[1, 3, 5]);
    let mut load: BTreeMap<_, _> = [1, 3, 5].map(|node| (NodeId(node), 4)).into();
    let mut relieved = Vec::new();
    while let Some(from) = relieve(&storages, &load, &current, NodeId(2)) {
        *load.entry(from).or_default() -= 1;
        *load.entry(NodeId(2)).or_default() += 1;
        relieved.push(from.0);
    }
    assert_eq!(relieved, [1, 1], "two each, and no other zone's");
    let mut drained = storages.clone();
    drained[1].takes = false;
    let load = [(NodeId(1), 9)].into();
    assert_eq!(relieve(&drained, &load, &current, NodeId(2)), None);
    assert_eq!(relieve(&storages, &load, &current, NodeId(3)), None, "it is in the set");
}

#[test]
fn new_partitions_fill_disks_in_proportion_to_what_they_can_keep() {
    let mut storages = zones(&[0, 1, 0, 1]);
    storages[0].locality.capacity = Some(3 << 40);
    let wishes: Vec<_> = (0..40).map(|one| wish(one, 2, ReplicaSet(Vec::new()))).collect();
    let placed = place(&storages, &BTreeMap::new(), &wishes);
    let on = |node: u32| (0..40).filter(|one| nodes(&placed, *one).contains(&node)).count();
    assert_eq!([1, 2, 3, 4].map(on), [30, 20, 10, 20]);
}

#[test]
fn what_others_keep_counts() {
    let storages = zones(&[0, 0, 0]);
    let load = [(NodeId(1), 4), (NodeId(2), 1), (NodeId(3), 3)].into();
    let placed = place(&storages, &load, &[wish(0, 2, ReplicaSet(Vec::new()))]);
    assert_eq!(nodes(&placed, 0), [2, 3]);
}

fn some_storages() -> impl Strategy<Value = Vec<PlacementStorage>> {
    let place = (prop::option::of(0..3_u8), prop::option::of(0..3_u8), 0..6_u8);
    prop::collection::vec(place, 1..8).prop_map(|places| {
        (1..)
            .zip(places)
            .map(|(node, (region, zone, state))| {
                // Drained, dead, or well.
                let (takes, keeps) = (state > 1, state > 0);
                PlacementStorage { takes, keeps, ..storage(node, region, zone) }
            })
            .collect()
    })
}

fn some_wish() -> impl Strategy<Value = (Vec<PlacementStorage>, u32, Vec<u32>)> {
    (some_storages(), 1..5_u32, prop::collection::btree_set(1..8_u32, 0..5)).prop_map(
        |(storages, replicas, current)| (storages, replicas, current.into_iter().collect()),
    )
}

/// All sets of so many storages that may keep a replica.
fn possible<'a>(
    storages: &'a [PlacementStorage],
    wish: &PlacementWish,
) -> Vec<Vec<&'a PlacementStorage>> {
    let is_usable = |one: &&PlacementStorage| match wish.current.contains(one.member()) {
        true => one.keeps,
        false => one.takes,
    };
    let usable: Vec<_> = storages.iter().filter(is_usable).collect();
    (0..1_u32 << usable.len())
        .filter(|bits| bits.count_ones() == wish.replicas)
        .map(|bits| {
            let chosen = usable.iter().enumerate().filter(|(index, _)| bits >> index & 1 == 1);
            chosen.map(|(_, one)| *one).collect()
        })
        .collect()
}

fn kept(wish: &PlacementWish, set: &[&PlacementStorage]) -> usize {
    set.iter().filter(|one| wish.current.contains(one.member())).count()
}

proptest! {
    /// Of all sets that may be, by trying each: the widest, and of these one that moves least.
    #[test]
    fn as_wide_as_can_be_with_the_fewest_moves((storages, replicas, current) in some_wish()) {
        let wish = wish(0, replicas, set(&storages, &current));
        let placed = place(&storages, &BTreeMap::new(), std::slice::from_ref(&wish));
        let possible = possible(&storages, &wish);
        let Ok(set) = &placed[&PartitionId(0)] else {
            prop_assert!(possible.is_empty());
            return Ok(());
        };
        let chosen: Vec<_> =
            storages.iter().filter(|one| set.contains(one.member())).collect();
        prop_assert!(possible.contains(&chosen), "{set:?}");
        let spread = |set: &[&PlacementStorage]| Spread::of(set.iter().copied());
        let widest = possible.iter().map(|set| spread(set)).max();
        prop_assert_eq!(Some(spread(&chosen)), widest);
        let most = possible.iter().filter(|set| Some(spread(set)) == widest);
        prop_assert_eq!(Some(kept(&wish, &chosen)), most.map(|set| kept(&wish, set)).max());
    }

    #[test]
    fn what_is_placed_stays((storages, replicas, current) in some_wish()) {
        let first = wish(0, replicas, set(&storages, &current));
        let placed = place(&storages, &BTreeMap::new(), &[first]);
        if let Ok(set) = &placed[&PartitionId(0)] {
            let again = place(&storages, &BTreeMap::new(), &[wish(0, replicas, set.clone())]);
            prop_assert_eq!(&again[&PartitionId(0)], &Ok(set.clone()));
        }
    }
}
