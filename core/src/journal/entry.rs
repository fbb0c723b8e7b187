//! What a journal holds.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::coordinator::Change;
use crate::id::{
    CheckpointNumber, CreationId, Mark, PartitionId, Position, SessionId, TransactionId,
};
use crate::log::{LogSummary, SetChange};

/// One durable fact: a small head, and for records a body that is written as it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// What happened.
    pub head: EntryHead,
    /// A run's bytes, or nothing.
    pub body: Bytes,
}

/// What an entry says. Those without a body are *control entries*.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EntryHead {
    /// This replica of a partition came to be.
    Create {
        /// The partition.
        partition: PartitionId,
        /// Its creation.
        creation: CreationId,
        /// The replica set it knows of.
        set: SetChange,
    },
    /// Every session below this one is refused from now on.
    Promise {
        /// The partition.
        partition: PartitionId,
        /// The promised session.
        session: SessionId,
    },
    /// The log was cut: only what is up to `keep` is left.
    Cut {
        /// The partition.
        partition: PartitionId,
        /// The new end.
        keep: Position,
    },
    /// The log equals the session's chosen prefix.
    Join {
        /// The partition.
        partition: PartitionId,
        /// The joined session.
        session: SessionId,
    },
    /// A run of records; the entry's body.
    Records {
        /// The partition.
        partition: PartitionId,
        /// The session that sequenced them.
        session: SessionId,
        /// The first record's id.
        first: TransactionId,
        /// How many.
        count: u32,
        /// The low-water mark when they were written.
        low_water: Mark,
    },
    /// The replica set was changed, at the log's end.
    Change {
        /// The partition.
        partition: PartitionId,
        /// The change.
        change: SetChange,
    },
    /// The oldest records were trimmed.
    Trim {
        /// The partition.
        partition: PartitionId,
        /// Everything up to here.
        start: Mark,
    },
    /// The log lies before the start of the one it should equal: it starts over there.
    Reset {
        /// The partition.
        partition: PartitionId,
        /// The new start, and nothing after it.
        base: LogSummary,
    },
    /// Records written again, because what was written first can't be read; the entry's body. It
    /// stands for those of its ids that the log has of this session.
    Repair {
        /// The partition.
        partition: PartitionId,
        /// The session that sequenced them.
        session: SessionId,
        /// The first record's id.
        first: TransactionId,
        /// How many.
        count: u32,
    },
    /// Everything up to here is known to be committed.
    LowWater {
        /// The partition.
        partition: PartitionId,
        /// The low-water mark.
        mark: Mark,
    },
    /// The embedded coordinator's state changed.
    Coordinator(Change),
    /// A part of the state that all entries before have led to; the entry's body.
    Checkpoint {
        /// Which checkpoint.
        number: CheckpointNumber,
        /// Which part of it, from 0.
        part: u32,
    },
    /// All parts of a checkpoint came before this.
    CheckpointEnd {
        /// Which checkpoint.
        number: CheckpointNumber,
        /// How many parts it has.
        parts: u32,
    },
    /// The disk belongs to a cluster that was formed: no other one is to be made of it.
    Enroll,
}

impl EntryHead {
    /// The partition that it is about, if it is about one.
    pub fn partition(&self) -> Option<PartitionId> {
        match self {
            Self::Create { partition, .. }
            | Self::Promise { partition, .. }
            | Self::Cut { partition, .. }
            | Self::Join { partition, .. }
            | Self::Records { partition, .. }
            | Self::Change { partition, .. }
            | Self::Trim { partition, .. }
            | Self::Reset { partition, .. }
            | Self::Repair { partition, .. }
            | Self::LowWater { partition, .. } => Some(*partition),
            Self::Coordinator(_)
            | Self::Checkpoint { .. }
            | Self::CheckpointEnd { .. }
            | Self::Enroll => None,
        }
    }

    /// Whether the whole entry is its head.
    pub fn is_control(&self) -> bool {
        !matches!(self, Self::Records { .. } | Self::Repair { .. } | Self::Checkpoint { .. })
    }
}

/// Where an entry's body is in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The segment's sequence number.
    pub segment: u32,
    /// The body's first byte in the segment.
    pub offset: u32,
    /// The body's length in bytes.
    pub length: u32,
}
