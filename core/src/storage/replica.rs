//! One replica's durable state as a fold over its journal entries.

use thiserror::Error;

use crate::id::{CreationId, Mark, PartitionId, ReplicaSet, SessionId, TransactionId};
use crate::io::Ticket;
use crate::journal::Place;
use crate::wire::LogSummary;

use super::index::{Body, RunIndex};
use super::named;

/// What one storage node keeps of one partition. Everything here comes from journal entries; in a
/// running node it is ahead of the disk by what is in flight.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Replica {
    partition: PartitionId,
    creation: CreationId,
    replicas: ReplicaSet,
    promise: Option<SessionId>,
    normal: Option<SessionId>,
    summary: LogSummary,
    low_water: Mark,
    index: RunIndex,
}

impl Replica {
    /// A replica that has promised nothing and holds nothing.
    pub(super) fn new(partition: PartitionId, creation: CreationId, replicas: ReplicaSet) -> Self {
        Self {
            partition,
            creation,
            replicas,
            promise: None,
            normal: None,
            summary: LogSummary::default(),
            low_water: Mark::NONE,
            index: RunIndex::default(),
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

    /// The replica set in this log.
    pub fn replicas(&self) -> &ReplicaSet {
        &self.replicas
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

    /// The first id kept.
    pub fn start(&self) -> TransactionId {
        TransactionId::FIRST
    }

    /// Whether this session is the last one joined.
    pub fn joined(&self, session: SessionId) -> bool {
        self.normal == Some(session)
    }

    /// The session of the last record.
    pub(super) fn last_session(&self) -> Option<SessionId> {
        self.summary.sessions.last().map(|(session, _)| *session)
    }

    /// Where the records are.
    pub(super) fn index(&self) -> &RunIndex {
        &self.index
    }

    /// A body on its way to the disk has arrived.
    pub(super) fn placed(&mut self, ticket: Ticket, place: Place) {
        self.index.placed(ticket, place);
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

    pub(super) fn cut(&mut self, keep: Mark) -> Result<(), ReplayError> {
        if keep < self.low_water || keep >= self.last() {
            let (low_water, last) = (self.low_water, self.last());
            return Err(self.inconsistent(Inconsistency::Cut { keep, low_water, last }));
        }
        self.summary.cut(keep);
        self.index.cut(keep);
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
            && self.index.spans(self.last())
    }

    fn inconsistent(&self, reason: Inconsistency) -> ReplayError {
        reason.at(self.partition)
    }
}

/// A journal entry does not follow from those before it: the journal was written by something
/// else, or damaged in a way its checksums do not show.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the journal's entries for partition {partition} contradict each other: {reason}")]
pub struct ReplayError {
    /// The partition.
    pub partition: PartitionId,
    /// What does not fit.
    pub reason: Inconsistency,
}

/// How an entry contradicts those before it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Inconsistency {
    /// Created twice.
    #[error("it is created a second time")]
    Created,
    /// Something about a partition that was never created.
    #[error("nothing created it before")]
    NotCreated,
    /// Promised a session that is not higher.
    #[error("session {0} is promised after {1}")]
    Promise(SessionId, String),
    /// Joined a session that is not the promised one, or a second time.
    #[error("session {0} is joined while {1} is promised")]
    Join(SessionId, String),
    /// Cut what is known to be committed, or nothing at all.
    #[error("it is cut to {keep} while low-water mark and last id are {low_water} and {last}")]
    Cut {
        /// What the cut leaves.
        keep: Mark,
        /// The low-water mark.
        low_water: Mark,
        /// The last id.
        last: Mark,
    },
    /// Records that do not start right after the last id, or none at all.
    #[error("{count} records from {first} follow {last}")]
    Records {
        /// The first record.
        first: TransactionId,
        /// How many.
        count: u32,
        /// The last id before.
        last: Mark,
    },
    /// Records of a session that could not write then.
    #[error("session {session} wrote {first} out of turn")]
    Session {
        /// The session.
        session: SessionId,
        /// Its first record.
        first: TransactionId,
    },
    /// A low-water mark that goes back, or beyond the last id.
    #[error("low-water mark {0} follows {1} in a log that ends at {2}")]
    LowWater(Mark, Mark, Mark),
}

impl Inconsistency {
    /// Names the partition.
    pub(super) fn at(self, partition: PartitionId) -> ReplayError {
        ReplayError { partition, reason: self }
    }
}
