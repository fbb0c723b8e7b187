//! The disks of simulated hosts, and what goes wrong with them.
//!
//! A write is in the page cache until a sync. A killed process leaves the page cache as it is; a
//! host that loses power keeps or loses each 512-byte sector of each unsynced write for itself, so
//! that writes are torn, and later ones survive earlier ones. A sync that fails has done the same,
//! and what it lost is still read from the page cache until then, as real systems do it.
//!
//! Every boot has its own epoch: a [`SimDisk`] of an earlier life of the host is refused.

mod content;
mod file;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use waltz_core::io::Address;
use waltz_core::time::Random;
use waltz_runtime::disk::{Disk, ReadDisk};

use crate::alarm::VirtualTime;
use crate::fault::{Chance, Crash, Latency};
use crate::trace::{Event, Trace};
use file::SimulatedFile;

/// What a host's disk does wrong, and how slow it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskQuality {
    /// How long a sync takes.
    pub sync: Latency,
    /// How long a read takes.
    pub read: Latency,
    /// A write fails.
    pub failing_write: Chance,
    /// A sync fails, having made some of what was written durable.
    pub failing_sync: Chance,
    /// A read fails.
    pub failing_read: Chance,
    /// The disk is full: no file can be made while this many bytes are in files.
    pub capacity_bytes: u64,
}

impl Default for DiskQuality {
    fn default() -> Self {
        Self {
            sync: Latency::micros(50, 2_000),
            read: Latency::micros(20, 500),
            failing_write: Chance::NEVER,
            failing_sync: Chance::NEVER,
            failing_read: Chance::NEVER,
            capacity_bytes: u64::MAX,
        }
    }
}

/// Names a file for ever, whatever it is renamed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Inode(u64);

#[derive(Debug, Default)]
struct HostDisk {
    epoch: u64,
    quality: DiskQuality,
    names: BTreeMap<String, Inode>,
    files: BTreeMap<Inode, SimulatedFile>,
    created: u64,
    /// How many operations failed because a fault was injected.
    failures: u64,
}

impl HostDisk {
    fn bytes(&self) -> u64 {
        self.files.values().map(SimulatedFile::length).sum()
    }

    fn file(&mut self, inode: Inode) -> io::Result<&mut SimulatedFile> {
        self.files.get_mut(&inode).ok_or_else(|| not_found("the file was removed"))
    }

    fn strike(&mut self, chance: Chance, random: &mut Random, operation: &str) -> io::Result<()> {
        if chance.strikes(random) {
            self.failures += 1;
            return Err(io::Error::other(format!("simulated {operation} error")));
        }
        Ok(())
    }

    fn unlink(&mut self, name: &str) -> Option<Inode> {
        let inode = self.names.remove(name)?;
        self.files.remove(&inode);
        Some(inode)
    }
}

#[derive(Debug)]
struct State {
    random: Random,
    hosts: BTreeMap<Address, HostDisk>,
}

/// The disks of all hosts; clones share them. They outlive every process.
#[derive(Clone)]
pub struct SimDisks {
    time: VirtualTime,
    trace: Trace,
    state: Arc<Mutex<State>>,
}

impl SimDisks {
    pub(crate) fn new(time: VirtualTime, random: Random, trace: Trace) -> Self {
        let state = State { random, hosts: BTreeMap::new() };
        Self { time, trace, state: Arc::new(Mutex::new(state)) }
    }

    /// Forgets all that is on any disk: the run is over.
    pub(crate) fn clear(&self) {
        self.lock().hosts.clear();
    }

    /// A handle to a host's disk, for the current life of the host.
    pub fn disk(&self, host: &Address) -> SimDisk {
        let epoch = self.lock().hosts.entry(host.clone()).or_default().epoch;
        SimDisk { disks: self.clone(), host: host.clone(), epoch }
    }

    /// Handles from before are refused from now on.
    pub(crate) fn boot(&self, host: &Address) {
        self.lock().hosts.entry(host.clone()).or_default().epoch += 1;
    }

    pub(crate) fn crash(&self, host: &Address, crash: Crash) {
        let now = self.time.now();
        let state = &mut *self.lock();
        let disk = state.hosts.entry(host.clone()).or_default();
        disk.epoch += 1;
        if crash == Crash::Power {
            for file in disk.files.values_mut() {
                file.lose_power(&mut state.random);
            }
        }
        let checksums: Vec<_> = disk.files.values().map(SimulatedFile::checksum).collect();
        let text = format_args!("crashes ({crash:?}), its files are {checksums:08x?}");
        self.trace.record(now, Event::on(host, text));
    }

    /// How a host's disk behaves from now on.
    pub fn set_quality(&self, host: &Address, quality: DiskQuality) {
        self.lock().hosts.entry(host.clone()).or_default().quality = quality;
    }

    /// Changes how a host's disk behaves from now on.
    pub fn change_quality(&self, host: &Address, change: impl FnOnce(&mut DiskQuality)) {
        change(&mut self.lock().hosts.entry(host.clone()).or_default().quality);
    }

    /// How many operations of a host's disk failed so far because of its quality.
    pub fn failures(&self, host: &Address) -> u64 {
        self.lock().hosts.get(host).map_or(0, |disk| disk.failures)
    }

    /// How many bytes are in a host's files.
    pub fn used_bytes(&self, host: &Address) -> u64 {
        self.lock().hosts.get(host).map_or(0, HostDisk::bytes)
    }

    /// Every disk is sound, roomy and fast again.
    pub fn calm(&self) {
        let mut state = self.lock();
        state.hosts.values_mut().for_each(|disk| disk.quality = DiskQuality::default());
    }

    /// The names and lengths of a host's files.
    pub fn files(&self, host: &Address) -> Vec<(String, u64)> {
        let state = self.lock();
        let Some(disk) = state.hosts.get(host) else { return Vec::new() };
        let length = |inode| disk.files.get(inode).map_or(0, SimulatedFile::length);
        disk.names.iter().map(|(name, inode)| (name.clone(), length(inode))).collect()
    }

    /// Rot: turns one bit of a file around, in the cache and on the platter.
    ///
    /// # Errors
    /// When there is no such byte.
    pub fn flip(&self, host: &Address, name: &str, offset: u64, bit: u8) -> io::Result<()> {
        self.with_file(host, name, |file| file.flip(offset, bit))
    }

    /// A misdirected write: a sector's worth of a file gets the content of another.
    ///
    /// # Errors
    /// When there is no such sector.
    pub fn misdirect(&self, host: &Address, name: &str, from: u64, to: u64) -> io::Result<()> {
        self.with_file(host, name, |file| file.misdirect(from, to))
    }

    /// What a file holds, as a reader would find it; none where there is no such file or range.
    pub fn peek(&self, host: &Address, name: &str, offset: u64, length: usize) -> Option<Bytes> {
        let mut read = None;
        let found = self.with_file(host, name, |file| {
            read = Some(file.read(offset, length)?);
            Ok(())
        });
        found.ok().and(read)
    }

    /// A new, empty disk.
    pub fn replace(&self, host: &Address) {
        let mut state = self.lock();
        let disk = state.hosts.entry(host.clone()).or_default();
        disk.names.clear();
        disk.files.clear();
    }

    /// Draws how long a host's next sync takes.
    pub(crate) fn sync_latency(&self, host: &Address) -> Duration {
        self.draw(host, |quality| quality.sync)
    }

    /// Draws how long a host's next read takes.
    pub(crate) fn read_latency(&self, host: &Address) -> Duration {
        self.draw(host, |quality| quality.read)
    }

    fn draw(&self, host: &Address, latency: impl FnOnce(&DiskQuality) -> Latency) -> Duration {
        let state = &mut *self.lock();
        let disk = state.hosts.entry(host.clone()).or_default();
        latency(&disk.quality).draw(&mut state.random)
    }

    fn with_file(
        &self,
        host: &Address,
        name: &str,
        change: impl FnOnce(&mut SimulatedFile) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.lock();
        let disk = state.hosts.get_mut(host).ok_or_else(|| not_found("no such host"))?;
        let inode = *disk.names.get(name).ok_or_else(|| not_found(name))?;
        change(disk.file(inode)?)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A host's disk, as one life of one process sees it.
pub struct SimDisk {
    disks: SimDisks,
    host: Address,
    epoch: u64,
}

/// An open file of a [`SimDisk`].
#[derive(Debug)]
pub struct SimFile(Inode);

impl SimDisk {
    fn with<T>(
        &self,
        operation: impl FnOnce(&mut HostDisk, &mut Random) -> io::Result<T>,
    ) -> io::Result<T> {
        let state = &mut *self.disks.lock();
        let disk = state.hosts.entry(self.host.clone()).or_default();
        if disk.epoch != self.epoch {
            return Err(io::Error::other("this process is dead"));
        }
        operation(disk, &mut state.random)
    }
}

impl ReadDisk for SimDisk {
    type File = SimFile;

    fn list(&mut self) -> io::Result<Vec<String>> {
        self.with(|disk, _| Ok(disk.names.keys().cloned().collect()))
    }

    fn open(&mut self, name: &str) -> io::Result<(SimFile, u64)> {
        self.with(|disk, _| {
            let inode = *disk.names.get(name).ok_or_else(|| not_found(name))?;
            Ok((SimFile(inode), disk.file(inode)?.length()))
        })
    }

    fn read_at(&mut self, file: &SimFile, offset: u64, length: usize) -> io::Result<Bytes> {
        self.with(|disk, random| {
            disk.strike(disk.quality.failing_read, random, "read")?;
            disk.file(file.0)?.read(offset, length)
        })
    }
}

impl Disk for SimDisk {
    fn create_zeroed(&mut self, name: &str, length: u64) -> io::Result<SimFile> {
        self.with(|disk, _| {
            if disk.bytes().saturating_add(length) > disk.quality.capacity_bytes {
                disk.failures += 1;
                return Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is full"));
            }
            disk.unlink(name);
            disk.created += 1;
            let inode = Inode(disk.created);
            disk.names.insert(name.to_owned(), inode);
            disk.files.insert(inode, SimulatedFile::zeroed(length));
            Ok(SimFile(inode))
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.with(|disk, _| {
            let inode = *disk.names.get(from).ok_or_else(|| not_found(from))?;
            if from != to {
                disk.unlink(to);
                disk.names.remove(from);
                disk.names.insert(to.to_owned(), inode);
            }
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.with(|disk, _| disk.unlink(name).map(drop).ok_or_else(|| not_found(name)))
    }

    fn write_at(&mut self, file: &SimFile, offset: u64, slices: &[Bytes]) -> io::Result<()> {
        self.with(|disk, random| {
            disk.strike(disk.quality.failing_write, random, "write")?;
            // One write: a sector that two slices share is not torn between them.
            disk.file(file.0)?.write(offset, slices.concat().into());
            Ok(())
        })
    }

    fn sync(&mut self, file: &SimFile) -> io::Result<()> {
        self.with(|disk, random| {
            let failure = disk.strike(disk.quality.failing_sync, random, "sync");
            let file = disk.file(file.0)?;
            match failure {
                Ok(()) => file.sync(),
                Err(_) => file.sync_in_vain(random),
            }
            failure
        })
    }
}

fn not_found(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, what.to_owned())
}
