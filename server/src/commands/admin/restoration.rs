//! The record of a cluster, put together from what its nodes' disks keep.
//!
//! Nothing is restored on the word of a minority: of each partition a majority of the newest replica
//! set has to have answered, on the disks that the set names, and all that keep the partition have to
//! name one creation. What is written down is only whom a new session asks first; which log counts
//! is decided by the replicas as ever.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;
use waltz_client::{KnownPartition, NodeId, NodeInspection, PartitionId, ReplicaInspection};
use waltz_core::id::{Generation, Member};
use waltz_core::membership::PartitionMeta;

use super::requests::node_list;

/// A cluster that can be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Restoration {
    /// How many replicas new partitions get: as many as most partitions have.
    pub(super) replicas: u32,
    /// All partitions, ascending.
    pub(super) partitions: Vec<KnownPartition>,
}

/// Why a cluster can't be restored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum RestorationError {
    /// There is nothing to restore.
    #[error(
        "the coordinator knows a cluster of {partitions} partitions: nothing has to be restored"
    )]
    Known {
        /// How many it has.
        partitions: u32,
    },
    /// No disk keeps anything.
    #[error("no node that answered keeps a replica; start the storage nodes first")]
    Nothing,
    /// Nobody keeps a partition that there must have been.
    #[error(
        "no node that answered keeps partition {partition}; start the nodes that do", partition = .0.0
    )]
    Missing(PartitionId),
    /// Replicas of two partitions that have one number.
    #[error(
        "partition {partition}: nodes {one} and {other} keep logs of different creations; \
         stop the node that belongs to another cluster",
        partition = partition.0, one = one.0, other = other.0
    )]
    Creations {
        /// The partition.
        partition: PartitionId,
        /// A node that keeps one.
        one: NodeId,
        /// A node that keeps another.
        other: NodeId,
    },
    /// Too few members of the newest set have answered.
    #[error(
        "partition {partition}: of its replicas on nodes {members} only {answered} answered with \
         sound disks; start the others first",
        partition = partition.0
    )]
    NoMajority {
        /// The partition.
        partition: PartitionId,
        /// The newest set.
        members: String,
        /// How many answered.
        answered: usize,
    },
}

/// A replica and the disk that it is on.
#[derive(Debug, Clone, Copy)]
struct Found<'a> {
    node: NodeId,
    member: Option<Member>,
    /// Whether the journal that it is in may have lost what was acknowledged.
    is_suspect: bool,
    replica: &'a ReplicaInspection,
}

/// Puts the record together.
///
/// # Errors
/// When there is nothing to restore, or too little is known.
pub(super) fn restoration(inspections: &[NodeInspection]) -> Result<Restoration, RestorationError> {
    if let Some(cluster) = inspections.iter().find_map(|inspection| inspection.cluster) {
        return Err(RestorationError::Known { partitions: cluster.partitions });
    }
    let mut found = BTreeMap::<PartitionId, Vec<Found<'_>>>::new();
    for inspection in inspections {
        let member = inspection.storage.map(|storage| Member { node: inspection.node, storage });
        let (node, is_suspect) = (inspection.node, inspection.suspect);
        for replica in &inspection.replicas {
            let replica = Found { node, member, is_suspect, replica };
            found.entry(replica.replica.partition).or_default().push(replica);
        }
    }
    let seen = inspections.iter().flat_map(|inspection| &inspection.generations);
    let last = found.keys().chain(seen.map(|(partition, _)| partition)).max().copied();
    let Some(last) = last.filter(|_| !found.is_empty()) else {
        return Err(RestorationError::Nothing);
    };
    let mut partitions = Vec::new();
    for partition in (0..=last.0).map(PartitionId) {
        let replicas = found.get(&partition).ok_or(RestorationError::Missing(partition))?;
        partitions.push(known(partition, replicas, inspections)?);
    }
    Ok(Restoration { replicas: usual_count(&partitions), partitions })
}

fn known(
    partition: PartitionId,
    replicas: &[Found<'_>],
    inspections: &[NodeInspection],
) -> Result<KnownPartition, RestorationError> {
    let first = replicas[0];
    let creation = first.replica.creation;
    if let Some(other) = replicas.iter().find(|found| found.replica.creation != creation) {
        let (one, other) = (first.node, other.node);
        return Err(RestorationError::Creations { partition, one, other });
    }
    let newest = replicas.iter().map(|found| found.replica).max_by_key(|replica| replica.version);
    let newest = newest.expect("a partition that was found has a replica");
    let is_member = |found: &&Found<'_>| {
        !found.is_suspect && found.member.is_some_and(|member| newest.members.contains(member))
    };
    let answered = replicas.iter().filter(is_member).count();
    if answered <= newest.members.0.len() / 2 {
        let members = node_list(&newest.members.nodes().collect::<Vec<_>>());
        return Err(RestorationError::NoMajority { partition, members, answered });
    }
    let meta =
        PartitionMeta { creation, version: newest.version, replicas: newest.members.clone() };
    Ok(KnownPartition { partition, generation: highest(partition, replicas, inspections), meta })
}

/// The highest generation that anyone remembers, or epoch that was promised.
fn highest(
    partition: PartitionId,
    replicas: &[Found<'_>],
    inspections: &[NodeInspection],
) -> Generation {
    let seen = inspections.iter().flat_map(|inspection| &inspection.generations);
    let seen = seen.filter(|(one, _)| *one == partition).map(|(_, generation)| generation.0);
    let promised = replicas.iter().filter_map(|found| Some(found.replica.promise?.epoch.0));
    Generation(seen.chain(promised).max().unwrap_or(0))
}

/// How many replicas most partitions have; the more if two counts are as frequent.
fn usual_count(partitions: &[KnownPartition]) -> u32 {
    let count = |known: &KnownPartition| known.meta.replicas.0.len();
    let counts: BTreeSet<_> = partitions.iter().map(count).collect();
    let frequency = |wanted: &usize| partitions.iter().filter(|it| count(it) == *wanted).count();
    let usual = counts.into_iter().max_by_key(|wanted| (frequency(wanted), *wanted));
    usual.and_then(|count| u32::try_from(count).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use waltz_client::Mark;
    use waltz_core::id::{CreationId, Epoch, ReplicaSet, SessionId, SetVersion, StorageId};
    use waltz_core::membership::Cluster;

    use super::*;

    fn member(node: u32) -> Member {
        Member { node: NodeId(node), storage: StorageId(node.into()) }
    }

    fn replica(partition: u32, version: u64, members: &[u32], epoch: u64) -> ReplicaInspection {
        ReplicaInspection {
            partition: PartitionId(partition),
            creation: CreationId(7),
            promise: Some(SessionId { epoch: Epoch(epoch), ..session() }),
            normal: None,
            start: Mark::NONE,
            last: Mark::NONE,
            low_water: Mark::NONE,
            version: SetVersion(version),
            members: ReplicaSet(members.iter().copied().map(member).collect()),
            damaged: 0,
        }
    }

    fn session() -> SessionId {
        SessionId { epoch: Epoch(1), server: NodeId(1), nonce: 0 }
    }

    fn node(node: u32, replicas: Vec<ReplicaInspection>) -> NodeInspection {
        NodeInspection {
            node: NodeId(node),
            storage: Some(StorageId(node.into())),
            suspect: false,
            coordinator: true,
            cluster: None,
            controller: None,
            nodes: Vec::new(),
            regions: Vec::new(),
            generations: vec![(PartitionId(0), Generation(3))],
            replicas,
        }
    }

    /// Partition 0 was moved from node 1 to node 4, and node 1 does not know.
    fn moved() -> Vec<NodeInspection> {
        vec![
            node(1, vec![replica(0, 1, &[1, 2, 3], 2)]),
            node(2, vec![replica(0, 3, &[2, 3, 4], 5)]),
            node(3, vec![replica(0, 2, &[1, 2, 3, 4], 5)]),
        ]
    }

    #[test]
    fn the_newest_set_counts_and_the_highest_number_that_anyone_knows() {
        let restoration = restoration(&moved()).expect("a majority has answered");
        assert_eq!(restoration.replicas, 3);
        let known = &restoration.partitions[0];
        assert_eq!((known.meta.version, known.generation), (SetVersion(3), Generation(5)));
        let nodes: Vec<_> = known.meta.replicas.nodes().map(|node| node.0).collect();
        assert_eq!(nodes, [2, 3, 4]);
    }

    #[test]
    fn a_minority_a_suspect_disk_or_another_disk_restores_nothing() {
        let refused = |change: fn(&mut Vec<NodeInspection>)| {
            let mut inspections = moved();
            change(&mut inspections);
            let error = RestorationError::NoMajority {
                partition: PartitionId(0),
                members: "2,3,4".to_owned(),
                answered: 1,
            };
            assert_eq!(restoration(&inspections), Err(error));
        };
        refused(|inspections| drop(inspections.pop()));
        refused(|inspections| inspections[2].suspect = true);
        refused(|inspections| inspections[2].storage = Some(StorageId(33)));
    }

    #[test]
    fn logs_of_two_clusters_are_not_mixed() {
        let mut inspections = moved();
        inspections[1].replicas[0].creation = CreationId(8);
        let error = RestorationError::Creations {
            partition: PartitionId(0),
            one: NodeId(1),
            other: NodeId(2),
        };
        assert_eq!(restoration(&inspections), Err(error));
    }

    #[test]
    fn partitions_that_nobody_keeps_are_missed() {
        let mut inspections = moved();
        inspections[0].generations.push((PartitionId(1), Generation(1)));
        assert_eq!(restoration(&inspections), Err(RestorationError::Missing(PartitionId(1))));
        assert_eq!(restoration(&[node(1, Vec::new())]), Err(RestorationError::Nothing));
    }

    #[test]
    fn a_cluster_that_is_known_is_not_restored() {
        let mut inspections = moved();
        inspections[0].cluster = Some(Cluster { partitions: 4, replicas: 3 });
        let known = Err(RestorationError::Known { partitions: 4 });
        assert_eq!(restoration(&inspections), known);
    }
}
