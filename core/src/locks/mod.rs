//! Optimistic locks: which locks the recent records of a partition changed, and whether a new
//! record computed at some mark may follow them.
//!
//! ```text
//!              floor                          last
//!   … unknown ───│── every change is known ────│
//!                 ▲ computed at or after here: the answer is exact
//!    ▲ computed before: refused as a precaution, unless it checks no lock
//! ```
//!
//! The window is the longest end of the log that has at most so many records and so many lock
//! changes. It is thus a function of the log alone: a table rebuilt from the log's end gives the
//! answers of the one that was lost, and a new session causes no false conflict.
//!
//! Nothing here waits, and nothing is taken back: what was noted and then not committed ends with
//! its session, and the table with it.

mod table;
#[cfg(any(test, feature = "planted-bugs"))]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::id::{Mark, TransactionId};
use crate::lock::{LockId, LockKind};
use crate::planted::{Planted, PlantedBug};
use crate::record::RecordView;
use table::Newest;

/// How much of a partition's log the lock table knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockWindow {
    /// The most records.
    pub records: u64,
    /// The most lock changes; bounds the memory, at at most 80 bytes each.
    pub locks: usize,
}

impl Default for LockWindow {
    fn default() -> Self {
        Self { records: 32_768, locks: 65_536 }
    }
}

/// Why a record may not follow the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockConflict {
    /// The newest record that stands in the way: with it applied, none of the present ones does.
    pub id: TransactionId,
    /// The lock.
    pub lock: LockId,
    /// Whether `id` changed `lock` for certain. If not, the record was computed below the window,
    /// and the refusal is a precaution.
    pub exact: bool,
}

/// One change of a lock, in the order of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Change {
    lock: LockId,
    at: Mark,
}

/// The lock changes of the newest records of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockTable {
    window: LockWindow,
    floor: Mark,
    last: Mark,
    /// Every change above the floor; [`Newest`] has the last one of each lock.
    changes: VecDeque<Change>,
    newest: Newest,
    planted: Planted,
}

impl LockTable {
    /// A table that knows nothing of the records up to `floor`.
    pub fn new(window: LockWindow, floor: Mark) -> Self {
        let (changes, newest) = (VecDeque::new(), Newest::default());
        Self { window, floor, last: floor, changes, newest, planted: Planted::NONE }
    }

    /// Breaks a rule.
    #[must_use]
    pub fn with_planted(self, planted: Planted) -> Self {
        Self { planted, ..self }
    }

    /// The first record to [note](Self::note) to rebuild the table of a log that ends at `last`;
    /// the new table's floor is the mark before it, or the log's start if that is later.
    pub fn rebuild_from(last: Mark, window: LockWindow) -> TransactionId {
        TransactionId(last.count().saturating_sub(window.records))
    }

    /// Up to here nothing is known.
    pub fn floor(&self) -> Mark {
        self.floor
    }

    /// How many lock changes it knows.
    pub fn changes(&self) -> usize {
        self.changes.len()
    }

    /// Whether the record may follow all that was noted.
    ///
    /// # Errors
    /// The newest conflict of its write and read locks.
    pub fn check(&self, record: &RecordView<'_>) -> Result<(), LockConflict> {
        let computed_at = record.computed_at();
        let mut first_checked = None;
        let mut newest: Option<Change> = None;
        for (_, lock) in record.locks().filter(|(kind, _)| *kind != LockKind::Append) {
            first_checked = first_checked.or(Some(lock));
            let at = self.newest.find(lock);
            if at > computed_at && newest.is_none_or(|change| at > change.at) {
                newest = Some(Change { lock, at });
            }
        }
        if let Some((id, change)) = newest.and_then(|change| Some((change.at.id()?, change))) {
            return Err(LockConflict { id, lock: change.lock, exact: true });
        }
        match (first_checked, self.floor.id()) {
            (Some(lock), Some(id))
                if !computed_at.includes(id) && !self.planted.has(PlantedBug::IgnoreLockFloor) =>
            {
                Err(LockConflict { id, lock, exact: false })
            }
            _ => Ok(()),
        }
    }

    /// Notes that the record, with its write and append locks, follows as `id`.
    ///
    /// # Panics
    /// When `id` does not ascend.
    pub fn note(&mut self, id: TransactionId, record: &RecordView<'_>) {
        assert!(!self.last.includes(id), "record {id} was noted after {}", self.last);
        self.last = id.mark();
        for (_, lock) in record.locks().filter(|(kind, _)| *kind != LockKind::Read) {
            self.changes.push_back(Change { lock, at: self.last });
            self.newest.set(lock, self.last);
        }
        self.forget_up_to(Mark::before(Self::rebuild_from(self.last, self.window)));
        while self.changes.len() > self.window.locks {
            self.forget_up_to(self.changes[0].at);
        }
    }

    /// The log's start has moved: from here on nothing is known of what was trimmed, so that the
    /// next session's table, which can't read it, gives the same answers.
    pub fn trim(&mut self, start: Mark) {
        self.forget_up_to(start.min(self.last));
    }

    fn forget_up_to(&mut self, floor: Mark) {
        self.floor = self.floor.max(floor);
        while let Some(change) = self.changes.pop_front_if(|change| change.at <= floor) {
            self.newest.remove_if(change.lock, change.at);
        }
    }
}
