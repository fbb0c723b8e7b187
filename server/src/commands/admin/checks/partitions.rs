//! Partitions: they have owners, are open, and their replica sets are those that are recorded.

use super::Check;
use crate::commands::survey::Survey;

/// There are partitions.
pub(super) fn made(survey: &Survey) -> Check {
    let mut check = Check::new("cluster is made");
    if survey.view.partitions.is_empty() {
        check.fail("there are no partitions; the cluster waits for its storage nodes".to_owned());
    }
    check
}

/// The owner of each partition says that it is, and nobody else does.
pub(super) fn served(survey: &Survey) -> Check {
    let mut check = Check::new("owners serve");
    for view in &survey.view.partitions {
        let partition = view.partition.0;
        let serving = survey.statuses().filter(|status| {
            status.partitions.iter().any(|served| served.partition == view.partition)
        });
        let serving: Vec<_> = serving.map(|status| status.node).collect();
        let Some(owner) = view.owner else {
            check.fail(format!("partition {partition} has no owner"));
            continue;
        };
        if !serving.contains(&owner) {
            check.fail(format!("partition {partition}: node {} does not serve it", owner.0));
        }
        for other in serving.into_iter().filter(|node| *node != owner) {
            check.warn(format!(
                "partition {partition}: node {} serves it still, and it is node {}'s",
                other.0, owner.0
            ));
        }
    }
    check
}

/// Each partition takes appends.
pub(super) fn open(survey: &Survey) -> Check {
    let mut check = Check::new("partitions are open");
    let served = survey.served();
    for view in &survey.view.partitions {
        if !served.get(&view.partition).is_some_and(|status| status.open) {
            check.fail(format!("partition {} is not open", view.partition.0));
        }
    }
    check
}

/// Each partition's replica set is the one that its server knows.
pub(super) fn sets(survey: &Survey) -> Check {
    let mut check = Check::new("replica sets are recorded");
    let served = survey.served();
    for view in &survey.view.partitions {
        let Some(status) = served.get(&view.partition) else { continue };
        let (partition, known, recorded) = (view.partition.0, status.version, view.version);
        let is_same = status.members.0.len() == view.replicas.0.len()
            && status.members.0.iter().all(|member| view.replicas.contains(*member));
        if known > recorded {
            check.warn(format!(
                "partition {partition}: its server has set v{}, recorded is v{}",
                known.0, recorded.0
            ));
        } else if known < recorded || !is_same {
            check.fail(format!(
                "partition {partition}: its server has another set v{} than the recorded v{}",
                known.0, recorded.0
            ));
        }
    }
    check
}

/// No replica set is on its way to another one.
pub(super) fn targets(survey: &Survey) -> Check {
    let mut check = Check::new("no move is pending");
    for status in survey.served().values() {
        let Some(target) = &status.target else { continue };
        let is_reached = target.0.len() == status.members.0.len()
            && target.0.iter().all(|member| status.members.contains(*member));
        if !is_reached {
            let nodes: Vec<_> = target.nodes().map(|node| node.0.to_string()).collect();
            let (partition, nodes) = (status.partition.0, nodes.join(","));
            check.warn(format!("partition {partition} is to have replicas on nodes {nodes}"));
        }
    }
    check
}
