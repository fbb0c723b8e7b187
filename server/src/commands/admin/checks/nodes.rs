//! Nodes: they answer, reach the coordinator, and know the same cluster.

use std::collections::BTreeSet;

use super::Check;
use crate::commands::survey::Survey;

/// Every node is up and answers.
pub(super) fn answer(survey: &Survey) -> Check {
    let mut check = Check::new("nodes answer");
    let partitions = || survey.view.partitions.iter();
    let keeping: BTreeSet<_> = partitions().flat_map(|view| view.replicas.nodes()).collect();
    for node in &survey.view.nodes {
        let number = node.node.0;
        match (node.live, survey.answers.get(&node.node)) {
            (true, Some(Ok(_))) => {}
            (true, Some(Err(error))) => check.fail(format!("node {number}: {error}")),
            (true, None) => check.fail(format!("node {number} was not asked")),
            (false, _) if keeping.contains(&node.node) => {
                check.fail(format!("node {number} is down and has replicas"));
            }
            (false, _) => check.warn(format!("node {number} is down and has no replicas")),
        }
    }
    check
}

/// Every node that answers reaches the coordinator.
pub(super) fn coordinator(survey: &Survey) -> Check {
    let mut check = Check::new("coordinator reached");
    for status in survey.statuses().filter(|status| !status.coordinator) {
        check.fail(format!("node {} does not reach the coordinator", status.node.0));
    }
    check
}

/// All nodes that answer know the same nodes, partitions, owners and replica sets.
pub(super) fn agreement(survey: &Survey) -> Check {
    let mut check = Check::new("nodes agree");
    let view = &survey.view;
    for status in survey.statuses() {
        let (node, seen) = (status.node.0, &status.cluster);
        if seen.partitions.len() != view.partitions.len() {
            check.fail(format!(
                "node {node} knows {} partitions, another {}",
                seen.partitions.len(),
                view.partitions.len()
            ));
            continue;
        }
        let pairs = seen.partitions.iter().zip(&view.partitions);
        for (one, other) in pairs.filter(|(one, other)| one != other) {
            check.fail(format!(
                "partition {}: node {node} knows generation {}, set v{}, another {}, v{}",
                other.partition.0,
                one.generation.0,
                one.version.0,
                other.generation.0,
                other.version.0
            ));
        }
        if seen.nodes != view.nodes {
            check.fail(format!("node {node} knows other nodes, disks or leases than another"));
        }
    }
    check
}
