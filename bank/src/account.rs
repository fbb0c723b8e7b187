//! Accounts, and where they live.

use std::fmt;

use waltz_core::id::PartitionId;

/// An account of the bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u64);

impl AccountId {
    /// The name under which accounts are locked.
    pub const LOCK: &'static str = "account";

    /// The partition that keeps this account; the same in every process.
    ///
    /// # Panics
    /// When there are no partitions.
    pub fn partition(self, partitions: u32) -> PartitionId {
        assert!(partitions > 0, "a bank needs a partition");
        PartitionId((self.0 % u64::from(partitions)) as u32)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "account {}", self.0)
    }
}
