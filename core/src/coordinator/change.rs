//! The coordinator's durable vocabulary.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A key: slash-separated words, such as `nodes/3`.
pub type Key = String;

/// Counts the coordinator's changes; a value's revision is that of its last change.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Revision(pub u64);

/// Names a lease; drawn at random by its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId(pub u64);

/// A value with the revision that wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versioned {
    /// When it was last changed.
    pub revision: Revision,
    /// The bytes.
    pub value: Bytes,
    /// The lease it dies with, if any.
    pub lease: Option<LeaseId>,
}

/// The coordinator's whole durable state, as a checkpoint keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The last change in it.
    pub revision: Revision,
    /// Every key.
    pub entries: BTreeMap<Key, Versioned>,
}

/// One change of the coordinator's state, as its node's journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Change {
    /// Its number; one more than the change before.
    pub revision: Revision,
    /// The key.
    pub key: Key,
    /// The new value and the lease it is tied to; `None` deletes the key.
    pub value: Option<(Bytes, Option<LeaseId>)>,
}
