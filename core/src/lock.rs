//! What a transaction depends on and what it changes: lock ids and kinds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hash::stable_hash;

/// A lock within a partition: a name and a number, hashed to 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LockId(pub u64);

impl LockId {
    /// The id of the lock `name:number`: the [`stable_hash`] of the name, a zero byte and the number's
    /// little-endian bytes.
    ///
    /// ```
    /// use waltz_core::lock::LockId;
    /// assert_ne!(LockId::new("account", 1), LockId::new("account", 2));
    /// assert_eq!(LockId::new("account", 1), LockId::new("account", 1));
    /// ```
    pub fn new(name: &str, number: u64) -> Self {
        Self(stable_hash(name.bytes().chain([0]).chain(number.to_le_bytes())))
    }
}

impl fmt::Display for LockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a transaction does with a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LockKind {
    /// Checked, and changed: conflicts with readers and writers.
    Write,
    /// Checked only.
    Read,
    /// Changed only: appenders do not conflict with each other, but do with readers and writers.
    Append,
}
