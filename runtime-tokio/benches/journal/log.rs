//! A journal that is written to.

use std::io;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use tempfile::TempDir;
use waltz_core::id::{ClusterKey, Epoch, Mark, NodeId, PartitionId, SessionId, TransactionId};
use waltz_core::io::Ticket;
use waltz_core::journal::{DEFAULT_SEGMENT_BYTES, Damage, Entry, EntryHead, Fold, FoundEntry};
use waltz_core::limits::Limits;
use waltz_core::planted::Planted;
use waltz_runtime::disk::Disk;
use waltz_runtime::journal::{Journal, JournalConfig};
use waltz_runtime_tokio::FileDisk;

use crate::contender::{Contender, Taken};
use crate::counted::Counted;

/// What is written in an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) entries: u64,
    pub(crate) body_bytes: usize,
    pub(crate) partitions: u32,
}

/// A journal, and what to write to it.
pub(crate) struct Log<D: Disk> {
    name: String,
    disk: Counted<D>,
    journal: Journal<Counted<D>>,
    load: Load,
    body: Bytes,
    next: u64,
    _directory: TempDir,
}

impl<D: Disk + Clone> Log<D> {
    /// Opens an empty journal in a new directory.
    pub(crate) fn begin(
        name: &str,
        base: &Path,
        load: Load,
        disk: impl FnOnce(&FileDisk) -> D,
    ) -> io::Result<Self> {
        let directory = tempfile::tempdir_in(base)?;
        let files = FileDisk::open(directory.path()).map_err(io::Error::other)?;
        let disk = Counted::new(disk(&files));
        let config = JournalConfig {
            cluster: ClusterKey(1),
            node: NodeId(1),
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            limits: Limits::default(),
            planted: Planted::NONE,
        };
        let opened = Journal::open(disk.clone(), config, 1, &mut Nothing);
        let (journal, _) = opened.map_err(io::Error::other)?;
        let (name, body) = (name.to_owned(), Bytes::from(vec![7; load.body_bytes]));
        Ok(Self { name, disk, journal, load, body, next: 0, _directory: directory })
    }

    fn batch(&mut self) -> Vec<(Ticket, Entry)> {
        let session = SessionId { epoch: Epoch(1), server: NodeId(1), nonce: 1 };
        let first = self.next;
        self.next += self.load.entries;
        let entry = |number| {
            let head = EntryHead::Records {
                partition: PartitionId(number as u32 % self.load.partitions),
                session,
                first: TransactionId(number),
                count: 1,
                low_water: Mark::NONE,
            };
            (Ticket(number), Entry { head, body: self.body.clone() })
        };
        (first..self.next).map(entry).collect()
    }

    /// Has a spare ready, and gives up what was written.
    fn prepare(&mut self) -> io::Result<()> {
        while self.journal.wants_spare() {
            let spare = self.journal.request_spare().fulfil(&mut self.disk)?;
            self.journal.add_spare(spare);
        }
        if self.journal.segment_count() > 3 {
            for segment in self.journal.release(u32::MAX).map_err(io::Error::other)? {
                segment.remove(&mut self.disk)?;
            }
        }
        Ok(())
    }
}

impl<D: Disk + Clone> Contender for Log<D> {
    fn name(&self) -> &str {
        &self.name
    }

    fn operate(&mut self) -> io::Result<Taken> {
        self.prepare()?;
        let batch = self.batch();
        let syncs = self.disk.syncs();
        let began = Instant::now();
        self.journal.write(batch).map_err(io::Error::other)?;
        self.journal.sync().map_err(io::Error::other)?;
        let time = began.elapsed();
        let bytes = self.load.entries * self.load.body_bytes as u64;
        Ok(Taken { time, bytes, syncs: self.disk.syncs() - syncs })
    }
}

/// An empty journal has nothing to be taken in.
struct Nothing;

impl Fold for Nothing {
    fn begin(&mut self, _: bool) -> Result<(), String> {
        Ok(())
    }

    fn entry(&mut self, _: FoundEntry<'_>) -> Result<(), String> {
        Ok(())
    }

    fn end(&mut self, _: Option<&Damage>) -> Result<(), String> {
        Ok(())
    }
}
