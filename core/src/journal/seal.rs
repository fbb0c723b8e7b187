//! A seal: what a batch was, kept away from it and durable with the same sync.
//!
//! ```text
//!  0  magic       "WSEA"                            little-endian throughout
//!  4  segment     u32
//!  8  incarnation u64
//! 16  number      u64  of the batch
//! 24  offset      u32  of the batch
//! 28  length      u32  of the batch
//! 32  length      u32  of the seal
//! 36  entries     u32  of the batch
//! 40  0
//! 60  checksum    u32  CRC32C of the segment's checksum, bytes 0 to 60 and 64 to the end
//! 64  sectors, one checksum u32 for every 512 bytes of the batch (the last filled up with zeros)
//!  …  table, as in the batch
//! ```
//!
//! The seal of batch *k* is in lane *k* mod 2, so the page that it shares with others is never
//! being written while batch *k* + 1 is. The checksums of sectors tell a sector that never
//! reached the disk, and so still holds zeros, from one that changed after it did. The table says
//! everything about a batch but its bodies, and proves each of them by its entry's checksum: a
//! batch that is damaged is folded from its seal.

use bytes::{Buf, BufMut, Bytes};

use crate::id::Incarnation;

use super::batch::{BATCH_HEADER_BYTES, BatchHeader};
use super::layout::SECTOR_BYTES;
use super::segment::Identity;

pub(super) const SEAL_HEADER_BYTES: usize = 64;
const MAGIC: u32 = u32::from_le_bytes(*b"WSEA");
const FIELDS_BYTES: usize = 40;
const CHECKED_BYTES: usize = 60;

/// A seal that was read back, sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal<'a> {
    /// The batch's number.
    pub(super) number: u64,
    /// Where the batch is.
    pub(super) offset: u32,
    /// The batch's length.
    pub(super) length: u32,
    /// How many entries the batch has.
    pub(super) entries: u32,
    /// The batch's table.
    pub(super) table: &'a [u8],
    /// All of the seal.
    pub(super) bytes: &'a [u8],
    sectors: &'a [u8],
}

impl<'a> Seal<'a> {
    /// The seal at the start of `bytes`, if a sound one of this segment is there.
    pub(super) fn decode(bytes: &'a [u8], identity: Identity) -> Option<Self> {
        let mut input = bytes.get(..SEAL_HEADER_BYTES)?;
        if input.get_u32_le() != MAGIC
            || input.get_u32_le() != identity.segment
            || Incarnation(input.get_u64_le()) != identity.incarnation
        {
            return None;
        }
        let (number, offset, length) = (input.get_u64_le(), input.get_u32_le(), input.get_u32_le());
        let (seal_length, entries) = (input.get_u32_le() as usize, input.get_u32_le());
        let found = (&input[CHECKED_BYTES - FIELDS_BYTES..]).get_u32_le();
        let bytes = bytes.get(..seal_length)?;
        let rest = bytes.get(SEAL_HEADER_BYTES..)?;
        let header = crc32c::crc32c_append(identity.seed, &bytes[..CHECKED_BYTES]);
        if found != crc32c::crc32c_append(header, rest) {
            return None;
        }
        let sectors = (length as usize).div_ceil(SECTOR_BYTES) * 4;
        let (sectors, table) = rest.split_at_checked(sectors)?;
        let is_sound = BATCH_HEADER_BYTES + table.len() <= length as usize;
        is_sound.then_some(Self { number, offset, length, entries, table, bytes, sectors })
    }

    /// The checksums of the batch's sectors, in order.
    pub(super) fn sectors(&self) -> impl Iterator<Item = u32> + 'a {
        self.sectors.chunks_exact(4).map(|mut checksum| checksum.get_u32_le())
    }
}

/// The length of the seal of a batch of this length with a table of this length.
pub(super) fn seal_bytes(batch_bytes: usize, table_bytes: usize) -> usize {
    SEAL_HEADER_BYTES + batch_bytes.div_ceil(SECTOR_BYTES) * 4 + table_bytes
}

/// The seal of a batch as it is written.
pub(super) fn encode_seal(
    identity: Identity,
    batch: &BatchHeader,
    sectors: &[u8],
    table: &[u8],
) -> Bytes {
    let length = seal_bytes(batch.length as usize, table.len());
    let mut seal = Vec::with_capacity(length);
    seal.put_u32_le(MAGIC);
    seal.put_u32_le(identity.segment);
    seal.put_u64_le(identity.incarnation.0);
    seal.put_u64_le(batch.number);
    seal.put_u32_le(batch.offset);
    seal.put_u32_le(batch.length);
    seal.put_u32_le(length as u32);
    seal.put_u32_le(batch.entries);
    assert_eq!(seal.len(), FIELDS_BYTES, "the seal has its documented length");
    seal.resize(SEAL_HEADER_BYTES, 0);
    seal.put_slice(sectors);
    seal.put_slice(table);
    let header = crc32c::crc32c_append(identity.seed, &seal[..CHECKED_BYTES]);
    let checksum = crc32c::crc32c_append(header, &seal[SEAL_HEADER_BYTES..]);
    seal[CHECKED_BYTES..SEAL_HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    Bytes::from(seal)
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
