//! The file of one segment: what is on the disk, and what was written since.

use bytes::Bytes;

use crate::explorer::draw::Draw;
use crate::journal::SECTOR_BYTES;
use crate::time::Random;

/// How much of what was written reaches the disk when power is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tear {
    Nothing,
    Everything,
    /// The first sectors of each write.
    Beginnings,
    /// Any sectors.
    Anything,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    durable: Vec<u8>,
    /// What was written and not synced, in order.
    written: Vec<(usize, Bytes)>,
}

impl File {
    /// A file of zeros, all of them durable.
    pub(super) fn zeros(length: u32) -> Self {
        Self { durable: vec![0; length as usize], written: Vec::new() }
    }

    /// What is on the disk.
    pub(super) fn durable(&self) -> &[u8] {
        &self.durable
    }

    pub(super) fn write(&mut self, offset: u32, bytes: Bytes) {
        self.written.push((offset as usize, bytes));
    }

    /// Whether anything is not durable.
    pub(super) fn is_unsynced(&self) -> bool {
        !self.written.is_empty()
    }

    pub(super) fn sync(&mut self) {
        for (offset, bytes) in self.written.drain(..) {
            self.durable[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
    }

    /// What a read gives: all that was written, durable or not.
    pub(super) fn read(&self) -> Bytes {
        let mut file = self.clone();
        file.sync();
        Bytes::from(file.durable)
    }

    /// Power is lost: of each sector that was written, either everything arrived or nothing.
    pub(super) fn lose_power(&mut self, random: &mut Random) {
        let tears = [Tear::Nothing, Tear::Everything, Tear::Beginnings, Tear::Anything];
        for (offset, bytes) in std::mem::take(&mut self.written) {
            let tear = tears[random.below(tears.len())];
            let reached = random.below(bytes.len() + 1);
            let mut at = offset;
            while at < offset + bytes.len() {
                let end = (at + 1).next_multiple_of(SECTOR_BYTES).min(offset + bytes.len());
                let arrives = match tear {
                    Tear::Nothing => false,
                    Tear::Everything => true,
                    Tear::Beginnings => at - offset < reached,
                    Tear::Anything => random.chance(2),
                };
                if arrives {
                    self.durable[at..end].copy_from_slice(&bytes[at - offset..end - offset]);
                }
                at = end;
            }
        }
    }
}
