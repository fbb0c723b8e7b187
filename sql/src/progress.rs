//! What of a part is applied, and what to try next.
//!
//! ```text
//!   0 ......... applied ......... end ......... length
//!     applied    to be tried       behind a transaction that the application refuses
//! ```

use std::ops::Range;

use waltz_client::CallbackError;

#[derive(Debug)]
pub(crate) struct Progress {
    length: usize,
    applied: usize,
    end: usize,
    /// Why the transaction at `end` can't be applied.
    failure: Option<CallbackError>,
    one_by_one: bool,
}

impl Progress {
    pub(crate) fn new(length: usize) -> Self {
        Self { length, applied: 0, end: length, failure: None, one_by_one: false }
    }

    /// What to apply in the next database transaction.
    pub(crate) fn next(&self) -> Option<Range<usize>> {
        let end = if self.one_by_one { self.end.min(self.applied + 1) } else { self.end };
        (self.applied < end).then_some(self.applied..end)
    }

    /// All of it is applied.
    pub(crate) fn applied(&mut self) {
        self.applied = self.next().map_or(self.applied, |range| range.end);
    }

    /// Another instance has applied everything before `next`, perhaps what failed here, too.
    pub(crate) fn applied_elsewhere(&mut self, next: usize) {
        self.applied = next;
        if next > self.end {
            self.end = self.length;
            self.failure = None;
        }
    }

    /// The application refused the transaction at an index of what was tried: what comes before
    /// it is applied without it.
    pub(crate) fn rejected(&mut self, index: usize, error: CallbackError) {
        self.end = self.applied + index;
        self.failure = Some(error);
    }

    /// The database refused them together without saying which it was.
    pub(crate) fn not_committed(&mut self, error: CallbackError) {
        if self.next().is_some_and(|range| range.len() == 1) {
            self.rejected(0, error);
        }
        self.one_by_one = true;
    }

    /// What came of it: how many are applied before the one that failed, and why it did.
    pub(crate) fn ended(self) -> Result<(), (usize, CallbackError)> {
        self.failure.map_or(Ok(()), |error| Err((self.applied, error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_precedes_a_refused_transaction_is_applied_alone() {
        let mut progress = Progress::new(5);
        assert_eq!(progress.next(), Some(0..5));
        progress.rejected(3, "no".into());
        assert_eq!(progress.next(), Some(0..3));
        progress.rejected(1, "no".into());
        assert_eq!(progress.next(), Some(0..1));
        progress.applied();
        assert_eq!(progress.next(), None);
        assert_eq!(progress.ended().expect_err("one failed").0, 1);
    }

    #[test]
    fn what_another_instance_applied_has_not_failed() {
        let mut progress = Progress::new(5);
        progress.rejected(3, "no".into());
        progress.applied_elsewhere(2);
        assert_eq!(progress.next(), Some(2..3));
        progress.applied_elsewhere(4);
        assert_eq!(progress.next(), Some(4..5));
        progress.applied();
        assert!(progress.ended().is_ok());
    }

    #[test]
    fn a_refused_commit_is_tracked_down_to_one_transaction() {
        let mut progress = Progress::new(3);
        progress.not_committed("deferred".into());
        assert_eq!(progress.next(), Some(0..1));
        progress.applied();
        assert_eq!(progress.next(), Some(1..2));
        progress.not_committed("deferred".into());
        assert_eq!(progress.next(), None);
        assert_eq!(progress.ended().expect_err("one failed").0, 1);
    }
}
