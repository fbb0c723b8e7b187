//! Where the records of one replica's log are: an entry a run, in id order, and what was written
//! again because the first copy can't be read.
//!
//! ```text
//!            stored (places known: durable)    awaited (on the way to the disk)
//! first ids  0 ······· 40 ······· 64 ········ │ 70 ········ 75 ·········· last
//! repaired         ▔▔▔▔▔▔▔
//! ```
//!
//! A run reaches up to the next one's first id, the last one up to the log's last id. A cut inside
//! a run therefore needs no trace: the body keeps its count, and what was cut is past its end.

mod packed;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::id::{IdRange, Mark, TransactionId};
use crate::io::Ticket;
use crate::journal::Place;

use super::checkpoint::IndexPart;
use super::ranges::RangeMap;
use packed::PackedRuns;

/// Where an entry's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Body {
    /// There is none.
    Missing,
    /// On its way to the disk; the place comes with this ticket.
    Awaited(Ticket),
    /// Here.
    At(Place),
}

/// A run as it was written; some of its records may be cut, trimmed or repaired since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct StoredRun {
    pub(super) first: TransactionId,
    pub(super) count: u32,
    pub(super) place: Place,
}

impl StoredRun {
    /// How long its body is.
    fn bytes(&self) -> u64 {
        u64::from(self.place.length)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct AwaitedRun {
    ticket: Ticket,
    first: TransactionId,
    count: u32,
}

/// Records on their way to the disk a second time, and which of them are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct AwaitedRepair {
    run: AwaitedRun,
    wanted: IdRange,
}

/// Records of a log that are in one body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Piece {
    /// Which records are to be read there.
    pub(super) ids: IdRange,
    /// All that was written there.
    pub(super) run: StoredRun,
}

/// The runs of one log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub(super) struct RunIndex {
    stored: PackedRuns,
    awaited: VecDeque<AwaitedRun>,
    repaired: RangeMap<StoredRun>,
    awaited_repairs: VecDeque<AwaitedRepair>,
}

impl RunIndex {
    /// Notes a run right after what is there.
    pub(super) fn push(&mut self, first: TransactionId, count: u32, body: Body) {
        match body {
            Body::At(place) => {
                assert!(self.awaited.is_empty(), "replay is over before requests come");
                self.stored.push_back(StoredRun { first, count, place });
            }
            Body::Awaited(ticket) => self.awaited.push_back(AwaitedRun { ticket, first, count }),
            Body::Missing => unreachable!("a run without a body was refused before"),
        }
    }

    /// Notes that a run was written again, and is to be read there as far as it is `wanted`.
    pub(super) fn repair(&mut self, first: TransactionId, count: u32, body: Body, wanted: IdRange) {
        match body {
            Body::At(place) => self.replace(wanted, StoredRun { first, count, place }),
            Body::Awaited(ticket) => {
                let run = AwaitedRun { ticket, first, count };
                self.awaited_repairs.push_back(AwaitedRepair { run, wanted });
            }
            Body::Missing => unreachable!("a run without a body was refused before"),
        }
    }

    /// A body is durable. Those cut meanwhile are unknown here. If it is a repair: of these ids.
    pub(super) fn placed(&mut self, ticket: Ticket, place: Place) -> Option<IdRange> {
        if let Some(run) = self.awaited.pop_front_if(|run| run.ticket == ticket) {
            self.stored.push_back(StoredRun { first: run.first, count: run.count, place });
            return None;
        }
        let repair = self.awaited_repairs.pop_front_if(|repair| repair.run.ticket == ticket)?;
        let AwaitedRun { first, count, .. } = repair.run;
        self.replace(repair.wanted, StoredRun { first, count, place });
        Some(repair.wanted)
    }

    /// The ids wanted are read from another run from now on. Where it is as long as the first copy,
    /// it takes its place.
    fn replace(&mut self, wanted: IdRange, run: StoredRun) {
        let mut runs = self.stored.beginning_from(wanted.first);
        let (stored, next) = (runs.next(), runs.next().map(|next| next.first));
        drop(runs);
        let next = next.or(self.awaited.front().map(|next| next.first));
        let is_whole = |stored: &StoredRun| {
            let written = TransactionId(stored.first.0 + u64::from(stored.count));
            let end = next.unwrap_or(written);
            (stored.first, run.first) == (wanted.first, wanted.first) && wanted.last.next() == end
        };
        match stored.filter(is_whole) {
            Some(_) => {
                self.stored.replace(run);
                self.repaired.remove(wanted);
            }
            None => self.repaired.insert(wanted, run),
        }
    }

    /// The ids of repairs on their way to the disk.
    pub(super) fn awaited_repairs(&self) -> impl Iterator<Item = IdRange> {
        self.awaited_repairs.iter().map(|repair| repair.wanted)
    }

    /// Forgets runs that begin after `keep`.
    pub(super) fn cut(&mut self, keep: Mark) {
        self.stored.truncate(keep.next());
        self.awaited.truncate(self.awaited.partition_point(|run| keep.includes(run.first)));
        self.repaired.cut(keep);
        self.awaited_repairs.retain_mut(|AwaitedRepair { wanted, .. }| {
            wanted.last = wanted.last.min(keep.id().unwrap_or(TransactionId::FIRST));
            keep.includes(wanted.first)
        });
    }

    /// Forgets runs that end at or before `start`, which lies before the log's end.
    pub(super) fn trim(&mut self, start: Mark) {
        let kept = start.next();
        // Of the runs that begin up to there, the last one has the first record kept.
        let awaited = self.awaited.partition_point(|run| run.first <= kept);
        self.awaited.drain(..awaited.saturating_sub(1));
        match awaited {
            0 => self.stored.trim(kept),
            _ => self.stored = PackedRuns::default(),
        }
        self.repaired.trim(start);
        self.awaited_repairs.retain_mut(|AwaitedRepair { wanted, .. }| {
            wanted.first = wanted.first.max(kept);
            wanted.first <= wanted.last
        });
    }

    /// How many bytes of durable runs there are, but for what was written again in parts.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.stored.stored_bytes()
    }

    /// How far the log, ending at `last`, is durable and so readable.
    pub(super) fn readable(&self, last: Mark) -> Mark {
        self.awaited.front().map_or(last, |run| Mark::before(run.first))
    }

    /// Where the durable records from `first` up to `to` are, in a log that ends at `last`.
    pub(super) fn pieces(
        &self,
        first: TransactionId,
        to: Mark,
        last: Mark,
    ) -> impl Iterator<Item = Piece> {
        let readable = self.readable(last);
        let to = to.min(readable);
        let mut runs = self.stored.near(first).peekable();
        let mut run = None;
        let mut from = first;
        std::iter::from_fn(move || {
            let wanted = IdRange { first: from, last: to.id().filter(|last| from <= *last)? };
            while let Some(next) = runs.next_if(|next| next.first <= from) {
                run = Some(next);
            }
            let end = runs.peek().map_or(readable, |next| Mark::before(next.first));
            let piece = self.piece(run?, end, wanted);
            from = piece.ids.last.next();
            Some(piece)
        })
    }

    /// Where the first ids wanted are; of the first copies, `run`, which reaches up to `end`, has
    /// the first one.
    fn piece(&self, run: StoredRun, end: Mark, wanted: IdRange) -> Piece {
        let repaired = self.repaired.next_from(wanted.first);
        let (end, run) = match repaired {
            Some((ids, run)) if ids.first == wanted.first => (Mark::at(ids.last), run),
            _ => {
                let repaired = repaired.map_or(end, |(ids, _)| Mark::before(ids.first));
                (end.min(repaired), run)
            }
        };
        let last = end.id().expect("a piece has an id").min(wanted.last);
        Piece { ids: IdRange { first: wanted.first, last }, run }
    }

    /// What a checkpoint tells of runs that begin from `from` on and before `end`, as far as their
    /// places are known and within `max_runs`; none if that is nothing yet.
    pub(super) fn part(
        &self,
        from: TransactionId,
        end: TransactionId,
        max_runs: usize,
    ) -> Option<IndexPart> {
        let repairs = self.awaited_repairs().filter(|ids| ids.last >= from).map(|ids| ids.first);
        let awaited = self.awaited.front().map(|run| run.first);
        let settled = repairs.chain(awaited).fold(end, TransactionId::min);
        if settled <= from {
            return None;
        }
        let runs = self.stored.beginning_from(from).take_while(|run| run.first < settled);
        let mut runs: Vec<_> = runs.take(max_runs + 1).collect();
        let mut to = settled;
        if runs.len() > max_runs {
            to = runs.pop().map_or(to, |next| next.first);
        }
        let mut repaired = Vec::new();
        let mut next = from;
        while let Some((ids, run)) = self.repaired.next_from(next).filter(|(ids, _)| ids.first < to)
        {
            let last = ids.last.min(TransactionId(to.0 - 1));
            repaired.push((IdRange { first: ids.first, last }, run));
            next = last.next();
            if repaired.len() == max_runs {
                to = next;
            }
        }
        runs.retain(|run| run.first < to);
        Some(IndexPart { from, to, runs, repaired })
    }

    /// Takes in what a checkpoint tells, in the place of what was known of those ids.
    pub(super) fn load(&mut self, part: IndexPart) {
        let IndexPart { from, to, runs, repaired } = part;
        let rest: Vec<_> = self.stored.beginning_from(to).collect();
        self.stored.truncate(from);
        self.stored.extend(runs);
        self.stored.extend(rest);
        self.repaired.remove(IdRange { first: from, last: TransactionId(to.0 - 1) });
        for (ids, run) in repaired {
            self.repaired.insert(ids, run);
        }
    }

    /// Whether the runs reach from the log's start to its end.
    pub(super) fn spans(&self, start: Mark, last: Mark) -> bool {
        let stored = |run: StoredRun| (run.first, run.count);
        let awaited = |run: &AwaitedRun| (run.first, run.count);
        let first = self.stored.front().map(stored).or(self.awaited.front().map(awaited));
        let latest = self.awaited.back().map(awaited).or(self.stored.back().map(stored));
        match (first, latest) {
            (Some((first, _)), Some((latest, count))) => {
                first <= start.next()
                    && last.includes(latest)
                    && last.count() - latest.0 <= u64::from(count)
                    && start < last
            }
            _ => last == start,
        }
    }

    /// Every run's first id and count as written, durable or not.
    #[cfg(any(test, feature = "planted-bugs"))]
    pub(super) fn runs(&self) -> Vec<(TransactionId, u32)> {
        let stored = self.stored.iter().map(|run| (run.first, run.count));
        stored.chain(self.awaited.iter().map(|run| (run.first, run.count))).collect()
    }

    /// Whether every run reaches up to the next one.
    #[cfg(any(test, feature = "planted-bugs"))]
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

    fn mark(last: u64) -> Mark {
        Mark::at(TransactionId(last))
    }

    fn ids(first: u64, last: u64) -> IdRange {
        IdRange { first: TransactionId(first), last: TransactionId(last) }
    }

    /// Runs 0..=3 and 4..=7 are stored, 8..=9 is on its way.
    fn index() -> RunIndex {
        let mut index = RunIndex::default();
        index.push(TransactionId(0), 4, Body::At(place(0)));
        index.push(TransactionId(4), 4, Body::At(place(100)));
        index.push(TransactionId(8), 2, Body::Awaited(Ticket(3)));
        index
    }

    /// First id, last id and offset of every piece from `first` on.
    fn pieces(index: &RunIndex, first: u64, last: Mark) -> Vec<(u64, u64, u32)> {
        let pieces = index.pieces(TransactionId(first), last, last);
        pieces.map(|p| (p.ids.first.0, p.ids.last.0, p.run.place.offset)).collect()
    }

    #[test]
    fn only_durable_runs_are_located() {
        let mut index = index();
        assert_eq!(pieces(&index, 0, mark(9)), [(0, 3, 0), (4, 7, 100)]);
        assert_eq!(pieces(&index, 8, mark(9)), []);
        index.placed(Ticket(3), place(200));
        assert_eq!(pieces(&index, 5, mark(9)), [(5, 7, 100), (8, 9, 200)]);
        assert_eq!(pieces(&index, 10, mark(9)), []);
        assert_eq!(pieces(&RunIndex::default(), 0, Mark::NONE), []);
    }

    #[test]
    fn a_cut_inside_a_run_shortens_it() {
        let mut index = index();
        index.cut(mark(5));
        assert!(index.spans(Mark::NONE, mark(5)) && index.is_gapless());
        assert_eq!(pieces(&index, 4, mark(5)), [(4, 5, 100)]);

        // What replaces the cut tail starts inside the old run's ids.
        index.push(TransactionId(6), 3, Body::Awaited(Ticket(5)));
        index.placed(Ticket(3), place(200)); // of the run that was cut
        assert_eq!(pieces(&index, 4, mark(8)), [(4, 5, 100)]);
        index.placed(Ticket(5), place(300));
        assert_eq!(pieces(&index, 4, mark(8)), [(4, 5, 100), (6, 8, 300)]);
        assert!(index.spans(Mark::NONE, mark(8)) && index.is_gapless());
    }

    #[test]
    fn a_cut_inside_a_run_on_its_way_keeps_what_is_left_of_it() {
        let mut index = index();
        index.cut(mark(8));
        index.placed(Ticket(3), place(200));
        assert_eq!(pieces(&index, 8, mark(8)), [(8, 8, 200)]);
    }

    #[test]
    fn a_trim_forgets_whole_runs() {
        let mut trimmed = index();
        trimmed.trim(mark(2));
        assert_eq!(trimmed.runs().len(), 3);
        trimmed.trim(mark(3));
        assert_eq!(trimmed.runs(), [(TransactionId(4), 4), (TransactionId(8), 2)]);
        assert!(trimmed.spans(mark(3), mark(9)));
        trimmed.trim(mark(7));
        assert_eq!(trimmed.runs(), [(TransactionId(8), 2)]);
        trimmed.trim(mark(8));
        assert!(trimmed.spans(mark(8), mark(9)));
    }

    #[test]
    fn repaired_records_are_read_where_they_were_written_again() {
        let mut index = index();
        index.repair(TransactionId(2), 4, Body::Awaited(Ticket(4)), ids(2, 5));
        assert_eq!(pieces(&index, 0, mark(9)), [(0, 3, 0), (4, 7, 100)]);
        index.placed(Ticket(3), place(200));
        assert_eq!(index.placed(Ticket(4), place(900)), Some(ids(2, 5)));
        let repaired = [(0, 1, 0), (2, 5, 900), (6, 7, 100), (8, 9, 200)];
        assert_eq!(pieces(&index, 0, mark(9)), repaired);
        assert_eq!(pieces(&index, 4, mark(9))[0], (4, 5, 900));

        // A part of it is repaired once more; both ends stay where they are.
        index.repair(TransactionId(3), 1, Body::At(place(950)), ids(3, 3));
        let parts = [(0, 1, 0), (2, 2, 900), (3, 3, 950), (4, 5, 900), (6, 7, 100), (8, 9, 200)];
        assert_eq!(pieces(&index, 0, mark(9)), parts);
        index.trim(mark(2));
        index.cut(mark(4));
        assert_eq!(pieces(&index, 3, mark(4)), [(3, 3, 950), (4, 4, 900)]);
    }

    #[test]
    fn a_repair_on_its_way_brings_back_nothing_that_was_cut_or_trimmed_meanwhile() {
        let mut index = index();
        index.placed(Ticket(3), place(200));
        index.repair(TransactionId(2), 6, Body::Awaited(Ticket(4)), ids(2, 7));
        index.repair(TransactionId(8), 2, Body::Awaited(Ticket(5)), ids(8, 9));
        index.trim(mark(2));
        index.cut(mark(5));
        index.push(TransactionId(6), 4, Body::Awaited(Ticket(6)));
        assert_eq!(index.placed(Ticket(4), place(900)), Some(ids(3, 5)));
        assert_eq!(index.placed(Ticket(5), place(910)), None);
        index.placed(Ticket(6), place(920));
        assert_eq!(pieces(&index, 3, mark(9)), [(3, 5, 900), (6, 9, 920)]);
    }
}
