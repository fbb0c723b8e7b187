//! A disk in memory that can stop at any operation, and lose, tear and reorder what was not
//! synced.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use waltz_core::journal::SECTOR_BYTES;
use waltz_core::time::Random;

use crate::disk::{Disk, ReadDisk};

/// A handle on the disk; clones share its files.
#[derive(Debug, Clone, Default)]
pub(super) struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Arc<Mutex<File>>>,
    /// How many more operations succeed, when they are numbered.
    operations_left: Option<u64>,
    syncs: u64,
    reads: u64,
}

/// What is durable, and the unsynced writes on top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

impl File {
    fn seen(&self) -> Vec<u8> {
        let mut seen = self.durable.clone();
        for (offset, bytes) in &self.unsynced {
            seen[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        seen
    }

    /// Makes each unit of each unsynced write durable or not. A unit keeps what some prefix of the
    /// writes to it made of it.
    fn lose_power(&mut self, random: &mut Random, unit: usize) {
        let keep_all = random.bits().is_multiple_of(8);
        let lose_all = random.bits().is_multiple_of(8);
        for start in (0..self.durable.len()).step_by(unit) {
            let end = (start + unit).min(self.durable.len());
            let touching =
                |(offset, bytes): &&(usize, Vec<u8>)| *offset < end && offset + bytes.len() > start;
            let count = self.unsynced.iter().filter(touching).count();
            let kept = match (keep_all, lose_all) {
                (true, _) => count,
                (_, true) => 0,
                _ => (random.bits() % (count as u64 + 1)) as usize,
            };
            for (offset, bytes) in self.unsynced.iter().filter(touching).take(kept) {
                let (from, to) = (start.max(*offset), end.min(offset + bytes.len()));
                self.durable[from..to].copy_from_slice(&bytes[from - offset..to - offset]);
            }
        }
        self.unsynced.clear();
    }
}

impl MemoryDisk {
    /// Lets this many operations succeed and every later one fail.
    pub(super) fn stop_after(&self, operations: u64) {
        self.state().operations_left = Some(operations);
    }

    /// The process died: handles are gone, what was written is still seen and not yet durable.
    pub(super) fn restart(&self) {
        self.state().operations_left = None;
    }

    /// The machine died: any part of what was not synced is lost.
    pub(super) fn lose_power(&self, random: &mut Random) {
        self.restart();
        for file in self.state().files.values() {
            let unit =
                if random.bits().is_multiple_of(2) { SECTOR_BYTES } else { 8 * SECTOR_BYTES };
            lock(file).lose_power(random, unit);
        }
    }

    /// Changes a byte at rest.
    pub(super) fn flip(&self, name: &str, offset: usize) {
        lock(&self.state().files[name]).durable[offset] ^= 0x04;
    }

    /// What a file holds.
    pub(super) fn contents(&self, name: &str) -> Vec<u8> {
        lock(&self.state().files[name]).seen()
    }

    /// Puts a file there, durable.
    pub(super) fn put(&self, name: &str, durable: Vec<u8>) {
        let file = File { durable, unsynced: Vec::new() };
        self.state().files.insert(name.to_owned(), Arc::new(Mutex::new(file)));
    }

    /// A disk with the same files, that changes on its own from now on.
    pub(super) fn fork(&self) -> Self {
        let fork = Self::default();
        for (name, file) in &self.state().files {
            let file = Arc::new(Mutex::new(lock(file).clone()));
            fork.state().files.insert(name.clone(), file);
        }
        fork
    }

    /// The names of all files.
    pub(super) fn names(&self) -> Vec<String> {
        self.state().files.keys().cloned().collect()
    }

    /// How often something was synced.
    pub(super) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// How often something was read.
    pub(super) fn reads(&self) -> u64 {
        self.state().reads
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the disk")
    }

    fn operation(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        match &mut state.operations_left {
            Some(0) => return Err(io::Error::other("the disk stopped")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(state)
    }
}

fn lock(file: &Arc<Mutex<File>>) -> MutexGuard<'_, File> {
    file.lock().expect("no test panics while it holds a file")
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl ReadDisk for MemoryDisk {
    type File = Arc<Mutex<File>>;

    fn list(&mut self) -> io::Result<Vec<String>> {
        Ok(self.operation()?.files.keys().cloned().collect())
    }

    fn open(&mut self, name: &str) -> io::Result<(Self::File, u64)> {
        let state = self.operation()?;
        let file = Arc::clone(state.files.get(name).ok_or_else(not_found)?);
        let length = lock(&file).durable.len() as u64;
        Ok((file, length))
    }

    fn read_at(&mut self, file: &Self::File, offset: u64, length: usize) -> io::Result<Bytes> {
        self.operation()?.reads += 1;
        let seen = Bytes::from(lock(file).seen());
        let start = offset as usize;
        if start + length > seen.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(seen.slice(start..start + length))
    }
}

impl Disk for MemoryDisk {
    fn create_zeroed(&mut self, name: &str, length: u64) -> io::Result<Self::File> {
        let mut state = self.operation()?;
        let file = File { durable: vec![0; length as usize], unsynced: Vec::new() };
        let file = Arc::new(Mutex::new(file));
        state.files.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.operation()?;
        let file = state.files.remove(from).ok_or_else(not_found)?;
        assert!(state.files.insert(to.to_owned(), file).is_none(), "nothing is replaced");
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.operation()?.files.remove(name).map(drop).ok_or_else(not_found)
    }

    fn write_at(&mut self, file: &Self::File, offset: u64, slices: &[Bytes]) -> io::Result<()> {
        drop(self.operation()?);
        let mut file = lock(file);
        let bytes = slices.concat();
        assert!(offset as usize + bytes.len() <= file.durable.len(), "within the file");
        file.unsynced.push((offset as usize, bytes));
        Ok(())
    }

    fn sync(&mut self, file: &Self::File) -> io::Result<()> {
        self.operation()?.syncs += 1;
        let mut file = lock(file);
        file.durable = file.seen();
        file.unsynced.clear();
        Ok(())
    }
}
