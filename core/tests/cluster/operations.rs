//! What operators do to whole clusters: they look, drain, enlarge, and restore a lost coordinator.

use std::collections::BTreeMap;
use std::time::Duration;

use waltz_core::id::{Generation, Mark, MountId, NodeId, PartitionId, TransactionId};
use waltz_core::membership::{Cluster, MAX_SHORT_PARTITIONS, PartitionMeta};
use waltz_core::wire::{KnownPartition, NodeInspection, OperatorRefusal, OperatorRequest, Version};

use crate::operators::run_until_settled;
use crate::rig::{Mounted, Rig};

const PARTITION: PartitionId = PartitionId(0);

fn inspections(rig: &mut Rig, nodes: usize) -> Vec<NodeInspection> {
    (0..nodes).map(|index| rig.inspect(index)).collect()
}

#[test]
fn every_node_tells_what_it_knows_and_keeps() {
    let mut rig = Rig::with(3, 2, |config| {
        config.locality.zone = Some(format!("zone-{}", config.node.0));
        config.roles.server = config.node != NodeId(3);
    });
    let client = Mounted::new(&mut rig);
    client.grow(&mut rig, 0, 10);
    let drain = OperatorRequest::DrainStorage { node: NodeId(2), drained: true };
    assert_eq!(rig.operate(2, drain), Ok(()));
    for (index, inspection) in inspections(&mut rig, 3).into_iter().enumerate() {
        assert_eq!(inspection.node, NodeId(index as u32 + 1));
        assert_eq!(inspection.cluster, Some(Cluster { partitions: 1, replicas: 2 }));
        assert_eq!(inspection.controller, (index == 0).then_some(NodeId(1)));
        assert_eq!(inspection.generations, [(PARTITION, Generation(1))]);
        let zones = inspection.nodes.iter().map(|node| node.locality.zone.clone());
        assert!(zones.eq([1, 2, 3].map(|node| Some(format!("zone-{node}")))));
        let is_drained = |node: u32| inspection.nodes[node as usize - 1].operations.storage_drained;
        assert_eq!([1, 2, 3].map(is_drained), [false, true, false]);
        assert_eq!(inspection.nodes.iter().map(|node| node.server).filter(|is| *is).count(), 2);
        assert!(inspection.nodes.iter().all(|node| node.used), "each belongs to the cluster");
        match inspection.replicas.as_slice() {
            [replica] if index < 2 => {
                assert_eq!((replica.last, replica.start), (mark(9), Mark::NONE));
                assert_eq!(replica.promise, Some(client.session));
                assert_eq!((replica.members.0.len(), replica.damaged), (2, 0));
            }
            replicas => assert!(replicas.is_empty() && index == 2, "{replicas:?}"),
        }
    }
}

#[test]
fn a_cluster_grows_under_a_client() {
    let mut rig = Rig::new(3);
    let client = Mounted::new(&mut rig);
    client.grow(&mut rig, 0, 10);
    let add = OperatorRequest::AddPartitions { partitions: 5 };
    assert_eq!(rig.operate(1, add), Ok(()));
    rig.run(Duration::from_secs(3));
    client.grow(&mut rig, 10, 10);
    let served: BTreeMap<_, _> = (0..3)
        .flat_map(|index| rig.status(index).partitions)
        .map(|status| (status.partition, status.open))
        .collect();
    assert_eq!(served, (0..5).map(|partition| (PartitionId(partition), true)).collect());
}

/// More partitions than fit a frame's head take a version of the protocol that has longer messages.
#[test]
fn a_cluster_grows_far_once_everyone_can_be_told() {
    let partitions = MAX_SHORT_PARTITIONS + 1;
    let add = || OperatorRequest::AddPartitions { partitions };
    let mut rig = Rig::with(2, 1, |config| {
        if config.node == NodeId(2) {
            config.newest = Version::SPACE;
        }
    });
    let client = Mounted::new(&mut rig);
    let (needed, spoken) = (Version::LONG, Version::SPACE);
    let too_old = Err(OperatorRefusal::TooOld { count: partitions, needed, spoken });
    assert_eq!(rig.operate(0, add()), too_old);
    rig.kill(1);
    rig.upgrade(1);
    rig.boot(1, 1);
    rig.run(Duration::from_secs(5));
    assert_eq!(rig.operate(0, add()), Ok(()));
    rig.run(Duration::from_secs(5));
    client.grow(&mut rig, 0, 10);
    let served: Vec<_> = (0..2).flat_map(|index| rig.status(index).partitions).collect();
    assert_eq!(served.iter().filter(|status| status.open).count(), partitions as usize);
    assert_eq!(rig.inspect(1).generations.len(), partitions as usize);
    // A node of the former release can't be told any more.
    rig.kill(1);
    rig.hold_back(1, Version::SPACE);
    rig.boot(1, 1);
    rig.run(Duration::from_secs(5));
    let refused = "no common protocol version: this node speaks 5 to 5";
    assert!(rig.reports.iter().any(|report| report.contains(refused)), "{:?}", rig.reports.last());
}

/// The coordinator's node is lost with its disk. From what the others keep an operator gives the
/// cluster back, and replaces the replica that is gone.
#[test]
fn a_lost_coordinator_is_made_good_from_what_disks_know() {
    let mut rig = Rig::new(3);
    let client = Mounted::new(&mut rig);
    client.grow(&mut rig, 0, 50);
    let session = client.session;
    rig.kill(0);
    rig.boot(0, 77);
    rig.run(Duration::from_secs(10));
    assert_eq!(rig.inspect(1).cluster, None, "nothing is made in its place");
    let partitions = known(&inspections(&mut rig, 3));
    let create = OperatorRequest::CreateCluster { partitions: 1, replicas: 3 };
    let in_use = Err(OperatorRefusal::DiskInUse { node: NodeId(2) });
    assert_eq!(rig.operate(0, create), in_use);
    let restore = OperatorRequest::RestoreCluster { replicas: 3, partitions };
    assert_eq!(rig.operate(1, restore), Ok(()));
    rig.run(Duration::from_secs(5));
    let client = Mounted::after(&mut rig, MountId(9), Mark::NONE);
    assert!(client.session > session);
    client.grow(&mut rig, 50, 10);
    let nodes = [1, 2, 3].map(NodeId).to_vec();
    let again = OperatorRequest::SetReplicas { partition: PARTITION, nodes };
    assert_eq!(rig.operate(2, again), Ok(()));
    run_until_settled(&mut rig, &[1, 2, 3]);
    let replica = &rig.inspect(0).replicas[0];
    assert_eq!((replica.last, replica.low_water), (mark(59), mark(59)));
}

/// What disks know of the partitions: of each the newest replica set, and the highest number that
/// anyone remembers.
fn known(inspections: &[NodeInspection]) -> Vec<KnownPartition> {
    let mut known: BTreeMap<PartitionId, KnownPartition> = BTreeMap::new();
    for replica in inspections.iter().flat_map(|inspection| &inspection.replicas) {
        let partition = replica.partition;
        let epoch = replica.promise.map_or(0, |promise| promise.epoch.0);
        let replicas = replica.members.clone();
        let meta = PartitionMeta { creation: replica.creation, version: replica.version, replicas };
        let generation = Generation(epoch);
        let entry = KnownPartition { partition, generation, meta };
        let best = known.entry(partition).or_insert_with(|| entry.clone());
        best.generation = best.generation.max(entry.generation);
        if best.meta.version < entry.meta.version {
            best.meta = entry.meta;
        }
    }
    for (partition, generation) in inspections.iter().flat_map(|one| &one.generations) {
        if let Some(known) = known.get_mut(partition) {
            known.generation = known.generation.max(*generation);
        }
    }
    known.into_values().collect()
}

fn mark(id: u64) -> Mark {
    Mark::at(TransactionId(id))
}
