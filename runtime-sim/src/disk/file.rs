//! One file: what is read from it, and what of that a loss of power may spare.

use std::io;

use bytes::Bytes;
use waltz_core::time::Random;

use crate::fault::below;

/// What a disk writes whole or not at all.
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
    /// They are kept up to somewhere within one.
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

    /// Of what is on the platter.
    pub(super) fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.durable)
    }

    pub(super) fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let found = offset as usize..(offset as usize).saturating_add(length);
        let bytes = self.cached.get(found).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Bytes::copy_from_slice(bytes))
    }

    pub(super) fn write(&mut self, offset: u64, bytes: Bytes) {
        let offset = offset as usize;
        overwrite(&mut self.cached, offset, &bytes);
        self.pending.push(PendingWrite { offset, bytes });
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
        let sectors = self.take_pending_sectors();
        let kept = below(random, sectors.len() + 1);
        for (offset, bytes) in &sectors[..kept] {
            self.settle(*offset, bytes);
        }
    }

    /// Each sector of each write is lost or kept; later ones do not wait for earlier ones.
    fn scatter(&mut self, random: &mut Random) {
        for (offset, bytes) in self.take_pending_sectors() {
            if random.bits().is_multiple_of(2) {
                self.settle(offset, &bytes);
            }
        }
    }

    /// What is not durable, in the order it was written, cut where the file's sectors end.
    fn take_pending_sectors(&mut self) -> Vec<(usize, Bytes)> {
        let mut sectors = Vec::new();
        for PendingWrite { mut offset, mut bytes } in std::mem::take(&mut self.pending) {
            while !bytes.is_empty() {
                let to_boundary = SECTOR_BYTES - offset % SECTOR_BYTES;
                let sector = bytes.split_to(to_boundary.min(bytes.len()));
                let next = offset + sector.len();
                sectors.push((offset, sector));
                offset = next;
            }
        }
        sectors
    }

    fn settle(&mut self, offset: usize, bytes: &[u8]) {
        overwrite(&mut self.durable, offset, bytes);
    }
}

/// Puts bytes somewhere; content that is too short grows.
fn overwrite(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if end > content.len() {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}
