//! A directory of real files on which an operation fails as the operating system would have it.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rustix::io::Errno;
use waltz_runtime::disk::{Disk, ReadDisk};
use waltz_runtime_tokio::FileDisk;

/// What a journal does with files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    List,
    Open,
    Read,
    Create,
    Rename,
    Remove,
    Write,
    Sync,
}

/// The next failures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) operation: Operation,
    /// How many operations of the kind succeed before; all later ones fail.
    pub(crate) after: u32,
    pub(crate) error: Errno,
}

/// A directory. Clones share the fault.
#[derive(Debug, Clone)]
pub(crate) struct FaultyDisk {
    disk: FileDisk,
    fault: Arc<Mutex<Option<Fault>>>,
}

impl FaultyDisk {
    pub(crate) fn new(disk: FileDisk) -> Self {
        Self { disk, fault: Arc::default() }
    }

    /// From now on this fault counts, or none.
    pub(crate) fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().expect("no test panics while it holds the fault") = fault;
    }

    fn attempt(&self, operation: Operation) -> io::Result<()> {
        let mut fault = self.fault.lock().expect("no test panics while it holds the fault");
        let Some(fault) = fault.as_mut().filter(|fault| fault.operation == operation) else {
            return Ok(());
        };
        match fault.after.checked_sub(1) {
            Some(left) => fault.after = left,
            None => return Err(fault.error.into()),
        }
        Ok(())
    }
}

impl ReadDisk for FaultyDisk {
    type File = File;

    fn list(&mut self) -> io::Result<Vec<String>> {
        self.attempt(Operation::List)?;
        self.disk.list()
    }

    fn open(&mut self, name: &str) -> io::Result<(File, u64)> {
        self.attempt(Operation::Open)?;
        ReadDisk::open(&mut self.disk, name)
    }

    fn read_at(&mut self, file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
        self.attempt(Operation::Read)?;
        self.disk.read_at(file, offset, length)
    }
}

impl Disk for FaultyDisk {
    fn create_zeroed(&mut self, name: &str, length: u64) -> io::Result<File> {
        self.attempt(Operation::Create)?;
        self.disk.create_zeroed(name, length)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.attempt(Operation::Rename)?;
        self.disk.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.attempt(Operation::Remove)?;
        self.disk.remove(name)
    }

    fn write_at(&mut self, file: &File, offset: u64, slices: &[Bytes]) -> io::Result<()> {
        self.attempt(Operation::Write)?;
        self.disk.write_at(file, offset, slices)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        self.attempt(Operation::Sync)?;
        self.disk.sync(file)
    }
}
