//! One replica's durable state as a fold over its journal entries.

use serde::{Deserialize, Serialize};

use crate::id::{CreationId, IdRange, Mark, PartitionId, Position, SessionId, TransactionId};
use crate::io::Ticket;
use crate::journal::Place;
use crate::log::{LogSummary, SetChange};
use crate::planted::{Planted, PlantedBug};

use super::checkpoint::{IndexPart, ReplicaState};
use super::inconsistency::{Inconsistency, ReplayError};
use super::index::{Body, Piece, RunIndex, StoredRun};
use super::named;
use super::ranges::RangeMap;

/// What one storage node keeps of one partition. Everything here but the damage comes from journal
/// entries; in a running node it is ahead of the disk by what is in flight.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Replica {
    partition: PartitionId,
    creation: CreationId,
    promise: Option<SessionId>,
    normal: Option<SessionId>,
    summary: LogSummary,
    low_water: Mark,
    index: RunIndex,
    /// Records of the log that were found out to be unreadable: durable ones, and not repaired as
    /// far as is durable.
    damage: RangeMap<()>,
}

impl Replica {
    /// A replica that has promised nothing and holds nothing.
    pub(super) fn new(partition: PartitionId, creation: CreationId, set: SetChange) -> Self {
        Self {
            partition,
            creation,
            promise: None,
            normal: None,
            summary: LogSummary::new(set),
            low_water: Mark::NONE,
            index: RunIndex::default(),
            damage: RangeMap::default(),
        }
    }

    /// All of it but the index, for a checkpoint.
    pub(super) fn state(&self) -> ReplicaState {
        ReplicaState {
            partition: self.partition,
            creation: self.creation,
            promise: self.promise,
            normal: self.normal,
            summary: self.summary.clone(),
            low_water: self.low_water,
        }
    }

    /// As a checkpoint tells, but for the index.
    pub(super) fn restored(state: ReplicaState) -> Self {
        let ReplicaState { partition, creation, promise, normal, summary, low_water } = state;
        let (index, damage) = (RunIndex::default(), RangeMap::default());
        Self { partition, creation, promise, normal, summary, low_water, index, damage }
    }

    /// Takes in a part of the index that a checkpoint tells.
    pub(super) fn load(&mut self, part: IndexPart) {
        self.index.load(part);
    }

    /// All parts of the index were told.
    pub(super) fn loaded(&mut self) -> Result<(), ReplayError> {
        // While parts were missing, a trim may not have seen where a run ends.
        self.index.trim(self.summary.start);
        self.forget_runs_of_no_record();
        match self.is_consistent() {
            true => Ok(()),
            false => Err(self.inconsistent(Inconsistency::Checkpoint)),
        }
    }

    /// The partition.
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The partition's creation: the only one this replica answers for.
    pub fn creation(&self) -> CreationId {
        self.creation
    }

    /// Every session lower than this one is refused; `None` before the first was promised.
    pub fn promise(&self) -> Option<SessionId> {
        self.promise
    }

    /// The last session joined.
    pub fn normal(&self) -> Option<SessionId> {
        self.normal
    }

    /// Which sessions wrote which part of the log, and where it ends.
    pub fn summary(&self) -> &LogSummary {
        &self.summary
    }

    /// The last id of the log.
    pub fn last(&self) -> Mark {
        self.summary.last
    }

    /// Everything up to here is known to be committed, and is never cut.
    pub fn low_water(&self) -> Mark {
        self.low_water
    }

    /// Whether this session is the last one joined.
    pub fn joined(&self, session: SessionId) -> bool {
        self.normal == Some(session)
    }

    /// The highest session that wrote in the log.
    pub(super) fn last_session(&self) -> Option<SessionId> {
        self.summary.latest_session()
    }

    /// Where each record is that is durable, in order of their ids: those that one body holds at a
    /// time.
    pub fn places(&self) -> impl Iterator<Item = (IdRange, Place)> {
        let pieces = self.index.pieces(self.summary.start.next(), self.last(), self.last());
        pieces.map(|piece| (piece.ids, piece.run.place))
    }

    /// How many bytes of durable records it keeps, roughly: what was trimmed or cut out of a run
    /// counts as long as the rest of it is kept.
    pub fn stored_bytes(&self) -> u64 {
        self.index.stored_bytes()
    }

    /// Where the records are.
    pub(super) fn index(&self) -> &RunIndex {
        &self.index
    }

    /// A body on its way to the disk has arrived.
    pub(super) fn placed(&mut self, ticket: Ticket, place: Place) {
        if let Some(repaired) = self.index.placed(ticket, place) {
            self.damage.remove(repaired);
        }
    }

    /// Whether every record of the log can be read, as far as is known.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }

    /// How many records of the log can't be read, as far as is known.
    pub fn damaged_records(&self) -> u64 {
        self.damage.iter().map(|(range, ())| range.last.0 - range.first.0 + 1).sum()
    }

    /// The first records from `first` on that can't be read.
    pub(super) fn damage_from(&self, first: TransactionId) -> Option<IdRange> {
        self.damage.next_from(first).map(|(range, ())| range)
    }

    /// What can't be read even when all that is on its way to the disk is there.
    pub(super) fn unrepaired(&self) -> RangeMap<()> {
        let mut left = self.damage.clone();
        self.index.awaited_repairs().for_each(|repaired| left.remove(repaired));
        left
    }

    /// A body was read: `lost` is what can't be, of all that was written there. If that is news,
    /// what of it the log needs: records that were cut or repaired meanwhile don't matter.
    pub(super) fn examined(&mut self, run: StoredRun, lost: &[IdRange]) -> Option<Vec<IdRange>> {
        let before = self.damage.clone();
        let mut needed = Vec::new();
        let first = run.first.max(self.summary.start.next());
        let to = Mark::before(TransactionId(run.first.0 + u64::from(run.count)));
        let pieces = self.index.pieces(first, to, self.last());
        for Piece { ids, .. } in pieces.filter(|piece| piece.run == run) {
            self.damage.remove(ids);
            for range in lost {
                let (first, last) = (range.first.max(ids.first), range.last.min(ids.last));
                if first <= last {
                    self.damage.insert(IdRange { first, last }, ());
                    needed.push(IdRange { first, last });
                }
            }
        }
        (self.damage != before).then_some(needed)
    }

    pub(super) fn promise_session(&mut self, session: SessionId) -> Result<(), ReplayError> {
        if Some(session) <= self.promise {
            return Err(self.inconsistent(Inconsistency::Promise(session, named(self.promise))));
        }
        self.promise = Some(session);
        Ok(())
    }

    pub(super) fn join(&mut self, session: SessionId) -> Result<(), ReplayError> {
        if Some(session) != self.promise || self.joined(session) {
            return Err(self.inconsistent(Inconsistency::Join(session, named(self.promise))));
        }
        self.normal = Some(session);
        Ok(())
    }

    pub(super) fn cut(&mut self, keep: Position) -> Result<(), ReplayError> {
        let (low_water, own) = (self.low_water, self.summary.position());
        let set = self.summary.set_at(keep.version);
        if keep.last < low_water
            || keep.last < self.summary.start
            || keep.last > own.last
            || keep >= own
            || set.is_none_or(|set| set.at > keep.last)
        {
            return Err(self.inconsistent(Inconsistency::Cut { keep, low_water, own }));
        }
        self.summary.cut(keep);
        self.index.cut(keep.last);
        self.damage.cut(keep.last);
        self.forget_runs_of_no_record();
        Ok(())
    }

    pub(super) fn change(&mut self, change: SetChange) -> Result<(), ReplayError> {
        let own = self.summary.position();
        let follows = (change.at, change.version) == (own.last, own.version.next())
            && change.replicas.is_sound()
            && change.session <= self.promise
            && change.session >= self.last_session();
        if !follows {
            return Err(self.inconsistent(Inconsistency::Change { at: change.position(), own }));
        }
        self.summary.change(change);
        Ok(())
    }

    /// How far the log may be trimmed.
    pub(super) fn trimmable(&self, planted: Planted) -> Mark {
        match planted.has(PlantedBug::TrimUncommitted) {
            true => self.last(),
            false => self.low_water,
        }
    }

    pub(super) fn trim(&mut self, start: Mark, planted: Planted) -> Result<(), ReplayError> {
        if start <= self.summary.start || start > self.trimmable(planted) {
            let low_water = self.low_water;
            return Err(self.inconsistent(Inconsistency::Trim { start, low_water }));
        }
        self.summary.trim(start);
        self.index.trim(start);
        self.damage.trim(start);
        self.forget_runs_of_no_record();
        Ok(())
    }

    pub(super) fn reset(&mut self, base: LogSummary) -> Result<(), ReplayError> {
        let low_water = self.low_water;
        if !base.is_sound()
            || base.start != base.last
            || base.start < low_water
            || base.latest_session() > self.promise
        {
            return Err(self.inconsistent(Inconsistency::Reset { start: base.start, low_water }));
        }
        self.low_water = base.start;
        self.summary = base;
        self.forget_runs_of_no_record();
        Ok(())
    }

    /// A log without records may still have had a run that reached beyond its start or its end.
    fn forget_runs_of_no_record(&mut self) {
        if self.summary.start == self.last() {
            self.index = RunIndex::default();
            self.damage = RangeMap::default();
        }
    }

    /// Takes the repaired run for those of its ids that the log has of this session.
    pub(super) fn repair(
        &mut self,
        session: SessionId,
        first: TransactionId,
        count: u32,
        body: Body,
    ) -> Result<(), ReplayError> {
        let end = first.0.checked_add(u64::from(count)).filter(|_| count > 0);
        let Some(end) = end.filter(|_| body != Body::Missing) else {
            return Err(self.inconsistent(Inconsistency::Repair { first, count }));
        };
        let Some(held) = self.summary.ids_of(session) else { return Ok(()) };
        let wanted =
            IdRange { first: first.max(held.first), last: TransactionId(end - 1).min(held.last) };
        if wanted.first <= wanted.last {
            self.index.repair(first, count, body, wanted);
        }
        Ok(())
    }

    pub(super) fn extend(
        &mut self,
        session: SessionId,
        first: TransactionId,
        count: u32,
        low_water: Mark,
        body: Body,
    ) -> Result<(), ReplayError> {
        let last = self.last();
        let end = first.0.checked_add(u64::from(count)).filter(|_| count > 0);
        let Some(end) = end.filter(|_| first == last.next() && body != Body::Missing) else {
            return Err(self.inconsistent(Inconsistency::Records { first, count, last }));
        };
        if Some(session) > self.promise || Some(session) < self.last_session() {
            return Err(self.inconsistent(Inconsistency::Session { session, first }));
        }
        let end = Mark::before(TransactionId(end));
        if low_water < self.low_water || low_water > end {
            return Err(self.inconsistent(Inconsistency::LowWater(low_water, self.low_water, end)));
        }
        self.summary.extend(session, first, end);
        self.index.push(first, count, body);
        self.low_water = low_water;
        Ok(())
    }

    pub(super) fn raise_low_water(&mut self, mark: Mark) -> Result<(), ReplayError> {
        let last = self.last();
        if mark < self.low_water || mark > last {
            return Err(self.inconsistent(Inconsistency::LowWater(mark, self.low_water, last)));
        }
        self.low_water = mark;
        Ok(())
    }

    /// Whether marks, sessions and index agree with each other.
    pub fn is_consistent(&self) -> bool {
        self.low_water <= self.last()
            && self.normal <= self.promise
            && self.last_session() <= self.promise
            && self.summary.is_sound()
            && self.index.spans(self.summary.start, self.last())
    }

    fn inconsistent(&self, reason: Inconsistency) -> ReplayError {
        reason.at(self.partition)
    }
}
