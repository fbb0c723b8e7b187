//! A batch: entries that become durable together, under one sync.
//!
//! ```text
//!  0  magic       "WBAT"                            little-endian throughout
//!  4  segment     u32
//!  8  incarnation u64
//! 16  number      u64  within the incarnation, from 1
//! 24  offset      u32  of this batch in the segment, a multiple of 4 KiB
//! 28  length      u32  header, table and bodies; zeros up to 4 KiB follow
//! 32  entries     u32
//! 36  table       u32  its length
//! 40  seal        u32 offset, u32 length
//! 48  previous    u32  the checksum of the entry before this batch
//! 52  0           u64
//! 60  checksum    u32  CRC32C of the segment's checksum and everything before
//! 64  table, for each entry: head length u32, body length u32, checksum u32, head
//!  …  bodies, end to end
//! ```
//!
//! An entry's checksum continues that of the entry before, over batch offset, index, both lengths,
//! head and body. The chain of a segment starts with the checksum of its header.

use bytes::{Buf, BufMut, Bytes};

use crate::id::Incarnation;

use super::layout::{BLOCK_BYTES, Layout, align};
use super::seal::{Sectors, encode_seal, seal_bytes};
use super::segment::Identity;
use super::{Entry, Place};

pub(super) const BATCH_HEADER_BYTES: usize = 64;
pub(super) const TABLE_ENTRY_BYTES: usize = 12;
const MAGIC: u32 = u32::from_le_bytes(*b"WBAT");
const CHECKED_BYTES: usize = 60;
static PADDING: [u8; BLOCK_BYTES as usize] = [0; BLOCK_BYTES as usize];

/// Entries on their way to a segment. Heads are encoded as they are added; bodies stay where they
/// are and are written from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Room for the header, then the table.
    table: Vec<u8>,
    bodies: Vec<Bytes>,
    body_bytes: usize,
}

/// A batch as it is to be written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedBatch {
    /// Where in the segment `slices` go, one after another.
    pub offset: u32,
    /// Header and table, the bodies, and zeros up to 4 KiB.
    pub slices: Vec<Bytes>,
    /// Where in the segment the seal goes.
    pub seal_offset: u32,
    /// The seal.
    pub seal: Bytes,
    /// For each entry, where its body is; `None` for entries without one.
    pub places: Vec<Option<Place>>,
}

impl Default for Batch {
    fn default() -> Self {
        Self { table: vec![0; BATCH_HEADER_BYTES], bodies: Vec::new(), body_bytes: 0 }
    }
}

impl Batch {
    /// Adds an entry. The first one is always taken.
    ///
    /// # Errors
    /// Gives the entry back when the batch would become too long for one sync in segments of this
    /// layout.
    pub fn push(&mut self, entry: Entry, layout: Layout) -> Result<(), Entry> {
        let start = self.table.len();
        self.table.extend_from_slice(&[0; TABLE_ENTRY_BYTES]);
        let head = start + TABLE_ENTRY_BYTES;
        self.table = postcard::to_extend(&entry.head, std::mem::take(&mut self.table))
            .expect("every entry head has an encoding");
        let length = self.bytes() + entry.body.len();
        let seal_length = seal_bytes(length, self.table.len() - BATCH_HEADER_BYTES);
        if !self.bodies.is_empty() && !layout.takes(length, seal_length) {
            self.table.truncate(start);
            return Err(entry);
        }
        let head_length = (self.table.len() - head) as u32;
        self.table[start..start + 4].copy_from_slice(&head_length.to_le_bytes());
        self.body_bytes += entry.body.len();
        self.bodies.push(entry.body);
        Ok(())
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.bodies.len()
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    /// Its length in the segment, in bytes, without what pads it.
    pub fn bytes(&self) -> usize {
        self.table.len() + self.body_bytes
    }

    /// The length of its seal, in bytes.
    pub(super) fn seal_bytes(&self) -> usize {
        seal_bytes(self.bytes(), self.table.len() - BATCH_HEADER_BYTES)
    }

    /// Fixes the batch to a place in a segment. The caller made sure that it fits there. Also
    /// returns the checksum of the last entry.
    pub(super) fn encode(
        mut self,
        identity: Identity,
        number: u64,
        offset: u32,
        previous: u32,
        seal_offset: u32,
    ) -> (EncodedBatch, u32) {
        let (length, seal_length) = (self.bytes(), self.seal_bytes());
        let mut chain = previous;
        let mut places = Vec::with_capacity(self.bodies.len());
        let mut at = BATCH_HEADER_BYTES;
        let mut body_offset = offset + self.table.len() as u32;
        for (index, body) in self.bodies.iter().enumerate() {
            let (prefix, rest) = self.table[at..].split_at_mut(TABLE_ENTRY_BYTES);
            let head_length = (&prefix[..4]).get_u32_le() as usize;
            let body_length = body.len() as u32;
            prefix[4..8].copy_from_slice(&body_length.to_le_bytes());
            chain = entry_checksum(chain, offset, index as u32, &rest[..head_length], body);
            prefix[8..].copy_from_slice(&chain.to_le_bytes());
            at += TABLE_ENTRY_BYTES + head_length;
            let place =
                Place { segment: identity.segment, offset: body_offset, length: body_length };
            places.push((body_length > 0).then_some(place));
            body_offset += body_length;
        }
        let header = BatchHeader {
            number,
            offset,
            length: length as u32,
            entries: self.bodies.len() as u32,
            table: (self.table.len() - BATCH_HEADER_BYTES) as u32,
            seal_offset,
            seal_length: seal_length as u32,
            previous,
        };
        header.encode(identity, &mut self.table[..BATCH_HEADER_BYTES]);
        let mut slices = Vec::with_capacity(self.bodies.len() + 2);
        slices.push(Bytes::from(self.table));
        slices.extend(self.bodies.into_iter().filter(|body| !body.is_empty()));
        let mut sectors = Sectors::default();
        slices.iter().for_each(|slice| sectors.add(slice));
        let table = &slices[0][BATCH_HEADER_BYTES..];
        let seal = encode_seal(identity, &header, sectors.finish(), table);
        assert_eq!(seal.len(), seal_length, "a seal is as long as was reckoned");
        let padding = align(length, BLOCK_BYTES) - length;
        slices.push(Bytes::from_static(&PADDING[..padding]));
        (EncodedBatch { offset, slices, seal_offset, seal, places }, chain)
    }
}

/// The fixed part of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) number: u64,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) entries: u32,
    pub(super) table: u32,
    pub(super) seal_offset: u32,
    pub(super) seal_length: u32,
    pub(super) previous: u32,
}

impl BatchHeader {
    pub(super) fn encode(&self, identity: Identity, mut out: &mut [u8]) {
        let mut header = Vec::with_capacity(BATCH_HEADER_BYTES);
        header.put_u32_le(MAGIC);
        header.put_u32_le(identity.segment);
        header.put_u64_le(identity.incarnation.0);
        header.put_u64_le(self.number);
        header.put_u32_le(self.offset);
        header.put_u32_le(self.length);
        header.put_u32_le(self.entries);
        header.put_u32_le(self.table);
        header.put_u32_le(self.seal_offset);
        header.put_u32_le(self.seal_length);
        header.put_u32_le(self.previous);
        header.put_u64_le(0);
        assert_eq!(header.len(), CHECKED_BYTES, "the header has its documented length");
        header.put_u32_le(crc32c::crc32c_append(identity.seed, &header));
        out.put_slice(&header);
    }

    /// The header at the start of `bytes`, if a sound one of this segment is there.
    pub(super) fn decode(bytes: &[u8], identity: Identity) -> Option<Self> {
        let input = bytes.get(..BATCH_HEADER_BYTES)?;
        let mut owner = &input[4..16];
        if owner.get_u32_le() != identity.segment
            || Incarnation(owner.get_u64_le()) != identity.incarnation
        {
            return None;
        }
        let (checked, mut checksum) = input.split_at(CHECKED_BYTES);
        let is_sound = checksum.get_u32_le() == crc32c::crc32c_append(identity.seed, checked);
        Self::parse(input).filter(|_| is_sound)
    }

    /// The header at the start of `bytes`, whosever it is, if one may be there.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut input = bytes.get(..BATCH_HEADER_BYTES)?;
        if input.get_u32_le() != MAGIC {
            return None;
        }
        input.advance(12);
        Some(Self {
            number: input.get_u64_le(),
            offset: input.get_u32_le(),
            length: input.get_u32_le(),
            entries: input.get_u32_le(),
            table: input.get_u32_le(),
            seal_offset: input.get_u32_le(),
            seal_length: input.get_u32_le(),
            previous: input.get_u32_le(),
        })
    }
}

/// The checksum of an entry: continues that of the entry before it.
pub(super) fn entry_checksum(
    previous: u32,
    batch_offset: u32,
    index: u32,
    head: &[u8],
    body: &[u8],
) -> u32 {
    let mut position = [0; 16];
    let mut out = &mut position[..];
    out.put_u32_le(batch_offset);
    out.put_u32_le(index);
    out.put_u32_le(head.len() as u32);
    out.put_u32_le(body.len() as u32);
    let checksum = crc32c::crc32c_append(previous, &position);
    crc32c::crc32c_append(crc32c::crc32c_append(checksum, head), body)
}
