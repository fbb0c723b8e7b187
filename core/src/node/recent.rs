//! How much memory the newest committed records of all partitions served here take together.
//!
//! Each partition bounds its own; with very many of them that is too much. What is over the node's
//! bound is forgotten where nothing was committed for the longest time, and read from the storage by
//! whoever still wants it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{Mark, PartitionId};

/// The partitions that have records in memory, and the order in which they grew.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct RecentRecords {
    bytes: usize,
    partitions: BTreeMap<PartitionId, Kept>,
    /// By when something was last committed.
    order: BTreeSet<(u64, PartitionId)>,
    /// Counts what was committed, to tell before from after.
    clock: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    bytes: usize,
    committed: Mark,
    since: u64,
}

impl RecentRecords {
    /// How many bytes of records there are in memory, of all partitions.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A partition has so many bytes in memory, up to what it has committed.
    pub(super) fn note(&mut self, partition: PartitionId, bytes: usize, committed: Mark) {
        let before = self.partitions.get(&partition).copied();
        if before.is_some_and(|kept| (kept.bytes, kept.committed) == (bytes, committed)) {
            return;
        }
        self.forget(partition);
        if bytes == 0 {
            return;
        }
        let since = match before {
            Some(kept) if kept.committed == committed => kept.since,
            _ => {
                self.clock += 1;
                self.clock
            }
        };
        self.bytes += bytes;
        self.order.insert((since, partition));
        self.partitions.insert(partition, Kept { bytes, committed, since });
    }

    /// A partition that is to forget its records, while all have more than `max` bytes. It counts as
    /// having none until the next [`note`](Self::note).
    pub(super) fn give_up(&mut self, max: usize) -> Option<PartitionId> {
        let (_, partition) = self.order.first().copied().filter(|_| self.bytes > max)?;
        self.forget(partition);
        Some(partition)
    }

    fn forget(&mut self, partition: PartitionId) {
        if let Some(kept) = self.partitions.remove(&partition) {
            self.bytes -= kept.bytes;
            self.order.remove(&(kept.since, partition));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TransactionId;

    fn noted(all: &[(u32, usize, u64)]) -> RecentRecords {
        let mut recent = RecentRecords::default();
        for (partition, bytes, committed) in all {
            recent.note(PartitionId(*partition), *bytes, Mark::before(TransactionId(*committed)));
        }
        recent
    }

    fn given_up(recent: &mut RecentRecords, max: usize) -> Vec<u32> {
        std::iter::from_fn(|| recent.give_up(max)).map(|partition| partition.0).collect()
    }

    #[test]
    fn those_that_grew_longest_ago_are_given_up_first() {
        let mut recent = noted(&[(1, 100, 5), (2, 100, 5), (3, 100, 5), (1, 100, 6)]);
        assert_eq!(recent.bytes(), 300);
        assert_eq!(given_up(&mut recent, 300), [0; 0]);
        assert_eq!(given_up(&mut recent, 250), [2]);
        assert_eq!(given_up(&mut recent, 0), [3, 1]);
        assert_eq!(recent, RecentRecords { clock: recent.clock, ..RecentRecords::default() });
    }

    #[test]
    fn what_shrinks_without_a_commit_keeps_its_turn() {
        let mut recent = noted(&[(1, 100, 5), (2, 100, 5), (1, 50, 5)]);
        assert_eq!(recent.bytes(), 150);
        assert_eq!(given_up(&mut recent, 100), [1]);
        recent.note(PartitionId(2), 0, Mark::before(TransactionId(5)));
        assert_eq!(recent.bytes(), 0);
        assert_eq!(given_up(&mut recent, 0), [0; 0]);
    }
}
