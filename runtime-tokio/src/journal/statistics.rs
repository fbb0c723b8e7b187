//! What the writing thread counts, for whoever watches the node from another thread.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use waltz_core::measure::{BUCKETS, Histogram};

/// The first bound of sync times, in microseconds: up to 16 seconds are told apart.
const SYNC_BOUND: u64 = 32;
/// The first bound of batches' bytes: up to 32 MiB are told apart.
const BYTES_BOUND: u64 = 64;
/// The first bound of batches' entries.
const ENTRIES_BOUND: u64 = 1;

/// A journal's counts since it was opened. Each is exact; those that belong together may be read a
/// moment apart.
#[derive(Debug)]
pub struct JournalStatistics {
    sync_micros: Counts,
    batch_bytes: Counts,
    batch_entries: Counts,
    segments: AtomicU64,
}

impl JournalStatistics {
    pub(super) fn new(segments: usize) -> Self {
        Self {
            sync_micros: Counts::new(SYNC_BOUND),
            batch_bytes: Counts::new(BYTES_BOUND),
            batch_entries: Counts::new(ENTRIES_BOUND),
            segments: AtomicU64::new(segments as u64),
        }
    }

    /// How long batches took to be written and made durable, in microseconds.
    pub fn sync_micros(&self) -> Histogram {
        self.sync_micros.read()
    }

    /// Bytes of records in each batch.
    pub fn batch_bytes(&self) -> Histogram {
        self.batch_bytes.read()
    }

    /// Entries of each batch.
    pub fn batch_entries(&self) -> Histogram {
        self.batch_entries.read()
    }

    /// Segments that have files, without spare ones.
    pub fn segments(&self) -> u64 {
        self.segments.load(Relaxed)
    }

    pub(super) fn batch_synced(&self, entries: usize, bytes: u64, took: Duration) {
        self.batch_entries.add(entries as u64);
        self.batch_bytes.add(bytes);
        self.sync_micros.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn segments_are(&self, segments: usize) {
        self.segments.store(segments as u64, Relaxed);
    }
}

/// A histogram that one thread adds to and others read.
#[derive(Debug)]
struct Counts {
    bound: u64,
    buckets: [AtomicU64; BUCKETS],
    over: AtomicU64,
    sum: AtomicU64,
}

impl Counts {
    fn new(bound: u64) -> Self {
        let buckets = std::array::from_fn(|_| AtomicU64::new(0));
        Self { bound, buckets, over: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    fn add(&self, value: u64) {
        let bucket = Histogram::bucket(self.bound, value);
        bucket.map_or(&self.over, |index| &self.buckets[index]).fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    fn read(&self) -> Histogram {
        let buckets = std::array::from_fn(|index| self.buckets[index].load(Relaxed));
        Histogram::counted(self.bound, buckets, self.over.load(Relaxed), self.sum.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_what_a_histogram_would_count() {
        let counts = Counts::new(SYNC_BOUND);
        let mut expected = Histogram::from_bound(SYNC_BOUND);
        for value in [0, 31, 33, 5_000, 1 << 40] {
            counts.add(value);
            expected.add(value, 1);
        }
        assert_eq!(counts.read(), expected);
    }
}
