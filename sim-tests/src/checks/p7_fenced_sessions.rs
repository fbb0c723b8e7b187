//! Promise 7: a fenced session commits nothing that its successor's chosen prefix lacks.
//!
//! So in every log sessions only ascend, and whatever any session reported committed is in the
//! log of its last successor: promise 1 compares each shown record with the final log.

use super::Evidence;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    let mut broken = Vec::new();
    for (host, logs) in &evidence.logs {
        for (partition, log) in logs {
            let sinks = log.windows(2).position(|pair| pair[0].session > pair[1].session);
            if let Some(id) = sinks {
                let (higher, lower) = (log[id].session, log[id + 1].session);
                broken.push(format!(
                    "{host} {partition}: session {lower} wrote after {higher}, at {}",
                    id + 1
                ));
            }
        }
    }
    broken
}
