//! Writes past the page cache, in whole blocks from aligned memory.
//!
//! Batches are whole blocks as they are; seals share theirs with earlier ones, so the last block of
//! each lane is kept and written again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Mutex;

use bytes::Bytes;
use rustix::fs::OFlags;
use waltz_runtime::disk::{Disk, ReadDisk};
use waltz_runtime_tokio::FileDisk;

const BLOCK: usize = 4096;

/// What makes a write durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// A sync after it.
    Sync,
    /// It is when it returns (`O_DSYNC`).
    EachWrite,
}

/// The files of a directory, read as usual and written directly.
#[derive(Debug, Clone)]
pub(crate) struct DirectDisk {
    disk: FileDisk,
    durability: Durability,
}

/// A file, open twice.
pub(crate) struct DirectFile {
    buffered: File,
    direct: File,
    /// Blocks that were written in part, by their offsets.
    partial: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl DirectDisk {
    pub(crate) fn new(disk: FileDisk, durability: Durability) -> Self {
        Self { disk, durability }
    }

    fn directly(&self, name: &str, buffered: File) -> io::Result<DirectFile> {
        let flags = match self.durability {
            Durability::Sync => OFlags::DIRECT,
            Durability::EachWrite => OFlags::DIRECT | OFlags::DSYNC,
        };
        let mut options = File::options();
        options.write(true).custom_flags(flags.bits() as i32);
        let direct = options.open(self.disk.path().join(name))?;
        Ok(DirectFile { buffered, direct, partial: Mutex::default() })
    }
}

impl ReadDisk for DirectDisk {
    type File = DirectFile;

    fn list(&mut self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&mut self, name: &str) -> io::Result<(DirectFile, u64)> {
        let (file, length) = ReadDisk::open(&mut self.disk, name)?;
        Ok((self.directly(name, file)?, length))
    }

    fn read_at(&mut self, file: &DirectFile, offset: u64, length: usize) -> io::Result<Bytes> {
        self.disk.read_at(&file.buffered, offset, length)
    }
}

impl Disk for DirectDisk {
    fn create_zeroed(&mut self, name: &str, length: u64) -> io::Result<DirectFile> {
        let file = self.disk.create_zeroed(name, length)?;
        self.directly(name, file)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn write_at(&mut self, file: &DirectFile, offset: u64, slices: &[Bytes]) -> io::Result<()> {
        let length: usize = slices.iter().map(Bytes::len).sum();
        let start = offset as usize / BLOCK * BLOCK;
        let (from, blocks) = (offset as usize - start, start..offset as usize + length);
        let length = blocks.len().next_multiple_of(BLOCK);
        let mut memory = vec![0; length + BLOCK];
        let at = memory.as_ptr().align_offset(BLOCK);
        let aligned = &mut memory[at..at + length];
        let mut partial = file.partial.lock().expect("nobody panics while holding it");
        for block in edges(&blocks) {
            if let Some(before) = partial.get(&(block as u64)) {
                aligned[block - start..][..BLOCK].copy_from_slice(before);
            }
        }
        let mut to = from;
        for slice in slices {
            aligned[to..to + slice.len()].copy_from_slice(slice);
            to += slice.len();
        }
        for block in edges(&blocks) {
            partial.insert(block as u64, aligned[block - start..][..BLOCK].to_vec());
        }
        file.direct.write_all_at(aligned, start as u64)
    }

    fn sync(&mut self, file: &DirectFile) -> io::Result<()> {
        match self.durability {
            Durability::Sync => file.direct.sync_data(),
            Durability::EachWrite => Ok(()),
        }
    }
}

/// The first and the last block, where the range does not begin or end with them.
fn edges(range: &Range<usize>) -> impl Iterator<Item = usize> + use<> {
    let ends = [range.start, range.end].into_iter();
    ends.filter(|end| !end.is_multiple_of(BLOCK)).map(|end| end / BLOCK * BLOCK)
}
