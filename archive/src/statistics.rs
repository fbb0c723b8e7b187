//! What reads of an archive come to, for whoever watches the node from another thread.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts since the node began to read an archive. Each is exact; those that belong together may be
/// read a moment apart.
#[derive(Debug, Default)]
pub struct ArchiveStatistics {
    reads: AtomicU64,
    failed_reads: AtomicU64,
    objects: AtomicU64,
    bytes: AtomicU64,
}

impl ArchiveStatistics {
    /// Reads that the node asked for.
    pub fn reads(&self) -> u64 {
        self.reads.load(Relaxed)
    }

    /// Those of them that failed: not those of what the archive does not have.
    pub fn failed_reads(&self) -> u64 {
        self.failed_reads.load(Relaxed)
    }

    /// Objects that were read from the store and were sound. Other reads found theirs in memory.
    pub fn objects(&self) -> u64 {
        self.objects.load(Relaxed)
    }

    /// Bytes of these objects.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    #[cfg(feature = "store")]
    pub(crate) fn asked(&self) {
        self.reads.fetch_add(1, Relaxed);
    }

    #[cfg(feature = "store")]
    pub(crate) fn failed(&self) {
        self.failed_reads.fetch_add(1, Relaxed);
    }

    pub(crate) fn loaded(&self, bytes: usize) {
        self.objects.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }
}
