//! Between a partition's server and its replicas.

use serde::{Deserialize, Serialize};

use crate::id::{CreationId, Mark, PartitionId, ReplicaSet, SessionId, TransactionId};

/// A server asks something of one replica.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ToReplica {
    /// The partition.
    pub partition: PartitionId,
    /// Its creation; a replica answers for this one only.
    pub creation: CreationId,
    /// The asking session.
    pub session: SessionId,
    /// What is asked.
    pub request: ReplicaRequest,
}

/// What a server asks of a replica.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReplicaRequest {
    /// Promise this session and say what you have. Creates the replica if the node never had it
    /// and `replicas` names the node with this very disk.
    Open {
        /// The partition's replica set.
        replicas: ReplicaSet,
    },
    /// Cut what differs from the chosen log. Sent to promised, not yet joined replicas.
    Adopt {
        /// The chosen log.
        chosen: LogSummary,
    },
    /// Catch up: records of the chosen log, with the session that first sequenced them. The
    /// frame's payload is the run. Sent to adopted, not yet joined replicas.
    Copy {
        /// The session that sequenced the run.
        origin: SessionId,
        /// The first record.
        first: TransactionId,
        /// How many.
        count: u32,
    },
    /// The log equals the chosen prefix up to here: join.
    Join {
        /// The chosen log's last id.
        at: Mark,
    },
    /// New records of this session; the frame's payload. Sent to joined replicas (the join may
    /// still be on its way to the disk).
    Append {
        /// The first record.
        first: TransactionId,
        /// How many.
        count: u32,
        /// The session's high-water mark.
        committed: Mark,
    },
    /// The session's high-water mark, when no records carry it.
    Commit {
        /// The session's high-water mark.
        committed: Mark,
    },
    /// Is this session still the promised and joined one? Answered from memory.
    Confirm {
        /// Numbers the round.
        round: u64,
    },
    /// The connection is new: where were we?
    Resume,
    /// Records from here on. Any replica that has them may be asked.
    Read {
        /// Numbers the request.
        request: u64,
        /// The first record wanted.
        first: TransactionId,
        /// The last record wanted.
        to: Mark,
        /// Roughly how many bytes at most; at least one record comes.
        max_bytes: u32,
    },
}

/// A replica says something to the server of a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FromReplica {
    /// The partition.
    pub partition: PartitionId,
    /// The session that is answered.
    pub session: SessionId,
    /// The answer.
    pub answer: ReplicaAnswer,
}

/// What a replica answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReplicaAnswer {
    /// The session is durably promised; this is the log as it was then.
    Opened {
        /// The last session joined, if any.
        normal: Option<SessionId>,
        /// The log.
        log: LogSummary,
        /// Known to be committed.
        low_water: Mark,
        /// The first id still kept.
        start: TransactionId,
        /// The replica set in this log.
        replicas: ReplicaSet,
    },
    /// A higher session is promised.
    Fenced {
        /// The promise.
        promise: SessionId,
    },
    /// This node is no replica of that creation of the partition.
    Unknown,
    /// What differed is durably cut.
    Adopted {
        /// The last id that is left.
        last: Mark,
    },
    /// Copied records are durable.
    Copied {
        /// The last durable id.
        last: Mark,
    },
    /// The join is durable.
    Joined,
    /// Appended records are durable.
    Acked {
        /// The last durable id.
        last: Mark,
    },
    /// The answer to `Confirm`.
    Confirmed {
        /// The round.
        round: u64,
    },
    /// The answer to `Resume`, when the session is the promised one.
    Resumed {
        /// Whether this session was durably joined.
        joined: bool,
        /// The last durable id.
        last: Mark,
    },
    /// Records read; the frame's payload is the run. One request may be answered by several.
    Records {
        /// The request.
        request: u64,
        /// The session that sequenced the run.
        origin: SessionId,
        /// The first record.
        first: TransactionId,
        /// How many.
        count: u32,
        /// Whether this is the last answer to the request.
        done: bool,
    },
    /// The records could not be read; nothing more comes of the request.
    ReadFailed {
        /// The request.
        request: u64,
        /// Why, for people.
        reason: String,
    },
    /// The request does not fit the replica's state; the server should open it again.
    OutOfPlace {
        /// Why, for people.
        reason: String,
    },
}

/// Which sessions wrote which part of a log: two logs that name the same session at the same id
/// are equal up to there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct LogSummary {
    /// Each session that has records, with the first of them; both ascending.
    pub sessions: Vec<(SessionId, TransactionId)>,
    /// The last id.
    pub last: Mark,
}

impl LogSummary {
    /// The session that wrote `id`, if the log has it.
    pub fn session_at(&self, id: TransactionId) -> Option<SessionId> {
        if !self.last.includes(id) {
            return None;
        }
        let after = self.sessions.partition_point(|(_, first)| *first <= id);
        after.checked_sub(1).map(|index| self.sessions[index].0)
    }

    /// How far this log and `other` agree: the greatest mark at which both name the same session.
    pub fn common(&self, other: &Self) -> Mark {
        let mut best = Mark::NONE;
        for (index, (session, first)) in self.sessions.iter().enumerate() {
            let there = other.sessions.binary_search_by_key(session, |(session, _)| *session);
            // A session that begins elsewhere there is no agreement, whatever its name says.
            let Some(there) = there.ok().filter(|there| other.sessions[*there].1 == *first) else {
                continue;
            };
            best = best.max(self.end_of(index).min(other.end_of(there)));
        }
        best
    }

    /// Whether sessions and first ids ascend strictly and stay within the log.
    pub fn is_sound(&self) -> bool {
        self.sessions.first().is_none_or(|(_, first)| *first == TransactionId::FIRST)
            && self.sessions.is_empty() == (self.last == Mark::NONE)
            && self.sessions.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1)
            && self.sessions.last().is_none_or(|(_, first)| self.last.includes(*first))
    }

    /// Notes that `session` wrote records from `first` up to `last`.
    pub fn extend(&mut self, session: SessionId, first: TransactionId, last: Mark) {
        debug_assert_eq!(self.last.next(), first);
        if self.sessions.last().is_none_or(|(latest, _)| *latest != session) {
            self.sessions.push((session, first));
        }
        self.last = last;
    }

    /// Forgets everything after `keep`.
    pub fn cut(&mut self, keep: Mark) {
        self.last = self.last.min(keep);
        let last = self.last;
        self.sessions.retain(|(_, first)| last.includes(*first));
    }

    fn end_of(&self, index: usize) -> Mark {
        match self.sessions.get(index + 1) {
            Some((_, next)) => Mark::before(*next),
            None => self.last,
        }
    }
}
