//! The newest committed records as each kind of feed wants them.

use serde::{Deserialize, Serialize};

use crate::id::{Mark, TransactionId};
use crate::partition::tail::Tail;
use crate::record::Run;
use crate::wire::FeedMode;

/// The tail, and beside it the same records without their data while anyone wants those: built
/// once for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recent {
    records: Tail,
    headers: Tail,
    header_feeds: usize,
}

impl Recent {
    pub(super) fn new(tail_bytes: usize, header_tail_bytes: usize) -> Self {
        Self {
            records: Tail::new(tail_bytes),
            headers: Tail::new(header_tail_bytes),
            header_feeds: 0,
        }
    }

    /// A feed of this mode begins.
    pub(super) fn add_feed(&mut self, mode: FeedMode) {
        self.header_feeds += usize::from(mode == FeedMode::Headers);
    }

    /// A feed of this mode ends.
    pub(super) fn remove_feed(&mut self, mode: FeedMode) {
        self.header_feeds -= usize::from(mode == FeedMode::Headers);
        if self.header_feeds == 0 {
            self.headers.clear();
        }
    }

    /// Adds the next committed run.
    pub(super) fn push(&mut self, run: &Run) {
        if self.header_feeds > 0 {
            self.headers.push(run.without_data());
        }
        self.records.push(run.clone());
    }

    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.records.bytes() + self.headers.bytes()
    }

    /// Forgets all records; only the storage has them then.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.headers.clear();
    }

    /// Records for a feed of this mode, from `from` on; `None` when only the storage has them.
    pub(super) fn read(
        &self,
        mode: FeedMode,
        from: TransactionId,
        to: Mark,
        max_bytes: usize,
    ) -> Option<Run> {
        let whole = || self.records.read(from, to, max_bytes);
        match mode {
            FeedMode::Records => whole(),
            FeedMode::Headers => self
                .headers
                .read(from, to, max_bytes)
                .or_else(|| whole().map(|run| run.without_data())),
        }
    }

    /// One whole record, if it is in memory.
    pub(super) fn record(&self, id: TransactionId) -> Option<Run> {
        self.records.read(id, id.mark(), 1)
    }

    /// From where on `read` has records for this mode.
    pub(super) fn first(&self, mode: FeedMode) -> Option<TransactionId> {
        match mode {
            FeedMode::Records => self.records.first(),
            FeedMode::Headers => self.headers.first().into_iter().chain(self.records.first()).min(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::testing::run_of;

    #[test]
    fn headers_are_kept_while_a_feed_wants_them() {
        let mut recent = Recent::new(usize::MAX, usize::MAX);
        let headers = |recent: &Recent| recent.headers.first();
        recent.push(&run_of(0..2, |_| 9));
        assert_eq!(headers(&recent), None);
        recent.add_feed(FeedMode::Headers);
        recent.add_feed(FeedMode::Headers);
        recent.push(&run_of(2..4, |_| 9));
        recent.remove_feed(FeedMode::Headers);
        recent.push(&run_of(4..6, |_| 9));
        assert_eq!(headers(&recent), Some(TransactionId(2)));
        recent.remove_feed(FeedMode::Headers);
        recent.push(&run_of(6..8, |_| 9));
        assert_eq!(headers(&recent), None);
        let to = Mark::before(TransactionId(8));
        let read = recent.read(FeedMode::Headers, TransactionId(1), to, usize::MAX);
        assert_eq!(read, Some(run_of(1..2, |_| 9).without_data()), "made of the whole records");
    }
}
