//! What a replica does about a request: the replica's side of the session protocol.
//!
//! Deciding changes nothing durable by itself: it yields at most one entry, which is then
//! journalled and folded in, and the answer.

use bytes::Bytes;

use crate::id::{Mark, SessionId, TransactionId};
use crate::journal::{Entry, EntryHead};
use crate::limits::Limits;
use crate::planted::{Planted, PlantedBug};
use crate::record::Run;
use crate::wire::{LogSummary, ReplicaAnswer, ReplicaRequest};

use super::named;
use super::refusal::Refusal;
use super::replica::{ReplayError, Replica};

/// A replica, and what the promised session told it so far.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Hosted {
    /// The durable state.
    pub(super) replica: Replica,
    /// The log chosen by the promised session, from `Adopt` until `Join`. Lost in a crash: the
    /// session then adopts again. While it is set the log is a prefix of it.
    adopted: Option<LogSummary>,
}

/// What comes of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
        Self { replica, adopted: None }
    }

    /// Folds in a promise: what a lower session chose is void.
    pub(super) fn promise(&mut self, session: SessionId) -> Result<(), ReplayError> {
        self.adopted = None;
        self.replica.promise_session(session)
    }

    /// Folds in a join: the log now is the session's own.
    pub(super) fn join(&mut self, session: SessionId) -> Result<(), ReplayError> {
        self.adopted = None;
        self.replica.join(session)
    }

    /// Decides about any request but a read.
    pub(super) fn decide(
        &mut self,
        session: SessionId,
        request: ReplicaRequest,
        payload: Bytes,
        limits: &Limits,
        planted: Planted,
    ) -> Result<Decision, Refusal> {
        if matches!(request, ReplicaRequest::Open { .. }) && Some(session) > self.replica.promise()
        {
            return Ok(self.on_open(session));
        }
        let session = self.served_as(session, planted)?;
        match request {
            ReplicaRequest::Open { .. } => Ok(Decision::answer(self.opened())),
            ReplicaRequest::Adopt { chosen } => self.on_adopt(session, chosen),
            ReplicaRequest::Copy { origin, first, count } => {
                self.check_reaches(first)?;
                let run = Run::verify(origin, first, count, payload, limits)?;
                self.on_copy(session, &run)
            }
            ReplicaRequest::Join { at } => self.on_join(session, at),
            ReplicaRequest::Append { first, count, committed } => {
                self.check_joined(session)?;
                self.check_reaches(first)?;
                let run = Run::verify(session, first, count, payload, limits)?;
                self.on_append(&run, committed)
            }
            ReplicaRequest::Commit { committed } => self.on_commit(session, committed),
            ReplicaRequest::Confirm { round } => {
                self.check_joined(session)?;
                Ok(Decision::AtOnce(ReplicaAnswer::Confirmed { round }))
            }
            ReplicaRequest::Resume => Ok(self.on_resume(session)),
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

    fn on_open(&self, session: SessionId) -> Decision {
        let head = EntryHead::Promise { partition: self.replica.partition(), session };
        Decision::control(Some(head), Some(self.opened()))
    }

    /// The log as it is now, in memory. It is sent when all of it is durable, and what changes it
    /// meanwhile can only come of the session that asked.
    fn opened(&self) -> ReplicaAnswer {
        let replica = &self.replica;
        ReplicaAnswer::Opened {
            normal: replica.normal(),
            log: replica.summary().clone(),
            low_water: replica.low_water(),
            start: replica.start(),
            replicas: replica.replicas().clone(),
        }
    }

    /// Cuts exactly what differs from the chosen log. A joined replica has nothing to cut: it says
    /// that it has the whole chosen log, so that a server that did not hear of the join asks for
    /// it once more and hears of it. A chosen log may be told again, or told longer.
    fn on_adopt(&mut self, session: SessionId, chosen: LogSummary) -> Result<Decision, Refusal> {
        let latest = chosen.sessions.last().map(|(latest, _)| *latest);
        if !chosen.is_sound() || latest > Some(session) {
            return Err(Refusal::Unsound);
        }
        let (last, low_water) = (self.replica.last(), self.replica.low_water());
        let keep = self.replica.summary().common(&chosen);
        if self.replica.joined(session) {
            return match keep == chosen.last {
                true => Ok(Decision::answer(ReplicaAnswer::Adopted { last: keep })),
                false => Err(Refusal::AlreadyJoined),
            };
        }
        if self.adopted.as_ref().is_some_and(|before| before.common(&chosen) != before.last) {
            return Err(Refusal::OtherChoice);
        }
        if keep < low_water {
            return Err(Refusal::BelowLowWater { keep, low_water });
        }
        self.adopted = Some(chosen);
        let partition = self.replica.partition();
        let cut = (last > keep).then_some(EntryHead::Cut { partition, keep });
        Ok(Decision::control(cut, Some(ReplicaAnswer::Adopted { last: keep })))
    }

    fn on_copy(&self, session: SessionId, run: &Run) -> Result<Decision, Refusal> {
        if self.replica.joined(session) {
            return Err(Refusal::AlreadyJoined);
        }
        let chosen = self.adopted.as_ref().ok_or(Refusal::NotAdopted)?;
        let wrote = |id| chosen.session_at(id) == Some(run.session);
        if !wrote(run.first) || !run.last().id().is_some_and(wrote) {
            return Err(Refusal::NotChosen { first: run.first });
        }
        let entry = self.unknown_part(run, self.replica.low_water());
        let copied = ReplicaAnswer::Copied { last: run.last() };
        Ok(Decision::Durably { entry, answer: Some(copied) })
    }

    /// Joins a log that equals the chosen one; a repeat changes nothing.
    fn on_join(&self, session: SessionId, at: Mark) -> Result<Decision, Refusal> {
        let last = self.replica.last();
        if self.replica.joined(session) {
            return match at <= last {
                true => Ok(Decision::answer(ReplicaAnswer::Joined)),
                false => Err(Refusal::JoinElsewhere { at, last, chosen: last }),
            };
        }
        let chosen = self.adopted.as_ref().ok_or(Refusal::NotAdopted)?.last;
        if at != chosen || at != last {
            return Err(Refusal::JoinElsewhere { at, last, chosen });
        }
        let head = EntryHead::Join { partition: self.replica.partition(), session };
        Ok(Decision::control(Some(head), Some(ReplicaAnswer::Joined)))
    }

    /// Takes what is new of a run. The answer names the run's end, even where the log already
    /// reaches further: what a lost connection still delivers late must not surprise the server.
    fn on_append(&self, run: &Run, committed: Mark) -> Result<Decision, Refusal> {
        let before = self.replica.last();
        if before.includes(run.first)
            && self.replica.summary().session_at(run.first) != Some(run.session)
        {
            return Err(Refusal::OtherSession { first: run.first });
        }
        let end = before.max(run.last());
        let low_water = self.replica.low_water().max(committed.min(end));
        let entry = self.unknown_part(run, low_water).or_else(|| self.raised(low_water));
        let acked = ReplicaAnswer::Acked { last: run.last() };
        Ok(Decision::Durably { entry, answer: Some(acked) })
    }

    fn on_commit(&self, session: SessionId, committed: Mark) -> Result<Decision, Refusal> {
        self.check_joined(session)?;
        let entry = self.raised(committed.min(self.replica.last()));
        Ok(Decision::Durably { entry, answer: None })
    }

    fn on_resume(&self, session: SessionId) -> Decision {
        let joined = self.replica.joined(session);
        Decision::answer(ReplicaAnswer::Resumed { joined, last: self.replica.last() })
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
