//! From what an operator asks, in nodes, to what is recorded, in disks.

mod cluster;
mod nodes;

use std::collections::BTreeSet;

use crate::id::{Member, NodeId, PartitionId, ReplicaSet};
use crate::membership::{Directory, Edit, MAX_REPLICAS, Operation, PartitionMeta, Target};
use crate::wire::{OperatorRefusal, OperatorRequest};

/// What is to be recorded for a request, in steps: the edits of one in any order, and each step once the
/// one before it is recorded. Trimming is none of it: that is for the partition's server alone.
///
/// # Errors
/// When there is no such partition or node, the request asks for what can't be, or it changes
/// nothing.
pub fn edits_of(
    directory: &Directory,
    request: OperatorRequest,
) -> Result<Vec<Vec<Edit>>, OperatorRefusal> {
    let edit = match request {
        OperatorRequest::SetReplicas { partition, nodes } => {
            let meta = meta(directory, partition)?;
            let check = |member| check_wanted(directory, meta, member);
            let members = members(directory, &nodes, check)?;
            set_replicas(directory, meta, partition, members)?
        }
        OperatorRequest::Recover { partition, survivors, version } => {
            let meta = meta(directory, partition)?;
            if meta.version > version {
                return Err(OperatorRefusal::Outdated { newest: meta.version });
            }
            let check = |member| check_survivor(directory, meta, member);
            let members = members(directory, &survivors, check)?;
            let target = Target { members, force_above: Some(version) };
            Edit::Target { partition, target }
        }
        OperatorRequest::AdvanceConsumer { partition, consumer, mark } => {
            meta(directory, partition)?;
            Edit::AdvanceConsumer { partition, consumer, mark }
        }
        OperatorRequest::RemoveConsumer { partition, consumer } => {
            meta(directory, partition)?;
            Edit::RemoveConsumer { partition, consumer }
        }
        OperatorRequest::Trim { partition, .. } => {
            meta(directory, partition)?;
            return Err(OperatorRefusal::NotOwner);
        }
        OperatorRequest::PreferRegion { partition, region } => {
            meta(directory, partition)?;
            nodes::prefer_region(partition, region)?
        }
        OperatorRequest::DrainServer { node, drained } => {
            nodes::operate(directory, node, Operation::DrainServer(drained))?
        }
        OperatorRequest::DrainStorage { node, drained } => {
            nodes::operate(directory, node, Operation::DrainStorage(drained))?
        }
        OperatorRequest::Prefer { node, partitions, preferred } => {
            nodes::prefer(directory, node, partitions, preferred)?
        }
        OperatorRequest::ForgetNode { node } => return Ok(vec![nodes::forget(directory, node)?]),
        OperatorRequest::AddPartitions { partitions } => {
            cluster::add_partitions(directory, partitions)?
        }
        OperatorRequest::CreateCluster { partitions, replicas } => {
            cluster::create(directory, partitions, replicas)?
        }
        OperatorRequest::RestoreCluster { replicas, partitions } => {
            return cluster::restore(directory, replicas, partitions);
        }
        OperatorRequest::SetLoads { loads } => {
            for (partition, _) in &loads {
                meta(directory, *partition)?;
            }
            Edit::Loads(loads.into_iter().collect())
        }
        OperatorRequest::DeleteCluster => return cluster::delete(directory),
    };
    Ok(vec![vec![edit]])
}

fn meta(directory: &Directory, partition: PartitionId) -> Result<&PartitionMeta, OperatorRefusal> {
    directory.partition(partition).ok_or(OperatorRefusal::UnknownPartition { partition })
}

fn set_replicas(
    directory: &Directory,
    meta: &PartitionMeta,
    partition: PartitionId,
    members: ReplicaSet,
) -> Result<Edit, OperatorRefusal> {
    let sorted = |set: &ReplicaSet| set.0.iter().copied().collect::<BTreeSet<_>>();
    let wanted = sorted(&members);
    let is_wanted = directory
        .target(partition)
        .is_none_or(|target| target.force_above.is_none() && sorted(&target.members) == wanted);
    if is_wanted && sorted(&meta.replicas) == wanted {
        return Err(OperatorRefusal::Unchanged);
    }
    let target = Target { members, force_above: None };
    Ok(Edit::Target { partition, target })
}

/// The nodes with the disks they have now, each of which has to pass the check.
fn members(
    directory: &Directory,
    nodes: &[NodeId],
    check: impl Fn(Member) -> Result<(), OperatorRefusal>,
) -> Result<ReplicaSet, OperatorRefusal> {
    check_names(nodes)?;
    let member = |&node: &NodeId| {
        let record = directory.storage(node).ok_or_else(|| no_disk(directory, node))?;
        let member = Member { node, storage: record.storage };
        check(member).map(|()| member)
    };
    Ok(ReplicaSet(nodes.iter().map(member).collect::<Result<_, _>>()?))
}

/// A replica stays as it is; a new one needs a node that runs.
fn check_wanted(
    directory: &Directory,
    meta: &PartitionMeta,
    member: Member,
) -> Result<(), OperatorRefusal> {
    match meta.replicas.contains(member) {
        true => Ok(()),
        false => check_live(directory, member.node),
    }
}

/// A survivor is a known replica, on the disk that it was on, and runs.
fn check_survivor(
    directory: &Directory,
    meta: &PartitionMeta,
    member: Member,
) -> Result<(), OperatorRefusal> {
    match meta.replicas.contains(member) {
        true => check_live(directory, member.node),
        false => Err(OperatorRefusal::NoReplica { node: member.node }),
    }
}

fn check_live(directory: &Directory, node: NodeId) -> Result<(), OperatorRefusal> {
    match directory.is_live(node) {
        true => Ok(()),
        false => Err(OperatorRefusal::NotLive { node }),
    }
}

fn check_names(nodes: &[NodeId]) -> Result<(), OperatorRefusal> {
    if nodes.is_empty() {
        return Err(OperatorRefusal::NoReplicas);
    }
    if nodes.len() > MAX_REPLICAS as usize {
        let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        return Err(OperatorRefusal::TooManyReplicas { count, most: MAX_REPLICAS });
    }
    let mut named = BTreeSet::new();
    match nodes.iter().find(|node| !named.insert(**node)) {
        Some(&node) => Err(OperatorRefusal::Repeated { node }),
        None => Ok(()),
    }
}

fn no_disk(directory: &Directory, node: NodeId) -> OperatorRefusal {
    match directory.is_live(node) || directory.address(node).is_some() {
        true => OperatorRefusal::NoDisk { node },
        false => OperatorRefusal::UnknownNode { node },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{CreationId, SetVersion, StorageId};
    use crate::membership::{NodeRecord, StorageRecord};

    const PARTITION: PartitionId = PartitionId(0);

    fn edit_of(directory: &Directory, request: OperatorRequest) -> Result<Edit, OperatorRefusal> {
        let edits = edits_of(directory, request)?.concat();
        assert_eq!(edits.len(), 1, "{edits:?}");
        Ok(edits[0].clone())
    }

    fn member(node: u32, storage: u64) -> Member {
        Member { node: NodeId(node), storage: StorageId(storage) }
    }

    /// Nodes 1 to 4 run with disks 1 to 4, node 5 is down, node 6 has no disk. The replicas are on
    /// 1, 2, 3 and 5, and that of node 3 was on a disk that is gone.
    fn directory() -> Directory {
        let mut directory = Directory::default();
        for node in [1, 2, 3, 4, 6] {
            let storage = (node < 6).then_some(StorageId(node.into()));
            let preferred = BTreeSet::new();
            let record = NodeRecord { address: None, storage, server: true, preferred };
            directory.nodes.insert(NodeId(node), record);
        }
        for node in 1..=5 {
            let storage = StorageId(node.into());
            let record = StorageRecord { storage, address: None, used: true };
            directory.storages.insert(NodeId(node), record);
        }
        let replicas = ReplicaSet(vec![member(1, 1), member(2, 2), member(3, 33), member(5, 5)]);
        let meta = PartitionMeta { creation: CreationId(1), version: SetVersion(4), replicas };
        directory.partitions.insert(PARTITION, meta);
        directory
    }

    fn nodes(nodes: &[u32]) -> Vec<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    fn set(wanted: &[u32]) -> Result<Edit, OperatorRefusal> {
        let request = OperatorRequest::SetReplicas { partition: PARTITION, nodes: nodes(wanted) };
        edit_of(&directory(), request)
    }

    fn recover(survivors: &[u32], version: u64) -> Result<Edit, OperatorRefusal> {
        let (survivors, version) = (nodes(survivors), SetVersion(version));
        let request = OperatorRequest::Recover { partition: PARTITION, survivors, version };
        edit_of(&directory(), request)
    }

    fn target(
        members: &[Member],
        force_above: Option<SetVersion>,
    ) -> Result<Edit, OperatorRefusal> {
        let target = Target { members: ReplicaSet(members.to_vec()), force_above };
        Ok(Edit::Target { partition: PARTITION, target })
    }

    #[test]
    fn nodes_stand_for_the_disks_they_have_now() {
        let replaced = [member(1, 1), member(2, 2), member(3, 3), member(5, 5)];
        assert_eq!(set(&[1, 2, 3, 5]), target(&replaced, None), "node 3 has another disk");
        assert_eq!(set(&[4]), target(&[member(4, 4)], None));
    }

    #[test]
    fn what_can_not_be_is_refused_by_name() {
        let node = NodeId;
        let cases = [
            (set(&[]), OperatorRefusal::NoReplicas),
            (set(&[1, 2, 1]), OperatorRefusal::Repeated { node: node(1) }),
            (set(&[1, 9]), OperatorRefusal::UnknownNode { node: node(9) }),
            (set(&[1, 6]), OperatorRefusal::NoDisk { node: node(6) }),
            (
                set(&[1, 2, 3, 4, 5, 6, 7, 8]),
                OperatorRefusal::TooManyReplicas { count: 8, most: 7 },
            ),
            (recover(&[3], 4), OperatorRefusal::NoReplica { node: node(3) }),
            (recover(&[4], 4), OperatorRefusal::NoReplica { node: node(4) }),
            (recover(&[5], 4), OperatorRefusal::NotLive { node: node(5) }),
            (recover(&[1], 3), OperatorRefusal::Outdated { newest: SetVersion(4) }),
        ];
        for (result, refusal) in cases {
            assert_eq!(result, Err(refusal));
        }
        let request = OperatorRequest::SetReplicas { partition: PartitionId(7), nodes: vec![] };
        let unknown = OperatorRefusal::UnknownPartition { partition: PartitionId(7) };
        assert_eq!(edit_of(&directory(), request), Err(unknown));
    }

    #[test]
    fn a_new_replica_needs_a_node_that_runs_and_an_old_one_may_stay() {
        assert_eq!(set(&[1, 5]), target(&[member(1, 1), member(5, 5)], None));
        let mut directory = directory();
        directory.nodes.remove(&NodeId(4));
        let request = OperatorRequest::SetReplicas { partition: PARTITION, nodes: nodes(&[1, 4]) };
        let down = OperatorRefusal::NotLive { node: NodeId(4) };
        assert_eq!(edit_of(&directory, request), Err(down));
    }

    #[test]
    fn what_is_so_already_is_not_asked_for_again() {
        let mut directory = directory();
        let set =
            |nodes: &[u32]| ReplicaSet(nodes.iter().map(|n| member(*n, (*n).into())).collect());
        let meta = directory.partitions.get_mut(&PARTITION).expect("it is there");
        meta.replicas = set(&[1, 2]);
        let request = OperatorRequest::SetReplicas { partition: PARTITION, nodes: nodes(&[2, 1]) };
        let unchanged = Err(OperatorRefusal::Unchanged);
        assert_eq!(edit_of(&directory, request.clone()), unchanged);
        // Another target is being pursued: going back is a change.
        let other = Target { members: set(&[1, 4]), force_above: None };
        directory.targets.insert(PARTITION, other);
        let back = Target { members: set(&[2, 1]), force_above: None };
        let edit = Edit::Target { partition: PARTITION, target: back };
        assert_eq!(edit_of(&directory, request), Ok(edit));
    }

    #[test]
    fn a_recovery_names_the_replicas_that_are_left() {
        let forced = Some(SetVersion(4));
        assert_eq!(recover(&[1, 2], 4), target(&[member(1, 1), member(2, 2)], forced));
    }
}
