//! Promise 6: no false conflict inside the lock window, across failovers too.
//!
//! A conflict that was told as exact names a record of the final log that changed that very lock,
//! after the mark that the attempt was computed at. One that was told as a precaution is possible
//! only where the lock table's window does not reach: its floor can be no higher than that of the
//! whole log, with what may have been in flight and was cut since, or than where a trimmed log
//! starts.

use std::collections::BTreeMap;

use waltz_client::{LockKind, Mark, TransactionId};
use waltz_core::locks::LockWindow;

use super::Evidence;
use crate::disk_log::Stored;
use crate::operations::Met;

/// More records than clients have under way in one partition.
const IN_FLIGHT: u64 = 32;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    if !evidence.unfinished.is_empty() {
        // What the log lacks may still come; promise 9 is broken then.
        return Vec::new();
    }
    let logs = evidence.longest_logs();
    let mut floors = BTreeMap::new();
    let false_ones = evidence.clients.met.iter().filter_map(|met| {
        let log = logs.get(&met.partition).copied().unwrap_or_default();
        let floor = *floors.entry(met.partition).or_insert_with(|| {
            let window = highest_floor(log, evidence.plan.locks);
            window.max(evidence.start(met.partition))
        });
        judge(met, log, floor)
    });
    false_ones.collect()
}

/// What is wrong with a conflict, if anything.
fn judge(met: &Met, log: &[Stored], floor: Mark) -> Option<String> {
    let Met { partition, computed_at, conflict } = met;
    if computed_at.includes(conflict.id) {
        return Some(format!("{partition}: {conflict}, which {computed_at} includes"));
    }
    if !conflict.exact {
        let below = floor.includes(conflict.id);
        return (!below)
            .then(|| format!("{partition}: {conflict}, and the window reaches down to {floor}"));
    }
    let named = log.get(conflict.id.0 as usize).map(Stored::record);
    let changed = named.is_some_and(|record| {
        record.locks().any(|(kind, lock)| lock == conflict.lock && kind != LockKind::Read)
    });
    (!changed).then(|| format!("{partition}: {conflict}, which is not so"))
}

/// The highest mark below which a lock table of this log may know nothing.
fn highest_floor(log: &[Stored], window: LockWindow) -> Mark {
    let last = log.len() as u64 + IN_FLIGHT;
    let by_records = last.saturating_sub(window.records);
    // A record in flight changes a few locks; the table forgets as many older changes.
    let mut changes = IN_FLIGHT as usize * LOCKS_IN_FLIGHT;
    let mut by_locks = 0;
    for (id, stored) in log.iter().enumerate().rev() {
        changes += stored.record().locks().filter(|(kind, _)| *kind != LockKind::Read).count();
        if changes > window.locks {
            by_locks = id as u64 + 1;
            break;
        }
    }
    Mark::before(TransactionId(by_records.max(by_locks)))
}

/// The most locks that a record of any workload changes.
const LOCKS_IN_FLIGHT: usize = 3;
