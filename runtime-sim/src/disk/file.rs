//! One file: what is read from it, and what of that a loss of power may spare.

use std::io;

use bytes::Bytes;
use waltz_core::time::Random;

use super::content::Content;
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
    durable: Content,
    cached: Content,
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
        let content = Content::zeroed(length as usize);
        Self { durable: content.clone(), cached: content, pending: Vec::new() }
    }

    pub(super) fn length(&self) -> u64 {
        self.cached.len() as u64
    }

    /// Of what is on the platter.
    pub(super) fn checksum(&self) -> u32 {
        self.durable.checksum()
    }

    pub(super) fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let found = self.cached.read(offset as usize, length);
        found.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    pub(super) fn write(&mut self, offset: u64, bytes: Bytes) {
        let offset = offset as usize;
        self.cached.write(offset, &bytes);
        self.pending.push(PendingWrite { offset, bytes });
    }

    pub(super) fn sync(&mut self) {
        for write in std::mem::take(&mut self.pending) {
            self.durable.write(write.offset, &write.bytes);
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
            let byte = content.read(offset as usize, 1).ok_or(io::ErrorKind::UnexpectedEof)?;
            content.write(offset as usize, &[byte[0] ^ 1 << (bit % 8)]);
        }
        Ok(())
    }

    pub(super) fn misdirect(&mut self, from: u64, to: u64) -> io::Result<()> {
        let (from, to) = (from as usize, to as usize);
        for content in [&mut self.durable, &mut self.cached] {
            if from.max(to).saturating_add(SECTOR_BYTES) > content.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let sector = content.read(from, SECTOR_BYTES).expect("it was just measured");
            content.write(to, &sector);
        }
        Ok(())
    }

    fn keep_a_prefix(&mut self, random: &mut Random) {
        let sectors = self.take_pending_sectors();
        let kept = below(random, sectors.len() + 1);
        for (offset, bytes) in &sectors[..kept] {
            self.durable.write(*offset, bytes);
        }
    }

    /// Each sector of each write is lost or kept; later ones do not wait for earlier ones.
    fn scatter(&mut self, random: &mut Random) {
        for (offset, bytes) in self.take_pending_sectors() {
            if random.bits().is_multiple_of(2) {
                self.durable.write(offset, &bytes);
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
}
