//! Where what is trimmed is archived before, no record is out of a reader's reach.
//!
//! The archive is never asked for what it does not have. Whoever comes last begins with the first
//! record and, once the faults have stopped, has been shown each one that was trimmed. That it was
//! shown the rest is promise 9, and that all of it is the log's promise 1.

use waltz_core::id::{PartitionId, TransactionId};

use super::Evidence;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    let Some(used) = evidence.archive else { return Vec::new() };
    let mut broken = Vec::new();
    if used.lacking > 0 {
        broken.push(format!("{} reads were of what is not there", used.lacking));
    }
    if !evidence.unfinished.is_empty() {
        // The last one may not have come; promise 9 is broken then.
        return broken;
    }
    for partition in (0..evidence.plan.shape.partitions).map(PartitionId) {
        let shown = evidence.late.get(&partition);
        let dense = shown.into_iter().flatten().zip((0..).map(TransactionId));
        let count = dense.take_while(|(id, expected)| *id == expected).count() as u64;
        let trimmed = evidence.start(partition);
        if count < trimmed.count() {
            broken.push(format!(
                "who came last was shown {count} records of {partition}, trimmed up to {trimmed}"
            ));
        }
    }
    broken
}
