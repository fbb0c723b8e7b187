//! What a journal holds.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::coordinator::Change;
use crate::id::{CreationId, Mark, PartitionId, ReplicaSet, SessionId, TransactionId};

/// One durable fact: a small head, and for records a body that is written as it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// What happened.
    pub head: EntryHead,
    /// A run's bytes; empty for every other kind.
    pub body: Bytes,
}

/// What an entry says. Everything but `Records` is a *control entry*.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EntryHead {
    /// This replica of a partition came to be.
    Create {
        /// The partition.
        partition: PartitionId,
        /// Its creation.
        creation: CreationId,
        /// Its first replica set.
        replicas: ReplicaSet,
    },
    /// Every session below this one is refused from now on.
    Promise {
        /// The partition.
        partition: PartitionId,
        /// The promised session.
        session: SessionId,
    },
    /// The log was cut: only what `keep` includes is left.
    Cut {
        /// The partition.
        partition: PartitionId,
        /// The last id kept.
        keep: Mark,
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
    /// Everything up to here is known to be committed.
    LowWater {
        /// The partition.
        partition: PartitionId,
        /// The low-water mark.
        mark: Mark,
    },
    /// The embedded coordinator's state changed.
    Coordinator(Change),
}

impl EntryHead {
    /// Whether the whole entry is its head, so that a seal keeps a copy.
    pub fn is_control(&self) -> bool {
        !matches!(self, Self::Records { .. })
    }
}

/// Where an entry's body is in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The segment's sequence number.
    pub segment: u32,
    /// The body's first byte in the segment.
    pub offset: u32,
    /// The body's length in bytes.
    pub length: u32,
}
