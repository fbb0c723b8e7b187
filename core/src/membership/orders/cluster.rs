//! A cluster as operators make it, enlarge it, take it away, and give it back to a coordinator that
//! lost it.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{Epoch, Generation, NodeId, PartitionId};
use crate::membership::{
    Assignment, Cluster, Directory, Edit, Fact, MAX_PARTITIONS, MAX_REPLICAS, Name, assign,
};
use crate::wire::{KnownPartition, OperatorRefusal};

/// How far generations and epochs go on above the highest that is remembered: more than there can
/// have been and be forgotten since.
const RESTORED: u64 = 1 << 32;

pub(super) fn add_partitions(
    directory: &Directory,
    partitions: u32,
) -> Result<Edit, OperatorRefusal> {
    let now = directory.cluster().ok_or(OperatorRefusal::NoCluster)?.partitions;
    check_partitions(partitions)?;
    if partitions <= now {
        return Err(OperatorRefusal::NotMorePartitions { count: partitions, now });
    }
    Ok(Edit::AddPartitions { partitions })
}

pub(super) fn create(
    directory: &Directory,
    partitions: u32,
    replicas: u32,
) -> Result<Edit, OperatorRefusal> {
    check_absent(directory)?;
    check_partitions(partitions)?;
    check_replicas(replicas)?;
    if let Some((node, _)) = directory.storages.iter().find(|(_, record)| record.used) {
        return Err(OperatorRefusal::DiskInUse { node: *node });
    }
    let registered = directory.storages.keys().filter(|node| directory.is_live(**node)).count();
    let registered = u32::try_from(registered).unwrap_or(u32::MAX);
    if registered < replicas {
        return Err(OperatorRefusal::TooFewStorages { registered, needed: replicas });
    }
    Ok(Edit::CreateCluster(Cluster { partitions, replicas }))
}

/// The cluster's figures come last: until then nothing is assigned or created, and an operator who
/// was interrupted can begin again.
pub(super) fn restore(
    directory: &Directory,
    replicas: u32,
    mut known: Vec<KnownPartition>,
) -> Result<Vec<Vec<Edit>>, OperatorRefusal> {
    check_absent(directory)?;
    check_replicas(replicas)?;
    let partitions = u32::try_from(known.len()).unwrap_or(u32::MAX);
    check_partitions(partitions)?;
    let servers: BTreeSet<NodeId> =
        directory.nodes().filter(|(_, record)| record.server).map(|(node, _)| node).collect();
    if servers.is_empty() {
        return Err(OperatorRefusal::NoServer);
    }
    known.sort_by_key(|known| known.partition);
    let ids = (0..partitions).map(PartitionId);
    let assigned =
        assign(&servers, &BTreeMap::new(), &BTreeMap::new(), &BTreeMap::new(), ids.clone());
    let mut edits = Vec::with_capacity(3 * known.len());
    for (partition, known) in ids.zip(known) {
        let number = known.generation.0.checked_add(RESTORED);
        let is_whole = known.partition == partition && known.meta.replicas.is_sound();
        let Some(number) = number.filter(|_| is_whole) else {
            return Err(OperatorRefusal::Incomplete { partition });
        };
        let server = assigned[&partition];
        let assignment = Assignment { server, generation: Generation(number) };
        edits.push(Edit::Restore(Fact::Epoch(partition, Epoch(number))));
        edits.push(Edit::Restore(Fact::Partition(partition, known.meta)));
        edits.push(Edit::Restore(Fact::Assignment(partition, assignment)));
    }
    Ok(vec![edits, vec![Edit::CreateCluster(Cluster { partitions, replicas })]])
}

/// The cluster's figures go first: without them nothing is created or assigned again, and an operator
/// who was interrupted can go on. Epochs stay: they are never handed out twice.
pub(super) fn delete(directory: &Directory) -> Result<Vec<Vec<Edit>>, OperatorRefusal> {
    let cluster = directory.cluster().map(|_| Name::Cluster);
    let rest: Vec<_> = (directory.targets.keys().map(|one| Name::Target(*one)))
        .chain(directory.consumers.keys().map(|one| Name::Consumers(*one)))
        .chain(directory.regions.keys().map(|one| Name::Region(*one)))
        .chain(directory.operations.keys().map(|one| Name::Operations(*one)))
        .chain((!directory.loads.is_empty()).then_some(Name::Loads))
        .chain(directory.assignments.keys().map(|one| Name::Assignment(*one)))
        .chain(directory.partitions.keys().map(|one| Name::Partition(*one)))
        .collect();
    let steps = [cluster.into_iter().collect(), rest];
    let steps = steps.into_iter().filter(|names| !names.is_empty());
    let steps: Vec<Vec<_>> =
        steps.map(|names| names.into_iter().map(Edit::Delete).collect()).collect();
    if steps.is_empty() { Err(OperatorRefusal::NoCluster) } else { Ok(steps) }
}

fn check_absent(directory: &Directory) -> Result<(), OperatorRefusal> {
    match directory.cluster() {
        Some(Cluster { partitions, .. }) => Err(OperatorRefusal::ClusterExists { partitions }),
        None => Ok(()),
    }
}

fn check_partitions(count: u32) -> Result<(), OperatorRefusal> {
    match (1..=MAX_PARTITIONS).contains(&count) {
        true => Ok(()),
        false => Err(OperatorRefusal::PartitionCount { count, most: MAX_PARTITIONS }),
    }
}

fn check_replicas(count: u32) -> Result<(), OperatorRefusal> {
    match count {
        0 => Err(OperatorRefusal::NoReplicas),
        1..=MAX_REPLICAS => Ok(()),
        _ => Err(OperatorRefusal::TooManyReplicas { count, most: MAX_REPLICAS }),
    }
}
