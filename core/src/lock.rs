//! What a transaction depends on and what it changes: lock ids and kinds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A lock within a partition: a name and a number, hashed to 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LockId(pub u64);

impl LockId {
    /// The id of the lock `name:number`: FNV-1a over the name, a zero byte and the number's
    /// little-endian bytes, then SplitMix64's finalizer. Stable across versions and machines.
    ///
    /// ```
    /// use waltz_core::lock::LockId;
    /// assert_ne!(LockId::new("account", 1), LockId::new("account", 2));
    /// assert_eq!(LockId::new("account", 1), LockId::new("account", 1));
    /// ```
    pub fn new(name: &str, number: u64) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in name.bytes().chain([0]).chain(number.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(hash ^ (hash >> 31))
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
