//! Promise 7: a fenced session commits nothing that its successor's chosen prefix lacks.
//!
//! So in every log sessions only ascend, and whatever any session reported committed is in the
//! log of its last successor: promise 1 compares each shown record with the final log.

use waltz_core::id::Member;

use super::Evidence;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    let mut broken = Vec::new();
    for (Member { node, .. }, logs) in &evidence.logs {
        for (partition, log) in logs {
            let sessions = || log.records().map(|(id, stored)| (id, stored.session));
            let mut pairs = sessions().zip(sessions().skip(1));
            if let Some(((_, higher), (id, lower))) = pairs.find(|(one, next)| one.1 > next.1) {
                broken.push(format!(
                    "{node} {partition}: session {lower} wrote after {higher}, at {id}"
                ));
            }
        }
    }
    broken
}
