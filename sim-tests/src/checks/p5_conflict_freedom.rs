//! Promise 5: a committed transaction conflicts with nothing between the high-water mark it was
//! computed at and its own id.
//!
//! Judged from the log alone: each record carries the mark and the locks.

use std::collections::BTreeMap;

use waltz_core::id::TransactionId;
use waltz_core::lock::{LockId, LockKind};

use super::Evidence;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    let mut broken = Vec::new();
    for (partition, log) in evidence.longest_logs() {
        let mut changed: BTreeMap<LockId, TransactionId> = BTreeMap::new();
        for stored in log {
            let record = stored.record();
            for (kind, lock) in record.locks() {
                let latest = changed.get(&lock).filter(|_| kind != LockKind::Append);
                if let Some(latest) = latest.filter(|id| !record.computed_at().includes(**id)) {
                    broken.push(format!(
                        "{partition} {} was computed at {} and depends on lock {lock}, which \
                         {latest} changed",
                        record.id(),
                        record.computed_at()
                    ));
                }
            }
            let changes = record.locks().filter(|(kind, _)| *kind != LockKind::Read);
            changed.extend(changes.map(|(_, lock)| (lock, record.id())));
        }
    }
    broken
}
