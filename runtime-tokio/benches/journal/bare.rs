//! The least that a disk takes: a file of zeros that is there already, written from one end to the
//! other and synced after each write.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;
use waltz_core::journal::DEFAULT_SEGMENT_BYTES;
use waltz_runtime::disk::Disk;
use waltz_runtime_tokio::FileDisk;

use crate::contender::{Contender, Taken};

pub(crate) struct Bare {
    file: File,
    bytes: Vec<u8>,
    /// How many of them count: as many as the others make durable with as much writing.
    payload: u64,
    offset: u64,
    _directory: TempDir,
}

impl Bare {
    pub(crate) fn contender(
        base: &Path,
        bytes: usize,
        payload: u64,
    ) -> io::Result<Box<dyn Contender>> {
        let directory = tempfile::tempdir_in(base)?;
        let mut disk = FileDisk::open(directory.path()).map_err(io::Error::other)?;
        let file = disk.create_zeroed("bare", DEFAULT_SEGMENT_BYTES.into())?;
        let bytes = vec![7; bytes];
        Ok(Box::new(Self { file, bytes, payload, offset: 0, _directory: directory }))
    }
}

impl Contender for Bare {
    fn name(&self) -> &str {
        "bare write, fdatasync"
    }

    fn operate(&mut self) -> io::Result<Taken> {
        let began = Instant::now();
        self.file.write_all_at(&self.bytes, self.offset)?;
        self.file.sync_data()?;
        let (time, bytes) = (began.elapsed(), self.bytes.len() as u64);
        self.offset = (self.offset + bytes) % u64::from(DEFAULT_SEGMENT_BYTES);
        Ok(Taken { time, bytes: self.payload, syncs: 1 })
    }
}
