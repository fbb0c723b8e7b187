//! Counts syncs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use waltz_runtime::disk::{Disk, ReadDisk};

/// Files whose syncs are counted. Clones share the count.
#[derive(Debug, Clone)]
pub(crate) struct Counted<D> {
    disk: D,
    syncs: Arc<AtomicU64>,
}

impl<D> Counted<D> {
    pub(crate) fn new(disk: D) -> Self {
        Self { disk, syncs: Arc::default() }
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Relaxed)
    }
}

impl<D: ReadDisk> ReadDisk for Counted<D> {
    type File = D::File;

    fn list(&mut self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&mut self, name: &str) -> io::Result<(D::File, u64)> {
        self.disk.open(name)
    }

    fn read_at(&mut self, file: &D::File, offset: u64, length: usize) -> io::Result<Bytes> {
        self.disk.read_at(file, offset, length)
    }
}

impl<D: Disk> Disk for Counted<D> {
    fn create_zeroed(&mut self, name: &str, length: u64) -> io::Result<D::File> {
        self.disk.create_zeroed(name, length)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn write_at(&mut self, file: &D::File, offset: u64, slices: &[Bytes]) -> io::Result<()> {
        self.disk.write_at(file, offset, slices)
    }

    fn sync(&mut self, file: &D::File) -> io::Result<()> {
        self.syncs.fetch_add(1, Relaxed);
        self.disk.sync(file)
    }
}
