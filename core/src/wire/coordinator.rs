//! Between a node and the embedded coordinator.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::coordinator::{Key, LeaseId, Revision, Versioned};

/// A node asks the coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToCoordinator {
    /// Start or prolong a lease.
    KeepAlive {
        /// The lease.
        lease: LeaseId,
        /// How long it lives without another.
        ttl_ms: u32,
    },
    /// End a lease now: a clean stop.
    Release {
        /// The lease.
        lease: LeaseId,
    },
    /// Change a key if it is as expected. The value's size is bounded by the frame's head.
    CompareAndSet {
        /// Numbers the request.
        request: u64,
        /// The key.
        key: Key,
        /// The revision it must have; `None`: it must not exist.
        expected: Option<Revision>,
        /// The new value; `None` deletes.
        value: Option<Bytes>,
        /// The lease to tie it to; must be alive.
        lease: Option<LeaseId>,
    },
    /// Read one key; the answer is no older than the request.
    Get {
        /// Numbers the request.
        request: u64,
        /// The key.
        key: Key,
    },
    /// Everything under a prefix now, and each change from then on, on this connection.
    Watch {
        /// The prefix.
        prefix: Key,
    },
}

/// The coordinator answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromCoordinator {
    /// The change was made, durably.
    Set {
        /// The request.
        request: u64,
        /// The key's new revision.
        revision: Revision,
    },
    /// The key was not as expected, or the lease is not alive.
    Conflict {
        /// The request.
        request: u64,
        /// The key as it is.
        current: Option<Versioned>,
    },
    /// The answer to `Get`.
    Value {
        /// The request.
        request: u64,
        /// The key as it is.
        current: Option<Versioned>,
    },
    /// The start of a watch: all keys under its prefix.
    Snapshot {
        /// The prefix.
        prefix: Key,
        /// The keys and their values.
        entries: Vec<(Key, Versioned)>,
    },
    /// A watched key changed, durably.
    Changed {
        /// The key.
        key: Key,
        /// Its new value; `None`: it was deleted.
        current: Option<Versioned>,
    },
    /// The lease is alive.
    Alive {
        /// The lease.
        lease: LeaseId,
    },
    /// What was asked is over a limit; asking again does not help.
    Refused {
        /// The request; `None`: a watch or a lease, which have no number.
        request: Option<u64>,
        /// Which limit.
        reason: CoordinatorRefusal,
    },
    /// This node does not host the coordinator.
    NotHere,
}

/// Which of the coordinator's limits a request is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum CoordinatorRefusal {
    /// The key or prefix.
    #[error("the key is longer than {limit} bytes")]
    KeyLength {
        /// The longest there may be, in bytes.
        limit: u32,
    },
    /// The value.
    #[error("the value is longer than {limit} bytes")]
    ValueLength {
        /// The longest there may be, in bytes.
        limit: u32,
    },
    /// All keys and values together: they must fit one snapshot.
    #[error("all keys and values together would be longer than {limit} bytes")]
    StateLength {
        /// The most there may be, in bytes.
        limit: u32,
    },
    /// The connection's watches.
    #[error("the connection has {limit} watches already")]
    Watches {
        /// The most there may be.
        limit: u32,
    },
    /// Everyone's leases.
    #[error("there are {limit} leases already")]
    Leases {
        /// The most there may be.
        limit: u32,
    },
}
