//! Between a partition's server and its replicas.

use serde::{Deserialize, Serialize};

use crate::id::{
    CreationId, IdRange, Mark, Member, PartitionId, Position, ReplicaSet, SessionId, SetVersion,
    StorageId, TransactionId,
};
use crate::log::{LogSummary, SetChange};
use crate::wire::Version;

/// The most damaged ranges named at once.
pub const MAX_RANGES: usize = 64;

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
    /// and `replicas` or `learner` names the node with this very disk.
    Open {
        /// The version of the newest replica set that the server has heard of.
        version: SetVersion,
        /// That set.
        replicas: ReplicaSet,
        /// A replica that catches up before it is added.
        learner: Option<Member>,
    },
    /// Cut what differs from the chosen log, or, where the log ends before the chosen one's first
    /// record, start over there. Sent to promised, not yet joined replicas.
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
        /// The chosen log's end.
        at: Position,
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
    /// The next change of the replica set, after exactly the records it says. Sent to adopted or
    /// joined replicas.
    Change(SetChange),
    /// Forget the oldest records, as far as this replica knows them to be committed. Sent to joined
    /// replicas; not answered.
    Trim {
        /// Everything up to here.
        start: Mark,
    },
    /// Records that the replica can't read; the frame's payload is the run. Sent to adopted or
    /// joined replicas.
    Repair {
        /// The session that sequenced the run.
        origin: SessionId,
        /// The first record.
        first: TransactionId,
        /// How many.
        count: u32,
    },
}

impl ReplicaRequest {
    /// Whether the frame's payload is a run of records to be kept.
    pub fn brings_records(&self) -> bool {
        matches!(self, Self::Append { .. } | Self::Copy { .. } | Self::Repair { .. })
    }

    /// The version of the protocol that has it.
    pub fn since(&self) -> Version {
        match self {
            Self::Open { learner: Some(_), .. }
            | Self::Change(_)
            | Self::Trim { .. }
            | Self::Repair { .. } => Version::UPKEEP,
            Self::Open { learner: None, .. }
            | Self::Adopt { .. }
            | Self::Copy { .. }
            | Self::Join { .. }
            | Self::Append { .. }
            | Self::Commit { .. }
            | Self::Confirm { .. }
            | Self::Resume
            | Self::Read { .. } => Version::FIRST,
        }
    }
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
        /// The disk that answers.
        storage: StorageId,
        /// The last session joined, if any.
        normal: Option<SessionId>,
        /// The log.
        log: LogSummary,
        /// Known to be committed.
        low_water: Mark,
        /// Records of the log that can't be read; at most [`MAX_RANGES`], the first ones.
        damaged: Vec<IdRange>,
    },
    /// A higher session is promised.
    Fenced {
        /// The promise.
        promise: SessionId,
    },
    /// This node is no replica of that creation of the partition.
    Unknown,
    /// This node lost part of its journal and can't tell what it had promised: it gives sound
    /// records and nothing else.
    Suspect {
        /// The last record that it can still name.
        last: Mark,
    },
    /// What differed is durably cut.
    Adopted {
        /// Where the log now ends.
        at: Position,
        /// What is left and can't be read; at most [`MAX_RANGES`], the first ones.
        damaged: Vec<IdRange>,
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
        /// The disk that answers.
        storage: StorageId,
        /// Whether this session was durably joined.
        joined: bool,
        /// Where the durable log ends.
        at: Position,
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
    /// The change is durable.
    Changed {
        /// Where the log ended right after it.
        at: Position,
    },
    /// What can't be read, after a repair or because it was found out; at most [`MAX_RANGES`],
    /// the first ones.
    Damaged {
        /// The records.
        ranges: Vec<IdRange>,
    },
    /// Whether there is room for more records; told unasked, and when a session opens or resumes
    /// while there is none. Records that come all the same are out of place.
    Space {
        /// There is none.
        is_full: bool,
    },
    /// Whether the partition has more bytes than it may have on this disk; told like
    /// [`Self::Space`]. Nothing new should be appended; records that come are taken all the same.
    Quota {
        /// It has.
        is_over: bool,
    },
}

impl ReplicaAnswer {
    /// The version of the protocol that has it.
    pub fn since(&self) -> Version {
        match self {
            Self::Space { .. } | Self::Quota { .. } => Version::SPACE,
            Self::Changed { .. } | Self::Damaged { .. } => Version::UPKEEP,
            Self::Opened { .. }
            | Self::Fenced { .. }
            | Self::Unknown
            | Self::Suspect { .. }
            | Self::Adopted { .. }
            | Self::Copied { .. }
            | Self::Joined
            | Self::Acked { .. }
            | Self::Confirmed { .. }
            | Self::Resumed { .. }
            | Self::Records { .. }
            | Self::ReadFailed { .. }
            | Self::OutOfPlace { .. } => Version::FIRST,
        }
    }
}
