//! A stream of random transfers, repeated exactly by its seed.

use waltz_core::time::Random;

use crate::account::AccountId;
use crate::operation::Operation;

const LARGEST_CENTS: u64 = 20_000;

/// Transfers between accounts `0..accounts`, each within one partition.
#[derive(Debug, Clone)]
pub struct Transfers {
    accounts: u64,
    partitions: u64,
    left: std::ops::Range<u64>,
    random: Random,
}

impl Transfers {
    /// Transfers numbered from 0.
    ///
    /// # Panics
    /// When a partition would have fewer than two accounts: nobody could pay anybody there.
    pub fn new(seed: u64, accounts: u64, partitions: u32, count: u64) -> Self {
        let partitions = u64::from(partitions);
        assert!(partitions > 0 && accounts / partitions >= 2, "each partition needs two accounts");
        Self { accounts, partitions, left: 0..count, random: Random::new(seed) }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random.bits() % limit
    }
}

impl Iterator for Transfers {
    type Item = Operation;

    fn next(&mut self) -> Option<Operation> {
        let number = self.left.next()?;
        let from = self.below(self.accounts);
        let partition = from % self.partitions;
        // Accounts of a partition are `partition + k * partitions`; the receiver is another one.
        let there = (self.accounts - partition).div_ceil(self.partitions);
        let step = 1 + self.below(there - 1);
        let to = (from / self.partitions + step) % there * self.partitions + partition;
        let cents = 1 + self.below(LARGEST_CENTS) as i64;
        Some(Operation::Transfer { number, from: AccountId(from), to: AccountId(to), cents })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_stay_within_a_partition_and_between_two_accounts() {
        for (accounts, partitions) in [(2, 1), (100, 4), (11, 5)] {
            for operation in Transfers::new(3, accounts, partitions, 2_000) {
                let Operation::Transfer { from, to, cents, .. } = operation else {
                    panic!("not a transfer: {operation:?}");
                };
                assert_ne!(from, to);
                assert!(from.0 < accounts && to.0 < accounts && cents > 0);
                assert_eq!(from.partition(partitions), to.partition(partitions));
            }
        }
    }

    #[test]
    fn a_seed_repeats_itself() {
        let of = |seed| Transfers::new(seed, 10, 2, 50).collect::<Vec<_>>();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert_eq!(of(1).len(), 50);
    }
}
