//! A replica as a session and a place for each id, kept naively.

use std::collections::BTreeMap;

use crate::id::{Mark, Position, SessionId, SetVersion, TransactionId};
use crate::journal::{EntryHead, Place};
use crate::log::{LogSummary, SetChange};
use crate::storage::Replica;
use crate::storage::testing::{Written, empty_log};

/// One record: who sequenced it, and where its newest copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) session: SessionId,
    pub(super) place: Option<Place>,
}

/// A replica's log by id, and its marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) log: BTreeMap<u64, Kept>,
    pub(super) start: Mark,
    pub(super) last: Mark,
    /// Who sequenced the last record trimmed.
    before: Option<SessionId>,
    pub(super) sets: Vec<SetChange>,
    pub(super) promise: Option<SessionId>,
    pub(super) normal: Option<SessionId>,
    pub(super) low_water: Mark,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            log: BTreeMap::new(),
            start: Mark::NONE,
            last: Mark::NONE,
            before: None,
            sets: empty_log().sets,
            promise: None,
            normal: None,
            low_water: Mark::NONE,
        }
    }

    pub(super) fn fold<'a>(journal: impl IntoIterator<Item = &'a Written>) -> Self {
        let mut model = Self::new();
        journal.into_iter().for_each(|written| model.apply(written));
        model
    }

    pub(super) fn apply(&mut self, written: &Written) {
        let place = written.place;
        match &written.head {
            EntryHead::Promise { session, .. } => self.promise = Some(*session),
            EntryHead::Join { session, .. } => self.normal = Some(*session),
            EntryHead::Cut { keep, .. } => {
                self.last = keep.last;
                self.log.retain(|id, _| keep.last.includes(TransactionId(*id)));
                self.sets.retain(|set| set.version <= keep.version);
            }
            EntryHead::Records { session, first, count, low_water, .. } => {
                let kept = Kept { session: *session, place };
                let ids = first.0..first.0 + u64::from(*count);
                self.last = Mark::before(TransactionId(ids.end));
                self.log.extend(ids.map(|id| (id, kept)));
                self.low_water = *low_water;
            }
            EntryHead::Repair { session, first, count, .. } => {
                for id in first.0..first.0 + u64::from(*count) {
                    if let Some(kept) = self.log.get_mut(&id).filter(|k| k.session == *session) {
                        kept.place = place;
                    }
                }
            }
            EntryHead::Change { change, .. } => self.sets.push(change.clone()),
            EntryHead::Trim { start, .. } => {
                self.before = Some(self.log[&(start.count() - 1)].session);
                self.start = *start;
                self.log.retain(|id, _| !start.includes(TransactionId(*id)));
                while self.sets.get(1).is_some_and(|set| set.at < *start) {
                    self.sets.remove(0);
                }
            }
            EntryHead::Reset { base, .. } => {
                self.before = base.start.id().and_then(|id| base.session_at(id));
                (self.start, self.last, self.low_water) = (base.start, base.last, base.start);
                self.log.clear();
                self.sets.clone_from(&base.sets);
            }
            EntryHead::LowWater { mark, .. } => self.low_water = *mark,
            EntryHead::Create { .. }
            | EntryHead::Coordinator(_)
            | EntryHead::Checkpoint { .. }
            | EntryHead::CheckpointEnd { .. }
            | EntryHead::Enroll => {}
        }
    }

    /// What a replica is, as far as its records are durable where it says they are.
    pub(super) fn of(replica: &Replica) -> Self {
        let (log, start, last) = (replica.summary(), replica.summary().start, replica.last());
        let session = |id| log.session_at(TransactionId(id)).unwrap();
        let kept = |id| (id, Kept { session: session(id), place: None });
        let mut ids: BTreeMap<_, _> = (start.count()..last.count()).map(kept).collect();
        for piece in replica.index().pieces(start.next(), last, last) {
            for id in piece.ids.first.0..=piece.ids.last.0 {
                ids.get_mut(&id).expect("the index is within the log").place =
                    Some(piece.run.place);
            }
        }
        Self {
            log: ids,
            start,
            last,
            before: start.id().and_then(|id| log.session_at(id)),
            sets: log.sets.clone(),
            promise: replica.promise(),
            normal: replica.normal(),
            low_water: replica.low_water(),
        }
    }

    /// The same without the places: those of what is not durable are not known.
    pub(super) fn without_places(mut self) -> Self {
        self.log.values_mut().for_each(|kept| kept.place = None);
        self
    }

    pub(super) fn joined(&self, session: SessionId) -> bool {
        self.normal == Some(session)
    }

    pub(super) fn position(&self) -> Position {
        Position { last: self.last, version: self.version() }
    }

    pub(super) fn version(&self) -> SetVersion {
        self.sets.last().map_or(SetVersion::FIRST, |set| set.version)
    }

    fn session_at(&self, id: u64) -> Option<SessionId> {
        let before = self.before.filter(|_| id + 1 == self.start.count());
        self.log.get(&id).map(|kept| kept.session).or(before)
    }

    /// How far the log is the same as another one, id by id and change by change.
    pub(super) fn common(&self, other: &LogSummary) -> Position {
        let same = |id: &u64| {
            let there = other.session_at(TransactionId(*id));
            there.is_some() && self.session_at(*id) == there
        };
        let last = (0..self.last.count()).rev().find(same).map(TransactionId);
        let version = self.sets.iter().rev().find(|set| other.sets.contains(set));
        Position {
            last: last.map_or(Mark::NONE, Mark::at),
            version: version.map_or(SetVersion::FIRST, |set| set.version),
        }
    }
}
