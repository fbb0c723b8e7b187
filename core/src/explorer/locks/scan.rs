//! Locks by their definition: what may follow a log, found by reading all of it.

use crate::id::TransactionId;
use crate::lock::LockId;
use crate::locks::testing::Locks;
use crate::locks::{LockConflict, LockWindow};

/// The newest record from `computed_at` on that changed a lock which these locks check.
pub(super) fn newest_in_the_way(log: &[Locks], locks: &Locks) -> Option<(usize, u64)> {
    let unseen = (locks.computed_at as usize).min(log.len())..log.len();
    unseen.rev().find_map(|id| {
        let changed = |lock: &u64| log[id].changed().any(|changed| changed == *lock);
        Some((id, locks.checked().find(changed)?))
    })
}

/// Where the longest end of the log begins that fits the window: below, nothing is known.
pub(super) fn floor_of(log: &[Locks], window: LockWindow) -> usize {
    let mut changes = 0;
    let fits = |(records, locks): &(usize, &Locks)| {
        changes += locks.changed().count();
        *records < window.records as usize && changes <= window.locks
    };
    log.len() - log.iter().rev().enumerate().take_while(fits).count()
}

/// What a server with this window has to say of a record that is to follow the log.
pub(super) fn answer(log: &[Locks], window: LockWindow, locks: &Locks) -> Result<(), LockConflict> {
    let floor = floor_of(log, window);
    let conflict = |id: usize, lock, exact| {
        Err(LockConflict { id: TransactionId(id as u64), lock: LockId(lock), exact })
    };
    let first_checked = locks.checked().next();
    match (newest_in_the_way(log, locks), first_checked) {
        (Some((id, lock)), _) if id >= floor => conflict(id, lock, true),
        (_, Some(lock)) if (locks.computed_at as usize) < floor => conflict(floor - 1, lock, false),
        _ => Ok(()),
    }
}
