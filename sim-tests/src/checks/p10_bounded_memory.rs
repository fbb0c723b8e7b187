//! Promise 10: memory is bounded by configuration: per connection, per partition, per cache.
//!
//! What can be seen from outside: the bytes that one side of a connection has sent and the other
//! has not taken in, and the bytes that a node has given to its journal and that are not durable.
//! In plans with small windows both stay within what the windows allow.

use super::Evidence;

use crate::peaks::Peaks;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    let (found, bound) = (&evidence.peaks, Peaks::bound(&evidence.plan));
    let mut broken = Vec::new();
    if found.connection_bytes > bound.connection_bytes {
        let (bytes, bound) = (found.connection_bytes, bound.connection_bytes);
        let way = found.connection.as_ref().map(|(from, to)| format!(" from {from} to {to}"));
        let way = way.unwrap_or_default();
        broken.push(format!("{bytes} bytes were under way{way}; {bound} may be"));
    }
    if found.journal_bytes > bound.journal_bytes {
        let (bytes, bound) = (found.journal_bytes, bound.journal_bytes);
        broken.push(format!("{bytes} bytes of a journal were not durable; {bound} may be"));
    }
    broken
}
