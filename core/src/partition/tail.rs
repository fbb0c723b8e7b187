//! The newest committed records of a partition, in memory, as the runs they were committed in.
//!
//! Runs are contiguous and share their buffers with whoever else holds them. The newest run is
//! always kept, so that whoever was at the head before it can be served without the storage; older
//! ones are kept up to a bound.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::id::{Mark, TransactionId};
use crate::record::Run;

/// The newest committed runs, up to so many bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    runs: VecDeque<Run>,
    bytes: usize,
    max_bytes: usize,
}

impl Tail {
    /// An empty tail.
    pub fn new(max_bytes: usize) -> Self {
        Self { runs: VecDeque::new(), bytes: 0, max_bytes }
    }

    /// The first record it has.
    pub fn first(&self) -> Option<TransactionId> {
        self.runs.front().map(|run| run.first)
    }

    /// What it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the next run; drops the oldest ones that are over the bound.
    ///
    /// # Panics
    /// When the run does not follow the last one.
    pub fn push(&mut self, run: Run) {
        if let Some(last) = self.runs.back() {
            assert_eq!(last.last().next(), run.first, "committed runs follow each other");
        }
        self.bytes += cost(&run);
        self.runs.push_back(run);
        while self.bytes > self.max_bytes && self.runs.len() > 1 {
            self.bytes -= self.runs.pop_front().map_or(0, |run| cost(&run));
        }
    }

    /// Records from `from` on, up to `to` and to the end of the run that `from` is in, as many as
    /// fit in `max_bytes` but at least one. `None`: `from` is not in the tail, or beyond `to`.
    pub fn read(&self, from: TransactionId, to: Mark, max_bytes: usize) -> Option<Run> {
        let index = self.runs.partition_point(|run| run.last().next() <= from);
        let run = self.runs.get(index).filter(|run| run.first <= from)?;
        Some(run.slice(from, to)?.prefix(max_bytes))
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.bytes = 0;
    }
}

/// What keeping a run takes: many small ones are mostly overhead.
fn cost(run: &Run) -> usize {
    run.bytes.len() + size_of::<Run>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::partition::testing::run_of;
    use crate::record::HEADER_BYTES;

    fn ids(run: Option<Run>) -> Option<Vec<u64>> {
        run.map(|run| run.records().map(|record| record.id().0).collect())
    }

    /// A record of an even id with 100 bytes of data.
    const EVEN: usize = HEADER_BYTES + 100;
    /// It and one of an odd id, which has a lock.
    const PAIR: usize = 2 * EVEN + 8;

    /// Runs 5..8, 8..9 and 9..13, of records with 100 bytes of data.
    fn filled(max_bytes: usize) -> Tail {
        let mut tail = Tail::new(max_bytes);
        for range in [5..8, 8..9, 9..13] {
            tail.push(run_of(range, |_| 100));
        }
        tail
    }

    #[test]
    fn reads_stay_within_one_run_and_share_it() {
        let tail = filled(usize::MAX);
        let all = Mark::before(TransactionId(13));
        let cases = [
            (4, all, usize::MAX, None),
            (5, all, usize::MAX, Some(vec![5, 6, 7])),
            (6, all, usize::MAX, Some(vec![6, 7])),
            (8, all, usize::MAX, Some(vec![8])),
            (10, Mark::before(TransactionId(12)), usize::MAX, Some(vec![10, 11])),
            (10, all, PAIR, Some(vec![10, 11])),
            (10, all, PAIR - 1, Some(vec![10])),
            (10, all, 1, Some(vec![10])),
            (13, all, usize::MAX, None),
            (9, Mark::before(TransactionId(9)), usize::MAX, None),
        ];
        for (from, to, max_bytes, expected) in cases {
            let read = tail.read(TransactionId(from), to, max_bytes);
            assert_eq!(ids(read), expected, "from {from} to {to}, {max_bytes} bytes");
        }
        let whole = tail.read(TransactionId(5), all, usize::MAX).expect("in the tail");
        assert_eq!(whole.bytes.as_ptr(), tail.runs[0].bytes.as_ptr(), "not copied");
    }

    #[test]
    fn the_bound_holds_but_for_the_newest_run() {
        assert_eq!(filled(usize::MAX).first(), Some(TransactionId(5)));
        assert_eq!(filled(EVEN + 2 * PAIR + 2 * size_of::<Run>()).first(), Some(TransactionId(8)));
        assert_eq!(
            filled(EVEN + 2 * PAIR + 2 * size_of::<Run>() - 1).first(),
            Some(TransactionId(9))
        );
        assert_eq!(filled(0).first(), Some(TransactionId(9)));
        let mut cleared = filled(0);
        cleared.clear();
        assert_eq!(cleared, Tail::new(0));
    }

    #[test]
    #[should_panic(expected = "follow each other")]
    fn a_gap_is_a_broken_invariant() {
        filled(0).push(run_of(14..15, |_| 0));
    }

    #[test]
    fn records_without_data_are_sound_records() {
        let run = run_of(3..7, |id| id.0 as usize % 3 * 10);
        let headers = run.without_data();
        let verified = Run::verify(
            headers.session,
            headers.first,
            headers.count,
            headers.bytes.clone(),
            &Limits::default(),
        );
        assert_eq!(verified.as_ref(), Ok(&headers));
        for (whole, header) in run.records().zip(headers.records()) {
            assert_eq!((whole.id(), whole.req_id()), (header.id(), header.req_id()));
            assert!(whole.locks().eq(header.locks()));
            assert!(header.data().is_empty());
        }
        assert_eq!(headers.without_data().bytes.as_ptr(), headers.bytes.as_ptr(), "not copied");
    }
}
