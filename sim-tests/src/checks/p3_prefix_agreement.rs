//! Promise 3: all readers see the same log; what any reader was shown never disappears (prefix
//! agreement).
//!
//! Whether two readers were shown the same is seen while the run goes on. At the end, when all is
//! decided and every node is back, each disk's log must be a prefix of the longest, byte for byte;
//! promise 2 says how many must be long enough.

use super::Evidence;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    if !evidence.unfinished.is_empty() {
        // Replicas may still be catching up; promise 9 is broken then.
        return Vec::new();
    }
    let mut broken = Vec::new();
    for (partition, longest) in evidence.longest_logs() {
        for (host, logs) in &evidence.logs {
            let log = logs.get(&partition).map(Vec::as_slice).unwrap_or_default();
            let differs = log.iter().zip(longest).position(|(one, other)| one != other);
            if let Some(id) = differs {
                broken.push(format!("{host} has another {partition} {id} than the longest log"));
            }
        }
    }
    broken
}
