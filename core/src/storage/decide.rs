//! What a replica does about a request: the replica's side of the session protocol. How a log comes
//! to be the chosen one is in [`choice`], how it grows from there in [`growth`].
//!
//! Deciding changes nothing durable by itself: it yields at most one entry, which is then
//! journalled and folded in, and the answer.

mod choice;
mod growth;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{Mark, SessionId, StorageId, TransactionId};
use crate::io::Caller;
use crate::journal::{Entry, EntryHead};
use crate::limits::Limits;
use crate::log::LogSummary;
use crate::planted::{Planted, PlantedBug};
use crate::record::Run;
use crate::wire::{ReplicaAnswer, ReplicaRequest};

use super::ranges::{RangeMap, named_ranges};
use super::refusal::Refusal;
use super::{Asker, named};
use super::{ReplayError, Replica};

/// What every decision rests on beside the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Terms {
    /// This disk.
    pub(super) storage: StorageId,
    /// Bounds of what comes.
    pub(super) limits: Limits,
    /// There is no room for records.
    pub(super) is_full: bool,
    /// The rule that is broken, if one is.
    pub(super) planted: Planted,
}

/// A replica, and what the promised session told it so far.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Hosted {
    /// The durable state.
    pub(super) replica: Replica,
    /// The log chosen by the promised session, from `Adopt` until `Join`. Lost in a crash: the
    /// session then adopts again. While it is set the log is a prefix of it, unless the session was
    /// joined before and has gone on since.
    adopted: Option<Box<LogSummary>>,
    /// Where the promised session asked from last, while that connection lives.
    server: Option<Caller>,
    /// It keeps as many bytes as it may; as it was when this was last looked at.
    is_over_quota: bool,
}

/// What comes of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Decision {
    /// The answer is known from memory alone.
    AtOnce(ReplicaAnswer),
    /// An entry, if anything changes, and what to say once all that is in memory is durable.
    Durably { entry: Option<Entry>, answer: Option<ReplicaAnswer> },
}

impl Decision {
    fn answer(answer: ReplicaAnswer) -> Self {
        Self::Durably { entry: None, answer: Some(answer) }
    }

    fn control(head: Option<EntryHead>, answer: Option<ReplicaAnswer>) -> Self {
        let entry = head.map(|head| Entry { head, body: Bytes::new() });
        Self::Durably { entry, answer }
    }
}

impl Hosted {
    pub(super) fn new(replica: Replica) -> Self {
        Self { replica, adopted: None, server: None, is_over_quota: false }
    }

    /// Folds in a promise: what a lower session chose is void.
    pub(super) fn promise(&mut self, session: SessionId) -> Result<(), ReplayError> {
        (self.adopted, self.server) = (None, None);
        self.replica.promise_session(session)
    }

    /// Folds in a join: the log now is the session's own.
    pub(super) fn join(&mut self, session: SessionId) -> Result<(), ReplayError> {
        self.adopted = None;
        self.replica.join(session)
    }

    /// Who is to hear of the disk: the promised session.
    pub(super) fn told(&self) -> Option<Asker> {
        let (to, session) = (self.server?, self.replica.promise()?);
        Some(Asker { to, partition: self.replica.partition(), session })
    }

    /// Who is to hear of damage: the promised session, once the log at hand is its own.
    pub(super) fn concerned(&self) -> Option<Asker> {
        let asker = self.told()?;
        let is_its_own = self.adopted.is_some() || self.replica.joined(asker.session);
        is_its_own.then_some(asker)
    }

    /// The bug [`PlantedBug::StaleCompletion`]: who hears what completes of a lower session, as soon
    /// as the promised one has written here.
    pub(super) fn successor(&self) -> Option<Asker> {
        let has_written = |asker: &Asker| self.replica.last_session() == Some(asker.session);
        self.concerned().filter(has_written)
    }

    /// What can't be read of what is kept; where a chosen log was adopted, of what that keeps.
    pub(super) fn unrepaired(&self) -> RangeMap<()> {
        let own = self.replica.summary().start;
        let start = self.adopted.as_ref().map_or(own, |chosen| own.max(chosen.start));
        let mut left = self.replica.unrepaired();
        left.trim(start);
        left
    }

    /// Whether it keeps as many bytes as it may.
    pub(super) fn is_over_quota(&self) -> bool {
        self.is_over_quota
    }

    /// Looks whether it keeps more than `quota_bytes`, or is well below that again. Whether this has
    /// changed.
    pub(super) fn weigh(&mut self, quota_bytes: u64) -> bool {
        let before = self.is_over_quota;
        let most = if before { quota_bytes - quota_bytes / 16 } else { quota_bytes };
        self.is_over_quota = self.replica.stored_bytes() > most;
        before != self.is_over_quota
    }

    /// Notes where a session asks from.
    pub(super) fn asked_from(&mut self, session: SessionId, caller: Caller) {
        if self.replica.promise() == Some(session) {
            self.server = Some(caller);
        }
    }

    /// A connection is gone.
    pub(super) fn on_closed(&mut self, caller: Caller) {
        self.server.take_if(|server| *server == caller);
    }

    /// Decides about any request but a read.
    pub(super) fn decide(
        &mut self,
        session: SessionId,
        request: ReplicaRequest,
        payload: Bytes,
        terms: Terms,
    ) -> Result<Decision, Refusal> {
        if matches!(request, ReplicaRequest::Open { .. }) && Some(session) > self.replica.promise()
        {
            return Ok(self.on_open(session, terms));
        }
        let session = self.served_as(session, terms.planted)?;
        if terms.is_full && request.brings_records() {
            return Err(Refusal::Full);
        }
        match request {
            ReplicaRequest::Open { .. } => Ok(Decision::answer(self.opened(terms))),
            ReplicaRequest::Adopt { chosen } => self.on_adopt(session, chosen, terms.planted),
            ReplicaRequest::Copy { origin, first, count } => {
                self.check_reaches(first)?;
                let run = Run::verify(origin, first, count, payload, &terms.limits)?;
                self.on_copy(session, &run, terms.planted)
            }
            ReplicaRequest::Join { at } => self.on_join(session, at, terms.planted),
            ReplicaRequest::Append { first, count, committed } => {
                self.check_joined(session)?;
                self.check_reaches(first)?;
                let run = Run::verify(session, first, count, payload, &terms.limits)?;
                self.on_append(&run, committed)
            }
            ReplicaRequest::Commit { committed } => self.on_commit(session, committed),
            ReplicaRequest::Change(change) => self.on_change(session, change),
            ReplicaRequest::Trim { start } => self.on_trim(session, start, terms.planted),
            ReplicaRequest::Repair { origin, first, count } => {
                self.check_reaches(first)?;
                let run = Run::verify(origin, first, count, payload, &terms.limits)?;
                self.on_repair(session, run, terms.planted)
            }
            ReplicaRequest::Confirm { round } => {
                self.check_joined(session)?;
                Ok(Decision::AtOnce(ReplicaAnswer::Confirmed { round }))
            }
            ReplicaRequest::Resume => Ok(self.on_resume(session, terms.storage)),
            ReplicaRequest::Read { .. } => unreachable!("reads ask for no decision"),
        }
    }

    /// Which session a request is served as: its own, if that is the promised one.
    fn served_as(&self, session: SessionId, planted: Planted) -> Result<SessionId, Refusal> {
        let promise = match self.replica.promise() {
            Some(promise) if session <= promise => promise,
            promise => return Err(Refusal::NotOpened { promise: named(promise) }),
        };
        if session == promise {
            return Ok(session);
        }
        // The planted bug serves a lower session as the one joined last, as far as the log's
        // sessions still ascend: nothing but the missing fence must give it away.
        let normal = self.replica.normal().filter(|n| self.replica.last_session() <= Some(*n));
        match normal.filter(|_| planted.has(PlantedBug::SkipPromiseCheck)) {
            Some(normal) => Ok(normal),
            None => Err(Refusal::Fenced { promise }),
        }
    }

    fn on_open(&self, session: SessionId, terms: Terms) -> Decision {
        let head = EntryHead::Promise { partition: self.replica.partition(), session };
        Decision::control(Some(head), Some(self.opened(terms)))
    }

    /// The log as it is now, in memory. It is sent when all of it is durable, and what changes it
    /// meanwhile can only come of the session that asked.
    fn opened(&self, terms: Terms) -> ReplicaAnswer {
        let replica = &self.replica;
        let mut log = replica.summary().clone();
        if terms.planted.has(PlantedBug::OpenBeforeInFlight) {
            let durable = replica.index().readable(log.last).max(log.start);
            log.cut(log.position_at(durable));
        }
        ReplicaAnswer::Opened {
            storage: terms.storage,
            normal: replica.normal(),
            low_water: replica.low_water().min(log.last),
            damaged: named_ranges(&self.unrepaired()),
            log,
        }
    }

    fn on_resume(&self, session: SessionId, storage: StorageId) -> Decision {
        let (joined, at) = (self.replica.joined(session), self.replica.summary().position());
        Decision::answer(ReplicaAnswer::Resumed { storage, joined, at })
    }

    fn check_joined(&self, session: SessionId) -> Result<(), Refusal> {
        match self.replica.joined(session) {
            true => Ok(()),
            false => Err(Refusal::NotJoined { normal: named(self.replica.normal()) }),
        }
    }

    /// Records must start within the log or right after it; checked before their bytes are.
    fn check_reaches(&self, first: TransactionId) -> Result<(), Refusal> {
        let last = self.replica.last();
        match first <= last.next() {
            true => Ok(()),
            false => Err(Refusal::Gap { first, last }),
        }
    }

    /// The entry for the part of a run that the log does not have; it shares the run's bytes.
    fn unknown_part(&self, run: &Run, low_water: Mark) -> Option<Entry> {
        let part = run.slice(self.replica.last().next(), run.last())?;
        let head = EntryHead::Records {
            partition: self.replica.partition(),
            session: part.session,
            first: part.first,
            count: part.count,
            low_water,
        };
        Some(Entry { head, body: part.bytes })
    }

    fn raised(&self, mark: Mark) -> Option<Entry> {
        let head = EntryHead::LowWater { partition: self.replica.partition(), mark };
        (mark > self.replica.low_water()).then(|| Entry { head, body: Bytes::new() })
    }
}
