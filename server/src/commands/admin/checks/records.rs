//! What nodes keep on their disks and know of the cluster's record, beside what servers say.

use std::collections::{BTreeMap, BTreeSet};

use waltz_client::{ClientError, ClusterView, NodeId, NodeInspection};
use waltz_core::id::Member;

use super::Check;

/// What each live node told of itself.
pub type Inspections = BTreeMap<NodeId, Result<NodeInspection, ClientError>>;

fn answered(inspections: &Inspections) -> impl Iterator<Item = &NodeInspection> {
    inspections.values().filter_map(|answer| answer.as_ref().ok())
}

/// Every live node tells what it keeps.
pub(super) fn told(inspections: &Inspections) -> Check {
    let mut check = Check::new("nodes tell what they keep");
    for (node, answer) in inspections {
        if let Err(error) = answer {
            check.warn(format!("node {}: {error}", node.0));
        }
    }
    check
}

/// All nodes know the same figures of the cluster, and as many partitions as these say.
pub(super) fn figures(view: &ClusterView, inspections: &Inspections) -> Check {
    let mut check = Check::new("figures agree");
    for inspection in answered(inspections) {
        let node = inspection.node.0;
        match inspection.cluster {
            None => check.fail(format!("node {node} knows no cluster")),
            Some(cluster) if cluster.partitions as usize != view.partitions.len() => {
                check.fail(format!(
                    "node {node} knows figures of {} partitions, and there are {}",
                    cluster.partitions,
                    view.partitions.len()
                ));
            }
            Some(_) => {}
        }
    }
    check
}

/// No journal may have lost what was acknowledged.
pub(super) fn journals(inspections: &Inspections) -> Check {
    let mut check = Check::new("journals are sound");
    for inspection in answered(inspections).filter(|inspection| inspection.suspect) {
        check.fail(format!(
            "node {}: its journal lost entries; give it an empty one and replace it",
            inspection.node.0
        ));
    }
    check
}

/// Each member of a recorded set keeps the replica, of the same creation as the others.
pub(super) fn replicas(view: &ClusterView, inspections: &Inspections) -> Check {
    let mut check = Check::new("members keep their replicas");
    for view in &view.partitions {
        let partition = view.partition.0;
        let mut creations = BTreeSet::new();
        for inspection in answered(inspections) {
            let Some(storage) = inspection.storage else { continue };
            let node = inspection.node;
            if !view.replicas.contains(Member { node, storage }) {
                continue;
            }
            let mut kept = inspection.replicas.iter();
            match kept.find(|replica| replica.partition == view.partition) {
                Some(replica) => drop(creations.insert(replica.creation)),
                None => check.fail(format!("partition {partition}: node {} lacks it", node.0)),
            }
        }
        if creations.len() > 1 {
            check.fail(format!("partition {partition}: its replicas are of different creations"));
        }
    }
    check
}

/// Replica sets are in as many zones as there are, and nothing is left on drained nodes.
pub(super) fn placement(view: &ClusterView, inspections: &Inspections) -> Check {
    let mut check = Check::new("replicas are spread");
    let Some(inspection) = answered(inspections).next() else { return check };
    let nodes = || inspection.nodes.iter().filter(|node| node.storage.is_some());
    let drained = |node: NodeId| nodes().any(|it| it.node == node && it.operations.storage_drained);
    let zone = |node: NodeId| {
        let found = nodes().find(|it| it.node == node).map(|it| &it.locality);
        found.map(|locality| (locality.region.as_deref(), locality.zone.as_deref()))
    };
    let usable = nodes().filter(|node| node.live && !node.operations.storage_drained);
    let zones: BTreeSet<_> = usable.map(|node| zone(node.node)).collect();
    for view in &view.partitions {
        let (partition, count) = (view.partition.0, view.replicas.0.len());
        let held: BTreeSet<_> = view.replicas.nodes().map(zone).collect();
        let possible = zones.len().min(count);
        if held.len() < possible {
            check.warn(format!("partition {partition}: in {} zones of {possible}", held.len()));
        }
        for node in view.replicas.nodes().filter(|node| drained(*node)) {
            check.warn(format!("partition {partition}: on node {}, which is drained", node.0));
        }
    }
    check
}
