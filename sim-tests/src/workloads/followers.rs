//! Who follows the logs of a run, and how far each has got: what somebody has still to apply is
//! not trimmed, unless it is in an archive.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use waltz_client::{Mark, PartitionId};

/// How far a follower has applied a partition, for good.
type Applied = Box<dyn Fn(PartitionId) -> Mark + Send>;

#[derive(Default)]
struct State {
    followers: Vec<Applied>,
    complete: bool,
}

/// Everyone who follows the logs; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Followers(Arc<Mutex<State>>);

impl Followers {
    /// One more, who starts where nothing is trimmed yet.
    pub(crate) fn add(&self, applied: impl Fn(PartitionId) -> Mark + Send + 'static) {
        self.lock().followers.push(Box::new(applied));
    }

    /// Nobody comes any more who would start from the first transaction.
    pub(crate) fn complete(&self) {
        self.lock().complete = true;
    }

    /// What all have applied of a partition; none as long as some are not known.
    pub(crate) fn slowest(&self, partition: PartitionId) -> Option<Mark> {
        let state = self.lock();
        let marks = state.followers.iter().map(|applied| applied(partition));
        marks.min().filter(|_| state.complete)
    }

    /// What somebody has applied of a partition; none as long as nobody follows it.
    pub(crate) fn furthest(&self, partition: PartitionId) -> Option<Mark> {
        self.lock().followers.iter().map(|applied| applied(partition)).max()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
