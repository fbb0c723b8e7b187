//! Where the records of one replica's log are: an entry a run, in id order.
//!
//! ```text
//!            stored (places known: durable)    awaited (on the way to the disk)
//! first ids  0 ······· 40 ······· 64 ········ │ 70 ········ 75 ·········· last
//! ```
//!
//! A run reaches up to the next one's first id, the last one up to the log's last id. A cut inside
//! a run therefore needs no trace: the body keeps its count, and what was cut is past its end.

use std::collections::VecDeque;

use crate::id::{Mark, TransactionId};
use crate::io::Ticket;
use crate::journal::Place;

/// Where an entry's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Body {
    /// There is none.
    Missing,
    /// On its way to the disk; the place comes with this ticket.
    Awaited(Ticket),
    /// Here.
    At(Place),
}

/// A run as it was written; some of its last records may be cut since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct StoredRun {
    first: TransactionId,
    count: u32,
    place: Place,
}

// One entry a run stays in memory for as long as the log is kept.
const _: () = assert!(size_of::<StoredRun>() == 24);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct AwaitedRun {
    ticket: Ticket,
    first: TransactionId,
    count: u32,
}

/// A durable run that a reader wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LocatedRun {
    /// Its first record.
    pub(super) first: TransactionId,
    /// How many records the body has.
    pub(super) count: u32,
    /// The last of them that is still in the log.
    pub(super) last: Mark,
    /// Where the body is.
    pub(super) place: Place,
}

/// The runs of one log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct RunIndex {
    stored: Vec<StoredRun>,
    awaited: VecDeque<AwaitedRun>,
}

impl RunIndex {
    /// Notes a run right after what is there.
    pub(super) fn push(&mut self, first: TransactionId, count: u32, body: Body) {
        match body {
            Body::At(place) => {
                assert!(self.awaited.is_empty(), "replay is over before requests come");
                self.stored.push(StoredRun { first, count, place });
            }
            Body::Awaited(ticket) => self.awaited.push_back(AwaitedRun { ticket, first, count }),
            Body::Missing => unreachable!("a run without a body was refused before"),
        }
    }

    /// A body is durable. Those cut meanwhile are unknown here.
    pub(super) fn placed(&mut self, ticket: Ticket, place: Place) {
        let Some(run) = self.awaited.pop_front_if(|run| run.ticket == ticket) else { return };
        self.stored.push(StoredRun { first: run.first, count: run.count, place });
    }

    /// Forgets runs that begin after `keep`.
    pub(super) fn cut(&mut self, keep: Mark) {
        self.stored.truncate(self.stored.partition_point(|run| keep.includes(run.first)));
        self.awaited.truncate(self.awaited.partition_point(|run| keep.includes(run.first)));
    }

    /// How far the log, ending at `last`, is durable and so readable.
    pub(super) fn readable(&self, last: Mark) -> Mark {
        self.awaited.front().map_or(last, |run| Mark::before(run.first))
    }

    /// The durable runs with records from `first` up to `to` of a log ending at `last`: at least
    /// one if there is any, then as many as fit in `max_bytes` and `max_runs`.
    pub(super) fn locate(
        &self,
        first: TransactionId,
        to: Mark,
        last: Mark,
        max_bytes: u32,
        max_runs: usize,
    ) -> Vec<LocatedRun> {
        let readable = self.readable(last);
        let to = to.min(readable);
        let mut located: Vec<LocatedRun> = Vec::new();
        if !to.includes(first) {
            return located;
        }
        let start = self.stored.partition_point(|run| run.first <= first) - 1;
        let mut bytes = 0_u64;
        for (index, run) in self.stored.iter().enumerate().skip(start).take(max_runs) {
            bytes += u64::from(run.place.length);
            let full = bytes > u64::from(max_bytes) && !located.is_empty();
            if full || !to.includes(run.first) {
                break;
            }
            let next = self.stored.get(index + 1);
            let last = next.map_or(readable, |next| Mark::before(next.first));
            located.push(LocatedRun { first: run.first, count: run.count, last, place: run.place });
        }
        located
    }

    /// Whether the first run is the log's first and the last one reaches its end.
    pub(super) fn spans(&self, last: Mark) -> bool {
        let stored = |run: &StoredRun| (run.first, run.count);
        let awaited = |run: &AwaitedRun| (run.first, run.count);
        let first = self.stored.first().map(stored).or(self.awaited.front().map(awaited));
        let latest = self.awaited.back().map(awaited).or(self.stored.last().map(stored));
        match (first, latest) {
            (Some((first, _)), Some((latest, count))) => {
                first == TransactionId::FIRST
                    && last.includes(latest)
                    && last.count() - latest.0 <= u64::from(count)
            }
            _ => last == Mark::NONE,
        }
    }

    /// Every run's first id and count as written, durable or not.
    #[cfg(test)]
    pub(super) fn runs(&self) -> Vec<(TransactionId, u32)> {
        let stored = self.stored.iter().map(|run| (run.first, run.count));
        stored.chain(self.awaited.iter().map(|run| (run.first, run.count))).collect()
    }

    /// Whether every run reaches up to the next one.
    #[cfg(test)]
    pub(super) fn is_gapless(&self) -> bool {
        self.runs().windows(2).all(|pair| {
            let ((first, count), (next, _)) = (pair[0], pair[1]);
            first < next && next.0 - first.0 <= u64::from(count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u32) -> Place {
        Place { segment: 1, offset, length: 100 }
    }

    /// Runs 0..=3 and 4..=7 are stored, 8..=9 is on its way.
    fn index() -> RunIndex {
        let mut index = RunIndex::default();
        index.push(TransactionId(0), 4, Body::At(place(0)));
        index.push(TransactionId(4), 4, Body::At(place(100)));
        index.push(TransactionId(8), 2, Body::Awaited(Ticket(3)));
        index
    }

    fn spans(located: &[LocatedRun]) -> Vec<(u64, u64)> {
        located.iter().map(|run| (run.first.0, run.last.count())).collect()
    }

    #[test]
    fn only_durable_runs_are_located() {
        let mut index = index();
        let last = Mark::before(TransactionId(10));
        let all = |index: &RunIndex, first| {
            spans(&index.locate(TransactionId(first), last, last, u32::MAX, 10))
        };
        assert_eq!(all(&index, 0), [(0, 4), (4, 8)]);
        assert_eq!(all(&index, 8), []);
        index.placed(Ticket(3), place(200));
        assert_eq!(all(&index, 5), [(4, 8), (8, 10)]);
        assert_eq!(all(&index, 10), []);
    }

    #[test]
    fn a_read_is_bounded_but_never_empty() {
        let index = index();
        let last = Mark::before(TransactionId(10));
        let located = |bytes, runs| spans(&index.locate(TransactionId(1), last, last, bytes, runs));
        assert_eq!(located(1, 10), [(0, 4)]);
        assert_eq!(located(199, 10), [(0, 4)]);
        assert_eq!(located(200, 10), [(0, 4), (4, 8)]);
        assert_eq!(located(200, 1), [(0, 4)]);
    }

    #[test]
    fn a_cut_inside_a_run_shortens_it() {
        let mut index = index();
        let keep = Mark::before(TransactionId(6));
        index.cut(keep);
        assert!(index.spans(keep) && index.is_gapless());
        let located = |index: &RunIndex, last| {
            spans(&index.locate(TransactionId(4), last, last, u32::MAX, 10))
        };
        assert_eq!(located(&index, keep), [(4, 6)]);

        // What replaces the cut tail starts inside the old run's ids.
        index.push(TransactionId(6), 3, Body::Awaited(Ticket(5)));
        index.placed(Ticket(3), place(200)); // of the run that was cut
        let last = Mark::before(TransactionId(9));
        assert_eq!(located(&index, last), [(4, 6)]);
        index.placed(Ticket(5), place(300));
        assert_eq!(located(&index, last), [(4, 6), (6, 9)]);
        assert!(index.spans(last) && index.is_gapless());
    }

    #[test]
    fn a_cut_inside_a_run_on_its_way_keeps_what_is_left_of_it() {
        let mut index = index();
        let keep = Mark::before(TransactionId(9));
        index.cut(keep);
        index.placed(Ticket(3), place(200));
        let located = index.locate(TransactionId(8), keep, keep, u32::MAX, 10);
        assert_eq!(spans(&located), [(8, 9)]);
        assert_eq!(located[0].count, 2);
    }
}
