//! Promise 3: all readers see the same log; what any reader was shown never disappears (prefix
//! agreement).
//!
//! Whether two readers were shown the same is seen while the run goes on. At the end, when all is
//! decided and every node is back, each disk's log must be a prefix of the longest, byte for byte;
//! promise 2 says how many must be long enough.

use waltz_core::id::Member;

use super::Evidence;
use crate::replicas::Replicas;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    if !evidence.unfinished.is_empty() {
        // Replicas may still be catching up; promise 9 is broken then.
        return Vec::new();
    }
    let mut broken = Vec::new();
    for (partition, longest) in evidence.longest_logs() {
        for (Member { node, .. }, log) in Replicas::of(&evidence.logs, partition).current() {
            let differs =
                log.records().find(|(id, stored)| longest.get(id.0 as usize) != Some(stored));
            if let Some((id, _)) = differs {
                broken.push(format!("{node} has another {partition} {id} than the longest log"));
            }
        }
    }
    broken
}
