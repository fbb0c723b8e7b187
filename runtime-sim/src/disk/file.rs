//! One file: what is read from it, and what of that a loss of power may spare.

use std::io;

use bytes::Bytes;
use waltz_core::time::Random;

use crate::fault::below;
use crate::trace::Fnv;

/// What a disk writes whole or not at all, if it keeps its word.
const SECTOR_BYTES: usize = 512;

#[derive(Debug)]
struct PendingWrite {
    offset: usize,
    bytes: Bytes,
}

/// Content on the platter, and in the page cache.
#[derive(Debug)]
pub(super) struct SimulatedFile {
    durable: Vec<u8>,
    cached: Vec<u8>,
    /// Written since the last sync, in order.
    pending: Vec<PendingWrite>,
}

/// What a loss of power does to the writes of one file.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// All are lost.
    Lost,
    /// All are kept.
    Kept,
    /// A prefix is kept, the write at its end torn.
    InOrder,
    /// Each sector has a fate of its own.
    Scattered,
}

impl SimulatedFile {
    pub(super) fn zeroed(length: u64) -> Self {
        let content = vec![0; length as usize];
        Self { durable: content.clone(), cached: content, pending: Vec::new() }
    }

    pub(super) fn length(&self) -> u64 {
        self.cached.len() as u64
    }

    pub(super) fn hash(&self) -> u64 {
        Fnv::of(&self.durable)
    }

    pub(super) fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let found = offset as usize..(offset as usize).saturating_add(length);
        let bytes = self.cached.get(found).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Bytes::copy_from_slice(bytes))
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &Bytes) -> io::Result<()> {
        let offset = offset as usize;
        let end = offset.saturating_add(bytes.len());
        if end > self.cached.len() {
            self.cached.resize(end, 0);
        }
        self.cached[offset..end].copy_from_slice(bytes);
        self.pending.push(PendingWrite { offset, bytes: bytes.clone() });
        Ok(())
    }

    pub(super) fn sync(&mut self) {
        for write in std::mem::take(&mut self.pending) {
            self.settle(write.offset, &write.bytes);
        }
    }

    /// Some of what was written reaches the platter. The rest never will, though the cache still
    /// shows it, and the next sync finds nothing to do.
    pub(super) fn sync_in_vain(&mut self, random: &mut Random) {
        self.scatter(random);
    }

    pub(super) fn lose_power(&mut self, random: &mut Random) {
        const FATES: [Fate; 5] =
            [Fate::Lost, Fate::Kept, Fate::InOrder, Fate::Scattered, Fate::Scattered];
        match FATES[below(random, FATES.len())] {
            Fate::Lost => self.pending.clear(),
            Fate::Kept => self.sync(),
            Fate::InOrder => self.keep_a_prefix(random),
            Fate::Scattered => self.scatter(random),
        }
        self.cached.clone_from(&self.durable);
    }

    pub(super) fn flip(&mut self, offset: u64, bit: u8) -> io::Result<()> {
        for content in [&mut self.durable, &mut self.cached] {
            let byte = content.get_mut(offset as usize).ok_or(io::ErrorKind::UnexpectedEof)?;
            *byte ^= 1 << (bit % 8);
        }
        Ok(())
    }

    pub(super) fn misdirect(&mut self, from: u64, to: u64) -> io::Result<()> {
        let (from, to) = (from as usize, to as usize);
        for content in [&mut self.durable, &mut self.cached] {
            if from.max(to).saturating_add(SECTOR_BYTES) > content.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            content.copy_within(from..from + SECTOR_BYTES, to);
        }
        Ok(())
    }

    fn keep_a_prefix(&mut self, random: &mut Random) {
        let pending = std::mem::take(&mut self.pending);
        let Some(last) = pending.len().checked_sub(1) else { return };
        let torn = below(random, last + 1);
        for write in &pending[..torn] {
            self.settle(write.offset, &write.bytes);
        }
        let spared = below(random, pending[torn].bytes.len() + 1);
        self.settle(pending[torn].offset, &pending[torn].bytes[..spared]);
    }

    /// Each sector of each write is lost, kept, or torn within; later ones do not wait for
    /// earlier ones.
    fn scatter(&mut self, random: &mut Random) {
        for write in std::mem::take(&mut self.pending) {
            let mut offset = write.offset;
            let mut rest = &write.bytes[..];
            while !rest.is_empty() {
                let to_boundary = SECTOR_BYTES - offset % SECTOR_BYTES;
                let (sector, others) = rest.split_at(to_boundary.min(rest.len()));
                let spared = match random.bits() % 8 {
                    0..4 => sector.len(),
                    4 => below(random, sector.len() + 1),
                    _ => 0,
                };
                self.settle(offset, &sector[..spared]);
                (offset, rest) = (offset + sector.len(), others);
            }
        }
    }

    fn settle(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if end > self.durable.len() {
            self.durable.resize(end, 0);
        }
        self.durable[offset..end].copy_from_slice(bytes);
    }
}
