//! Writes and their sync in one system call: a chain of operations, each begun when the one before
//! is done.
//!
//! The kernel reads the memory of a submitted operation by itself, which no safe interface
//! expresses. So this stays in the benchmark.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use io_uring::squeue::Flags;
use io_uring::{IoUring, opcode, types};
use waltz_runtime::disk::{Disk, ReadDisk};
use waltz_runtime_tokio::FileDisk;

/// The most slices of one vectored write.
const SLICES: usize = 1024;

/// The files of a directory. What is written goes to the kernel with the sync that follows.
#[derive(Clone)]
pub(crate) struct UringDisk {
    disk: FileDisk,
    ring: Arc<Mutex<IoUring>>,
    waiting: Vec<(u64, Vec<Bytes>)>,
}

impl UringDisk {
    pub(crate) fn is_there() -> bool {
        IoUring::new(8).is_ok()
    }

    pub(crate) fn new(disk: FileDisk) -> Self {
        let ring = IoUring::new(64).expect("it was there a moment ago");
        Self { disk, ring: Arc::new(Mutex::new(ring)), waiting: Vec::new() }
    }
}

impl ReadDisk for UringDisk {
    type File = File;

    fn list(&mut self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&mut self, name: &str) -> io::Result<(File, u64)> {
        ReadDisk::open(&mut self.disk, name)
    }

    fn read_at(&mut self, file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
        self.disk.read_at(file, offset, length)
    }
}

impl Disk for UringDisk {
    fn create_zeroed(&mut self, name: &str, length: u64) -> io::Result<File> {
        self.disk.create_zeroed(name, length)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn write_at(&mut self, _: &File, offset: u64, slices: &[Bytes]) -> io::Result<()> {
        let mut at = offset;
        for slices in slices.chunks(SLICES) {
            self.waiting.push((at, slices.to_vec()));
            at += slices.iter().map(|slice| slice.len() as u64).sum::<u64>();
        }
        Ok(())
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let fd = types::Fd(file.as_raw_fd());
        let vectors: Vec<Vec<IoSlice<'_>>> = waiting
            .iter()
            .map(|(_, slices)| slices.iter().map(|slice| IoSlice::new(slice)).collect())
            .collect();
        let writes = waiting.iter().zip(&vectors).map(|((offset, _), vector)| {
            // An `IoSlice` is an `iovec`, as its documentation promises.
            opcode::Writev::new(fd, vector.as_ptr().cast(), vector.len() as u32)
                .offset(*offset)
                .build()
                .flags(Flags::IO_LINK)
        });
        let sync = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
        let mut ring = self.ring.lock().expect("nobody panics while holding it");
        for operation in writes.chain([sync]) {
            // SAFETY: the file, the slices and the vectors over them live until all operations are
            // complete, below.
            unsafe { ring.submission().push(&operation) }.map_err(io::Error::other)?;
        }
        let expected = waiting.len() + 1;
        ring.submit_and_wait(expected)?;
        let mut written = 0;
        for outcome in ring.completion() {
            written += usize::try_from(outcome.result())
                .map_err(|_| io::Error::from_raw_os_error(-outcome.result()))?;
        }
        let bytes = waiting.iter().flat_map(|(_, slices)| slices).map(Bytes::len).sum::<usize>();
        if written == bytes { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}
