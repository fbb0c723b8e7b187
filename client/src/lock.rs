//! Naming locks.

use std::fmt;

use waltz_core::lock::LockId;

/// A lock within a partition, named by what it stands for and a number: `account:42`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionLocalLock {
    id: LockId,
}

impl PartitionLocalLock {
    /// The lock `name:number`, hashed to 64 bits.
    pub fn new(name: &str, number: u64) -> Self {
        Self { id: LockId::new(name, number) }
    }

    /// As the log knows it.
    pub fn id(self) -> LockId {
        self.id
    }
}

impl From<PartitionLocalLock> for LockId {
    fn from(lock: PartitionLocalLock) -> Self {
        lock.id
    }
}

impl From<LockId> for PartitionLocalLock {
    fn from(id: LockId) -> Self {
        Self { id }
    }
}

impl fmt::Display for PartitionLocalLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}
