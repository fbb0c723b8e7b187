//! How a journal can contradict itself.

use thiserror::Error;

use crate::id::{Mark, PartitionId, Position, SessionId, TransactionId};

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
    #[error("it is cut to {keep} while low-water mark and end are {low_water} and {own}")]
    Cut {
        /// What the cut leaves.
        keep: Position,
        /// The low-water mark.
        low_water: Mark,
        /// The log's end.
        own: Position,
    },
    /// A replica set that does not follow.
    #[error("the replica set is changed at {at} in a log that ends at {own}")]
    Change {
        /// After the change.
        at: Position,
        /// The log's end.
        own: Position,
    },
    /// Trimmed back, or what is not known to be committed.
    #[error("it is trimmed to {start} with low-water mark {low_water}")]
    Trim {
        /// The start asked for.
        start: Mark,
        /// The low-water mark.
        low_water: Mark,
    },
    /// Started over from what is no start, or before what is known to be committed.
    #[error("it starts over at {start} with low-water mark {low_water}")]
    Reset {
        /// The new start.
        start: Mark,
        /// The low-water mark.
        low_water: Mark,
    },
    /// No records where some were written again.
    #[error("{count} records from {first} are repaired")]
    Repair {
        /// The first record.
        first: TransactionId,
        /// How many.
        count: u32,
    },
    /// A checkpoint that does not agree with itself or what came after it.
    #[error("what its checkpoint says of it is no log")]
    Checkpoint,
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
