//! What readers see of a log, summed up.

use std::hash::{DefaultHasher, Hasher};

use serde::{Deserialize, Serialize};
use waltz_core::id::TransactionId;

/// A checksum over ids, headers and data, in order: equal for whoever read the same log.
///
/// It can be stored after any transaction and goes on from there.
///
/// ```
/// use waltz_core::id::TransactionId;
/// use waltz_server::trial::Contents;
///
/// let (mut one, mut other) = (Contents::default(), Contents::default());
/// one.add(TransactionId(0), 7, b"deposit");
/// assert_ne!(one, other);
/// other.add(TransactionId(0), 7, b"deposit");
/// assert_eq!(one, other);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Contents(pub u64);

impl Contents {
    /// Adds the next transaction.
    pub fn add(&mut self, id: TransactionId, header: u32, data: &[u8]) {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher.write_u64(id.0);
        hasher.write_u32(header);
        hasher.write(data);
        self.0 = hasher.finish();
    }
}

impl std::fmt::Display for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
