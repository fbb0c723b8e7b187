//! Replicas: a quorum and then all of them have joined, on the disks they were on, whole and near.

use waltz_client::{PartitionStatus, ReplicaStatus};

use super::Check;
use crate::commands::survey::Survey;

fn has_joined(replica: &ReplicaStatus) -> bool {
    // The word may be followed by the version of the protocol that an older node speaks.
    replica.counts && replica.state.starts_with("joined")
}

fn replicas(survey: &Survey) -> impl Iterator<Item = (&PartitionStatus, &ReplicaStatus)> {
    let served = survey.served().into_values();
    served.flat_map(|status| status.replicas.iter().map(move |replica| (status, replica)))
}

/// A majority of each partition's replicas has joined its session.
pub(super) fn quorum(survey: &Survey) -> Check {
    let mut check = Check::new("quorums have joined");
    for status in survey.served().values() {
        let (all, joined) =
            (status.members.0.len(), status.replicas.iter().filter(|r| has_joined(r)).count());
        if joined <= all / 2 {
            let partition = status.partition.0;
            check.fail(format!("partition {partition}: {joined} of {all} replicas have joined"));
        }
    }
    check
}

/// Every replica of each set has joined: the cluster can lose as many as it was made for.
pub(super) fn joined(survey: &Survey) -> Check {
    let mut check = Check::new("all replicas have joined");
    for (status, replica) in replicas(survey) {
        let is_member = status.members.nodes().any(|node| node == replica.node);
        if is_member && !has_joined(replica) {
            check.fail(format!(
                "partition {}: the replica on node {} is {}",
                status.partition.0, replica.node.0, replica.state
            ));
        }
    }
    check
}

/// No node has come back with another disk than its replicas were on, and no log is in doubt.
pub(super) fn disks(survey: &Survey) -> Check {
    let mut check = Check::new("disks keep what they had");
    for (status, replica) in replicas(survey) {
        let (partition, node) = (status.partition.0, replica.node.0);
        if replica.wiped {
            check.fail(format!(
                "partition {partition}: node {node} has come back with another disk; replace it"
            ));
        }
        if replica.state.starts_with("suspect") {
            check.fail(format!(
                "partition {partition}: node {node} may have lost what it acknowledged; replace it"
            ));
        }
    }
    check
}

/// Every replica can read all of its log.
pub(super) fn damage(survey: &Survey) -> Check {
    let mut check = Check::new("nothing is damaged");
    for (status, replica) in replicas(survey).filter(|(_, replica)| replica.damaged > 0) {
        check.fail(format!(
            "partition {}: node {} can't read {} transactions; they are being repaired",
            status.partition.0, replica.node.0, replica.damaged
        ));
    }
    check
}

/// No joined replica lacks more than this.
pub(super) fn lag(survey: &Survey, most: u64) -> Check {
    let mut check = Check::new("replicas keep up");
    for (status, replica) in replicas(survey).filter(|(_, replica)| has_joined(replica)) {
        let lag = status.committed.count().saturating_sub(replica.last.count());
        if lag > most {
            check.fail(format!(
                "partition {}: node {} is {lag} transactions behind",
                status.partition.0, replica.node.0
            ));
        }
    }
    check
}

/// No replica's node speaks an older version of the protocol than its partition's server.
pub(super) fn versions(survey: &Survey) -> Check {
    let mut check = Check::new("one protocol version");
    for (status, replica) in replicas(survey) {
        if let Some((_, version)) = replica.state.split_once(", protocol ") {
            check.warn(format!(
                "partition {}: node {} speaks version {version}; upgrade it",
                status.partition.0, replica.node.0
            ));
        }
    }
    check
}
