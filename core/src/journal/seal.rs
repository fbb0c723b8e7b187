//! A seal: what a batch was, kept away from it and durable with the same sync.
//!
//! ```text
//!  0  magic       "WSEA"                            little-endian throughout
//!  4  segment     u32
//!  8  incarnation u64
//! 16  number      u64  of the batch
//! 24  offset      u32  of the batch
//! 28  length      u32  of the batch
//! 32  chain       u32  the checksum of the batch's last entry
//! 36  length      u32  of the seal
//! 40  touched     u32  how many
//! 44  controls    u32  how many
//! 48  0
//! 60  checksum    u32  CRC32C of the segment's checksum, bytes 0 to 60 and 64 to the end
//! 64  sectors, one checksum u32 for every 512 bytes of the batch (the last filled up with zeros)
//!  …  touched, each: partition u32, first id u64, count u32
//!  …  heads of the batch's control entries, end to end
//! ```
//!
//! The seal of batch *k* is in lane *k* mod 2, so the page that it shares with others is never
//! being written while batch *k* + 1 is. The checksums of sectors tell a sector that never
//! reached the disk, and so still holds zeros, from one that changed after it did.

use bytes::{Buf, BufMut, Bytes};

use crate::id::{Incarnation, PartitionId, TransactionId};

use super::EntryHead;
use super::batch::BatchHeader;
use super::layout::SECTOR_BYTES;
use super::segment::Identity;

pub(super) const SEAL_HEADER_BYTES: usize = 64;
pub(super) const TOUCHED_BYTES: usize = 16;
const MAGIC: u32 = u32::from_le_bytes(*b"WSEA");
const FIELDS_BYTES: usize = 48;
const CHECKED_BYTES: usize = 60;

/// Records that a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touched {
    /// Their partition.
    pub partition: PartitionId,
    /// The first one's id.
    pub first: TransactionId,
    /// How many.
    pub count: u32,
}

impl Touched {
    /// Both as one, if `next` follows directly.
    fn joined(&self, next: &Self) -> Option<Self> {
        let follows = self.partition == next.partition
            && self.first.0.checked_add(u64::from(self.count)) == Some(next.first.0);
        let count = self.count.checked_add(next.count)?;
        follows.then_some(Self { count, ..*self })
    }
}

/// A seal that was read back, sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) number: u64,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) sectors: Vec<u32>,
    pub(super) touched: Vec<Touched>,
    pub(super) controls: Vec<EntryHead>,
}

impl Seal {
    /// The seal at the start of `bytes`, if a sound one of this segment is there.
    pub(super) fn decode(bytes: &[u8], identity: Identity) -> Option<Self> {
        let mut input = bytes.get(..SEAL_HEADER_BYTES)?;
        if input.get_u32_le() != MAGIC
            || input.get_u32_le() != identity.segment
            || Incarnation(input.get_u64_le()) != identity.incarnation
        {
            return None;
        }
        let (number, offset, length) = (input.get_u64_le(), input.get_u32_le(), input.get_u32_le());
        input.advance(4);
        let (seal_length, touched) = (input.get_u32_le() as usize, input.get_u32_le() as usize);
        let controls = input.get_u32_le();
        let found = (&input[CHECKED_BYTES - FIELDS_BYTES..]).get_u32_le();
        let mut rest = bytes.get(SEAL_HEADER_BYTES..seal_length)?;
        let header = crc32c::crc32c_append(identity.seed, &bytes[..CHECKED_BYTES]);
        if found != crc32c::crc32c_append(header, rest) {
            return None;
        }
        let sectors = (length as usize).div_ceil(SECTOR_BYTES);
        if rest.len() < sectors * 4 + touched.checked_mul(TOUCHED_BYTES)? {
            return None;
        }
        let sectors = (0..sectors).map(|_| rest.get_u32_le()).collect();
        let touched = (0..touched)
            .map(|_| Touched {
                partition: PartitionId(rest.get_u32_le()),
                first: TransactionId(rest.get_u64_le()),
                count: rest.get_u32_le(),
            })
            .collect();
        let mut heads = Vec::new();
        for _ in 0..controls {
            let (head, after) = postcard::take_from_bytes(rest).ok()?;
            heads.push(head);
            rest = after;
        }
        Some(Self { number, offset, length, sectors, touched, controls: heads })
    }
}

/// What a seal will say of a batch's entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Contents {
    touched: Vec<Touched>,
    controls: Vec<u8>,
    control_count: u32,
}

/// A state of [`Contents`] to go back to, before the next entry is added to it.
#[derive(Debug)]
pub(super) struct Mark {
    touched: usize,
    last: Option<Touched>,
    controls: usize,
    control_count: u32,
}

impl Contents {
    /// Takes in an entry's head and its encoding.
    pub(super) fn add(&mut self, head: &EntryHead, encoded: &[u8]) {
        if let &EntryHead::Records { partition, first, count, .. } = head {
            let run = Touched { partition, first, count };
            match self.touched.last_mut().and_then(|last| Some((last.joined(&run)?, last))) {
                Some((joined, last)) => *last = joined,
                None => self.touched.push(run),
            }
        }
        if head.is_control() {
            self.controls.extend_from_slice(encoded);
            self.control_count += 1;
        }
    }

    /// The present state.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            touched: self.touched.len(),
            last: self.touched.last().copied(),
            controls: self.controls.len(),
            control_count: self.control_count,
        }
    }

    /// Goes back to a state before.
    pub(super) fn reset(&mut self, mark: Mark) {
        self.touched.truncate(mark.touched);
        if let (Some(last), Some(before)) = (self.touched.last_mut(), mark.last) {
            *last = before;
        }
        self.controls.truncate(mark.controls);
        self.control_count = mark.control_count;
    }

    /// The length of the seal of a batch of this length.
    pub(super) fn seal_bytes(&self, batch_bytes: usize) -> usize {
        SEAL_HEADER_BYTES
            + batch_bytes.div_ceil(SECTOR_BYTES) * 4
            + self.touched.len() * TOUCHED_BYTES
            + self.controls.len()
    }

    /// The seal as it is written.
    pub(super) fn encode(
        &self,
        identity: Identity,
        batch: &BatchHeader,
        chain: u32,
        sectors: &[u8],
    ) -> Bytes {
        let length = self.seal_bytes(batch.length as usize);
        let mut seal = Vec::with_capacity(length);
        seal.put_u32_le(MAGIC);
        seal.put_u32_le(identity.segment);
        seal.put_u64_le(identity.incarnation.0);
        seal.put_u64_le(batch.number);
        seal.put_u32_le(batch.offset);
        seal.put_u32_le(batch.length);
        seal.put_u32_le(chain);
        seal.put_u32_le(length as u32);
        seal.put_u32_le(self.touched.len() as u32);
        seal.put_u32_le(self.control_count);
        assert_eq!(seal.len(), FIELDS_BYTES, "the seal has its documented length");
        seal.resize(SEAL_HEADER_BYTES, 0);
        seal.put_slice(sectors);
        for run in &self.touched {
            seal.put_u32_le(run.partition.0);
            seal.put_u64_le(run.first.0);
            seal.put_u32_le(run.count);
        }
        seal.put_slice(&self.controls);
        let header = crc32c::crc32c_append(identity.seed, &seal[..CHECKED_BYTES]);
        let checksum = crc32c::crc32c_append(header, &seal[SEAL_HEADER_BYTES..]);
        seal[CHECKED_BYTES..SEAL_HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        Bytes::from(seal)
    }
}

/// Checksums of the sectors of a batch that is given in pieces.
#[derive(Debug, Default)]
pub(super) struct Sectors {
    checksums: Vec<u8>,
    current: u32,
    filled: usize,
}

impl Sectors {
    /// Adds what follows.
    pub(super) fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(SECTOR_BYTES - self.filled));
            self.current = crc32c::crc32c_append(self.current, now);
            self.filled += now.len();
            if self.filled == SECTOR_BYTES {
                self.checksums.put_u32_le(self.current);
                (self.current, self.filled) = (0, 0);
            }
            bytes = rest;
        }
    }

    /// The checksums, encoded.
    pub(super) fn finish(&mut self) -> &[u8] {
        if self.filled > 0 {
            self.add(&[0; SECTOR_BYTES][self.filled..]);
        }
        &self.checksums
    }
}
