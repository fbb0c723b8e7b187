//! What nodes say of themselves when they are asked.

use std::time::Duration;

use waltz_core::id::{Mark, MountId};
use waltz_core::measure::{Measurements, Missing, PartitionMeasurements, ServingState};
use waltz_core::node::Node;

use crate::rig::{Mounted, Rig};

/// What the partition's server says.
fn served(rig: &Rig) -> PartitionMeasurements {
    let mut served = rig.nodes().flat_map(|node| node.measure().partitions);
    served.next().expect("someone serves the partition")
}

fn missing(rig: &Rig) -> Vec<Missing> {
    rig.nodes().flat_map(|node| node.measure().missing()).collect()
}

#[test]
fn appends_are_counted_by_what_became_of_them() {
    let mut rig = Rig::new(3);
    let client = Mounted::new(&mut rig);
    let none = Mark::NONE;
    client.append(&mut rig, 0, &[(none, 0), (none, 1), (none, 0)]);
    rig.run(Duration::from_secs(1));

    let PartitionMeasurements { counts, mounts, replicas, .. } = served(&rig);
    assert_eq!((counts.appended, counts.committed, counts.conflicts), (2, 2, 1));
    assert_eq!((counts.commit_latency.count(), counts.run_records.sum()), (2, 2));
    assert_eq!((counts.sessions_opened, counts.sessions_ended), (1, 0));
    assert_eq!((mounts.mounted, mounts.at_head, mounts.largest_lag), (1, 1, 0));
    assert!(replicas.iter().all(|replica| replica.has_joined && replica.counts));
    assert_eq!(replicas.iter().map(|replica| replica.lag).collect::<Vec<_>>(), [0, 0, 0]);
    for node in rig.nodes() {
        let Measurements { replicas, .. } = node.measure();
        let kept: Vec<_> = replicas.iter().map(|kept| (kept.last.count(), kept.damaged)).collect();
        assert_eq!(kept, [(2, 0)]);
    }
}

#[test]
fn a_replica_that_is_gone_falls_behind() {
    let mut rig = Rig::new(3);
    let client = Mounted::new(&mut rig);
    let server = rig.nodes().position(|node| !node.measure().partitions.is_empty());
    let other = (0..3).find(|index| Some(*index) != server).expect("there are three");
    rig.kill(other);
    client.grow(&mut rig, 0, 5);
    let partition = served(&rig);
    let lags: Vec<_> = partition.replicas.iter().map(|replica| replica.lag).collect();
    assert_eq!(lags.iter().filter(|lag| **lag == 5).count(), 1, "{lags:?}");
    assert!(partition.has_quorum);
}

#[test]
fn a_node_is_ready_when_it_can_take_appends_and_no_longer_without_a_quorum() {
    let mut rig = Rig::new(3);
    assert!(missing(&rig).contains(&Missing::Registration));
    Mounted::new(&mut rig);
    assert_eq!(missing(&rig), []);
    let server = rig.nodes().position(|node| !node.measure().partitions.is_empty());
    for other in (0..3).filter(|index| Some(*index) != server) {
        rig.kill(other);
    }
    rig.run(Duration::from_secs(1));
    let partition = served(&rig).partition;
    assert_eq!(missing(&rig), [Missing::Quorum { partition }]);
}

#[test]
fn what_all_partitions_keep_in_memory_is_bounded() {
    for recent_bytes in [1, 1 << 20] {
        let mut rig = Rig::with(1, 1, |config| config.recent_bytes = recent_bytes);
        Mounted::new(&mut rig).grow(&mut rig, 0, 5);
        let kept = rig.nodes().map(|node| node.measure().recent_bytes).sum::<u64>();
        assert_eq!(kept > 0, recent_bytes > 1, "{kept}");
        // A client from the beginning is fed all of it.
        Mounted::after(&mut rig, MountId(2), Mark::NONE);
        let mounts = served(&rig).mounts;
        assert_eq!((mounts.mounted, mounts.at_head), (1, 1));
        assert_eq!(mounts.tail_misses > 0, recent_bytes == 1, "{mounts:?}");
    }
}

#[test]
fn to_be_asked_changes_nothing() {
    let mut rig = Rig::new(1);
    let client = Mounted::new(&mut rig);
    client.grow(&mut rig, 0, 3);
    let before: Vec<Node> = rig.nodes().cloned().collect();
    assert_eq!(served(&rig).state, ServingState::Open);
    assert!(rig.nodes().eq(before.iter()));
}
