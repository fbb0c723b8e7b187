//! What operators want of nodes.

use crate::id::{NodeId, PartitionId};
use crate::membership::{Directory, Edit, MAX_LOCALITY_NAME, Name, Operation, is_locality_name};
use crate::wire::OperatorRefusal;

/// Wants something of a node, be it dead or alive.
pub(super) fn operate(
    directory: &Directory,
    node: NodeId,
    operation: Operation,
) -> Result<Edit, OperatorRefusal> {
    check_known(directory, node)?;
    Ok(Edit::Operate { node, operation })
}

pub(super) fn prefer(
    directory: &Directory,
    node: NodeId,
    partitions: Vec<PartitionId>,
    preferred: bool,
) -> Result<Edit, OperatorRefusal> {
    let unknown = partitions.iter().find(|one| directory.partition(**one).is_none());
    if let Some(&partition) = unknown {
        return Err(OperatorRefusal::UnknownPartition { partition });
    }
    let operation = match preferred {
        true => Operation::Prefer(partitions),
        false => Operation::Unprefer(partitions),
    };
    operate(directory, node, operation)
}

pub(super) fn prefer_region(
    partition: PartitionId,
    region: Option<String>,
) -> Result<Edit, OperatorRefusal> {
    match region {
        Some(name) if !is_locality_name(&name) => {
            Err(OperatorRefusal::RegionName { most: MAX_LOCALITY_NAME as u32 })
        }
        region => Ok(Edit::Region { partition, region }),
    }
}

/// A node is forgotten when it is dead and nothing depends on what it may keep. Should it come
/// back meanwhile, it registers again.
pub(super) fn forget(directory: &Directory, node: NodeId) -> Result<Vec<Edit>, OperatorRefusal> {
    check_known(directory, node)?;
    if directory.is_live(node) {
        return Err(OperatorRefusal::StillLive { node });
    }
    let naming = directory.partitions().find(|(partition, meta)| {
        let target = directory.target(*partition).map(|target| &target.members);
        let sets = [&meta.replicas].into_iter().chain(target);
        sets.flat_map(|set| set.nodes()).any(|named| named == node)
    });
    if let Some((partition, _)) = naming {
        return Err(OperatorRefusal::StillNamed { node, partition });
    }
    let records = [Name::Operations(node), Name::Locality(node), Name::Storage(node)];
    Ok(records.map(Edit::Delete).to_vec())
}

fn check_known(directory: &Directory, node: NodeId) -> Result<(), OperatorRefusal> {
    match directory.known_nodes().contains(&node) {
        true => Ok(()),
        false => Err(OperatorRefusal::UnknownNode { node }),
    }
}
