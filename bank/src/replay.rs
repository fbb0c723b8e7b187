//! A fresh replay of the log, kept apart from every database: what the log alone says.
//!
//! Invariants of what it accepts: the ids of each partition are dense from 0, and no operation is
//! in the log twice.

use std::collections::BTreeMap;

use thiserror::Error;
use waltz_core::id::{Mark, PartitionId, TransactionId};

use crate::account::AccountId;
use crate::operation::Operation;

/// Why a log is not sound.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// An id is missing, or came out of order.
    #[error("{partition} has transaction {found} where {expected} should be")]
    NotDense {
        /// The partition.
        partition: PartitionId,
        /// What came.
        found: TransactionId,
        /// What should have.
        expected: TransactionId,
    },
    /// An operation was committed twice.
    #[error("operation {number} is in the log twice, the second time as {partition}:{id}")]
    Repeated {
        /// The operation.
        number: u64,
        /// The partition.
        partition: PartitionId,
        /// The second place.
        id: TransactionId,
    },
}

/// The state that the log alone leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replay {
    opening_cents: i64,
    marks: BTreeMap<PartitionId, Mark>,
    balances: BTreeMap<AccountId, i64>,
    after: BTreeMap<u64, i64>,
}

impl Replay {
    /// An empty log; accounts start with `opening_cents` each.
    pub fn new(opening_cents: i64) -> Self {
        Self { opening_cents, ..Self::default() }
    }

    /// Adds the next transaction of a partition.
    ///
    /// # Errors
    /// When it can't follow what came before; the replay is unchanged then.
    pub fn apply(
        &mut self,
        partition: PartitionId,
        id: TransactionId,
        operation: &Operation,
    ) -> Result<(), ReplayError> {
        let mark = self.marks.entry(partition).or_default();
        if id != mark.next() {
            return Err(ReplayError::NotDense { partition, found: id, expected: mark.next() });
        }
        let number = operation.number();
        if self.after.contains_key(&number) {
            return Err(ReplayError::Repeated { number, partition, id });
        }
        *mark = id.mark();
        for posting in operation.postings() {
            let balance = self.balances.entry(posting.account).or_insert(self.opening_cents);
            *balance += posting.cents;
            if posting.account == operation.account() {
                self.after.insert(number, *balance);
            }
        }
        Ok(())
    }

    /// How far each partition was replayed.
    pub fn marks(&self) -> &BTreeMap<PartitionId, Mark> {
        &self.marks
    }

    /// The balance of every account that the log touches.
    pub fn balances(&self) -> &BTreeMap<AccountId, i64> {
        &self.balances
    }

    /// Whether an operation is in the log.
    pub fn has(&self, number: u64) -> bool {
        self.after.contains_key(&number)
    }

    /// How many operations are in the log.
    pub fn operations(&self) -> u64 {
        self.after.len() as u64
    }

    /// The balance of an operation's first account right after it.
    pub fn balance_after(&self, number: u64) -> Option<i64> {
        self.after.get(&number).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PartitionId = PartitionId(0);

    fn transfer(number: u64) -> Operation {
        Operation::Transfer { number, from: AccountId(0), to: AccountId(1), cents: 10 }
    }

    #[test]
    fn balances_follow_from_the_log() {
        let mut replay = Replay::new(100);
        replay.apply(P, TransactionId(0), &transfer(5)).unwrap();
        replay.apply(P, TransactionId(1), &transfer(6)).unwrap();
        assert_eq!(replay.balances()[&AccountId(0)], 80);
        assert_eq!(replay.balances()[&AccountId(1)], 120);
        assert_eq!(replay.balance_after(5), Some(90));
        assert!(replay.has(6) && !replay.has(7));
    }

    #[test]
    fn gaps_and_repetitions_are_found() {
        let mut replay = Replay::new(0);
        replay.apply(P, TransactionId(0), &transfer(1)).unwrap();
        let gap = replay.apply(P, TransactionId(2), &transfer(2)).unwrap_err();
        assert_eq!(gap.to_string(), "p0 has transaction 2 where 1 should be");
        let twice = replay.apply(P, TransactionId(1), &transfer(1)).unwrap_err();
        let id = TransactionId(1);
        assert_eq!(twice, ReplayError::Repeated { number: 1, partition: P, id });
    }
}
