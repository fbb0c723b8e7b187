//! What the bank writes into the log, and where.

use serde::{Deserialize, Serialize};
use waltz_client::{PartitionId, PartitionLocalLock, partition_of};

/// An account's number; the hundreds are its branch.
pub(crate) type Account = i64;

/// What each account is opened with.
pub(crate) const OPENING_CENTS: i64 = 10_000;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// An account was opened.
    Opened { account: Account, cents: i64 },
    /// Money went from one account to another of the same branch.
    Transferred { from: Account, to: Account, cents: i64 },
}

impl Entry {
    /// The accounts that it changes, and by how much.
    pub(crate) fn postings(&self) -> Vec<(Account, i64)> {
        match *self {
            Self::Opened { account, cents } => vec![(account, cents)],
            Self::Transferred { from, to, cents } => vec![(from, -cents), (to, cents)],
        }
    }
}

/// A transaction belongs to one partition, so accounts that pay each other have to share one: all
/// accounts of a branch do.
pub(crate) fn partition(account: Account, partitions: u32) -> PartitionId {
    partition_of(format!("branch/{}", branch(account)), partitions)
}

pub(crate) fn branch(account: Account) -> i64 {
    account / 100
}

pub(crate) fn lock(account: Account) -> PartitionLocalLock {
    PartitionLocalLock::new("account", account.unsigned_abs())
}
