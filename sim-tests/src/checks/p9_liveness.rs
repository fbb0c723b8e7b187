//! Promise 9: with a majority of replicas up and connected, and the coordinator too when a server
//! must be replaced, every append ends within a bounded time.
//!
//! After the faults have stopped, everything begun has ended, every partition takes one more
//! transaction, and every client reaches the end of the log.

use super::Evidence;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    evidence.unfinished.clone()
}
