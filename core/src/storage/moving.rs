//! Moving: what old segments still hold is written again at the journal's end, so that the segments
//! can be given up.
//!
//! All partitions share one journal, and a record that nobody trims would pin every segment after
//! its own. So whenever a checkpoint counts, the span from the oldest segment that is needed to the
//! newest is compared with the records in it. Where it is too long, the records of the oldest
//! segments are read, verified and appended again, at a bounded rate, as [`EntryHead::Repair`]: what
//! stands for a record from then on is its newest copy. Nothing is given up for that before the next
//! checkpoint counts.
//!
//! A checkpoint that is due because of a round begins none, so an idle node comes to rest; nor does
//! one that was begun during a round, as it tells of records where they are no more. What
//! can't be read stays where it is, reported as damage, until it is repaired.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::reads::Wanted;
use super::salvage::Contents;
use super::{Replica, SpaceConfig, Storage, StorageReply};
use crate::id::{Mark, PartitionId, TransactionId};
use crate::io::{Context, Ticket};
use crate::journal::{Entry, EntryHead};
use crate::record::Run;
use crate::time::Time;

/// How many bytes are moved at once, unless a single run is longer.
const READ_BYTES: u64 = 256 << 10;
/// How many pieces of logs are looked at in one step.
const LOOKS: usize = 4096;

/// What is moved.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub(super) struct Moves {
    config: SpaceConfig,
    round: Option<Round>,
    under_way: Option<(Ticket, PartitionId, Vec<Wanted>)>,
    pace: Pace,
    /// Bytes of records that were written again.
    bytes: u64,
}

/// Segments are being emptied.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Round {
    /// Those below this one.
    below: u32,
    /// Where it goes on.
    next: (PartitionId, TransactionId),
    has_moved: bool,
}

/// How fast records are moved: so many bytes a second, and besides as many as others write. So the
/// space that is taken meanwhile is bounded, however fast that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
struct Pace {
    /// When the last move began.
    began: Time,
    /// What has to be waited for before the next one.
    bytes: u64,
}

/// What a look at logs came to.
enum Look {
    /// There is something to move.
    Found(PartitionId, Vec<Wanted>),
    /// Nothing so far.
    Nothing,
    /// Nothing more.
    Over,
}

impl Moves {
    /// Sets how much space may be taken.
    pub(super) fn configure(&mut self, config: SpaceConfig) {
        self.config = config;
    }

    /// How many bytes a partition may have.
    pub(super) fn quota_bytes(&self) -> u64 {
        self.config.quota_bytes
    }

    /// How many bytes of records were written again.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether segments are being emptied.
    pub(super) fn is_under_way(&self) -> bool {
        self.round.is_some()
    }

    /// Others gave the journal so many bytes.
    pub(super) fn written(&mut self, bytes: u64) {
        self.pace.bytes = self.pace.bytes.saturating_sub(bytes);
    }

    /// When the next read is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        let is_waiting = self.round.is_some() && self.under_way.is_none();
        let rate = u64::from(self.config.bytes_per_second).max(1);
        let wait = Duration::from_micros(self.pace.bytes.saturating_mul(1_000_000) / rate);
        is_waiting.then_some(self.pace.began + wait)
    }
}

impl SpaceConfig {
    /// Below which segment records should be moved, so that the journal up to its `newest` segment
    /// takes what it may; `live` has the bytes of records in each.
    fn goal(&self, live: &BTreeMap<u32, u64>, newest: u32) -> Option<u32> {
        let total: u64 = live.values().sum();
        let allowed = total.saturating_mul(2).saturating_add(self.slack_bytes);
        let (&lowest, _) = live.first_key_value()?;
        let mut moved = 0;
        for (&segment, bytes) in live.range(..newest) {
            let span = u64::from(newest - segment + 1) * u64::from(self.segment_bytes);
            if span + moved <= allowed {
                return (segment > lowest).then_some(segment);
            }
            moved += bytes;
        }
        (lowest < newest).then_some(newest)
    }
}

impl Storage {
    /// A checkpoint counts that began in the `newest` segment, and that told of so many bytes of
    /// records in each: the oldest ones are emptied if the journal takes too much space.
    pub(super) fn begin_moving(
        &mut self,
        cx: &mut Context<'_>,
        live: &BTreeMap<u32, u64>,
        newest: u32,
    ) {
        debug_assert!(!self.moves.is_under_way(), "a round begins after the one before it");
        let goal = self.moves.config.goal(live, newest);
        let next = (PartitionId(0), TransactionId::FIRST);
        self.moves.round = goal.map(|below| Round { below, next, has_moved: false });
        self.moves.pace = Pace { began: cx.now, bytes: 0 };
        self.go_on_moving(cx);
    }

    /// Reads what is to be moved next, if it is time.
    pub(super) fn go_on_moving(&mut self, cx: &mut Context<'_>) {
        let is_due = self.moves.deadline().is_some_and(|due| due <= cx.now);
        if !is_due || self.is_full {
            return;
        }
        match self.look_for_old() {
            Look::Found(partition, wanted) => {
                let bytes = wanted.iter().map(Wanted::bytes).sum();
                self.moves.pace = Pace { began: cx.now, bytes };
                let read = cx.read(Wanted::places(&wanted));
                self.moves.under_way = Some((read, partition, wanted));
            }
            Look::Nothing => {}
            Look::Over => self.end_moving(),
        }
    }

    /// Looks for what the round comes to next.
    fn look_for_old(&mut self) -> Look {
        let Some(round) = &mut self.moves.round else { return Look::Over };
        let mut looks = LOOKS;
        let (begin, id) = round.next;
        for (&partition, hosted) in self.hosted.range(begin..) {
            let first = if partition == begin { id } else { TransactionId::FIRST };
            let (old, next) = old_pieces(&hosted.replica, first, round.below, &mut looks);
            round.next = (partition, next);
            if !old.is_empty() {
                return Look::Found(partition, old);
            }
            if looks == 0 {
                return Look::Nothing;
            }
        }
        Look::Over
    }

    /// The round is over. What it moved is given up with the next checkpoint.
    fn end_moving(&mut self) {
        if self.moves.round.take().is_some_and(|round| round.has_moved) {
            self.checkpoints.hasten();
        }
    }

    /// A read ended, of what is to be moved perhaps. Whether it was.
    pub(super) fn on_moved_read(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        result: &Result<Vec<Bytes>, String>,
        replies: &mut Vec<StorageReply>,
    ) -> bool {
        let ours = self.moves.under_way.take_if(|(under_way, ..)| *under_way == ticket);
        let Some((_, partition, wanted)) = ours else { return false };
        if let Ok(bodies) = self.bodies(cx, partition, &wanted, result, replies) {
            for (wanted, body) in wanted.iter().zip(bodies) {
                let contents = Contents::of(wanted.session, wanted.piece.run, body, &self.limits);
                for run in &contents.sound {
                    self.write_again(cx, partition, *wanted, run);
                }
                if contents.fault.is_some() {
                    self.examined(cx, partition, *wanted, &contents, replies);
                }
            }
        }
        self.go_on_moving(cx);
        true
    }

    /// Appends what is sound of a piece once more, if the log still has it, and has it there.
    fn write_again(
        &mut self,
        cx: &mut Context<'_>,
        partition: PartitionId,
        wanted: Wanted,
        run: &Run,
    ) {
        let replica = &self.hosted[&partition].replica;
        let Some(run) = still_there(replica, wanted, run).filter(|_| !self.is_full) else { return };
        let Run { session, first, count, bytes } = run;
        self.moves.bytes += bytes.len() as u64;
        let head = EntryHead::Repair { partition, session, first, count };
        self.record(cx, Entry { head, body: bytes });
        if let Some(round) = &mut self.moves.round {
            round.has_moved = true;
        }
    }
}

/// The first pieces from an id on that lie below a segment, as many as are moved at once, and where
/// to go on. So many pieces are looked at, at most.
fn old_pieces(
    replica: &Replica,
    first: TransactionId,
    below: u32,
    looks: &mut usize,
) -> (Vec<Wanted>, TransactionId) {
    let (mut old, mut bytes) = (Vec::new(), 0);
    let mut next = first.max(replica.summary().start.next());
    *looks = looks.saturating_sub(1);
    for wanted in Wanted::all(replica, next, replica.last()) {
        let is_old = wanted.piece.run.place.segment < below;
        let fits = old.is_empty() || bytes + wanted.bytes() <= READ_BYTES;
        if *looks == 0 || !(old.is_empty() || is_old && fits) {
            break;
        }
        *looks -= 1;
        next = wanted.piece.ids.last.next();
        if is_old {
            bytes += wanted.bytes();
            old.push(wanted);
        }
    }
    (old, next)
}

/// What of a run that was read from a piece the log still has there, of the same session.
fn still_there(replica: &Replica, wanted: Wanted, run: &Run) -> Option<Run> {
    let Wanted { session, piece } = wanted;
    let first = piece.ids.first.max(run.first).max(replica.summary().start.next());
    let to = Mark::at(piece.ids.last).min(run.last()).min(replica.last());
    let run = run.slice(first, to)?;
    let is_there = replica
        .index()
        .pieces(run.first, run.last(), replica.last())
        .all(|now| now.run == piece.run);
    let is_its = replica.summary().session_at(run.first) == Some(session)
        && replica.summary().session_at(TransactionId(run.last().count() - 1)) == Some(session);
    (is_there && is_its).then_some(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(slack_bytes: u64) -> SpaceConfig {
        SpaceConfig { segment_bytes: 100, slack_bytes, ..SpaceConfig::default() }
    }

    #[test]
    fn as_few_segments_are_emptied_as_bring_the_span_down() {
        // Ten segments with little in the old ones: 160 bytes of records.
        let live = BTreeMap::from([(1, 10), (2, 10), (5, 10), (9, 80), (10, 50)]);
        assert_eq!(config(1000).goal(&live, 10), None, "1000 bytes are allowed and more");
        assert_eq!(config(600).goal(&live, 10), Some(2), "900 and 10 moved are under 920");
        assert_eq!(config(500).goal(&live, 10), Some(5), "600 and 20");
        assert_eq!(config(100).goal(&live, 10), Some(9), "200 and 30");
        assert_eq!(config(0).goal(&live, 10), Some(9));
        assert_eq!(config(0).goal(&BTreeMap::from([(10, 1)]), 10), None, "nothing is old");
        assert_eq!(config(0).goal(&BTreeMap::new(), 10), None);
    }
}
