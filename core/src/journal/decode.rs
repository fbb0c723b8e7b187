//! Reads one batch back: from itself, when all of it is sound, or from its seal.

use bytes::{Buf, Bytes};

use crate::planted::{Planted, PlantedBug};

use super::batch::{BATCH_HEADER_BYTES, BatchHeader, TABLE_ENTRY_BYTES, entry_checksum};
use super::damage::BatchFault;
use super::found::FoundEntry;
use super::layout::{BLOCK_BYTES, Layout, align};
use super::seal::{Seal, Sectors, encode_seal};
use super::segment::{Identity, SegmentEnd};
use super::{Place, SegmentHeader};

/// A segment's bytes, and what tells its batches from others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contents<'a> {
    pub(super) layout: Layout,
    pub(super) identity: Identity,
    pub(super) bytes: &'a [u8],
    pub(super) planted: Planted,
}

/// A batch that was read back, and what follows from it.
#[derive(Debug)]
pub(super) struct Decoded<'a> {
    pub(super) number: u64,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) entries: Vec<FoundEntry<'a>>,
    /// The point after it.
    pub(super) end: SegmentEnd,
}

/// Where a batch is, and its table.
#[derive(Debug, Clone, Copy)]
struct Extent<'a> {
    number: u64,
    offset: u32,
    length: u32,
    entries: u32,
    table: &'a [u8],
    /// The table is from the seal: it is as it was written, whatever the bodies are.
    is_sealed: bool,
}

impl<'a> Contents<'a> {
    /// What a segment with this header holds.
    pub(super) fn new(
        header: &SegmentHeader,
        identity: Identity,
        bytes: &'a [u8],
        planted: Planted,
    ) -> Self {
        Self { layout: header.layout, identity, bytes, planted }
    }

    /// The batch that starts at `start` and ends at `limit` or before, if all of it is sound.
    pub(super) fn batch(self, start: SegmentEnd, limit: u32) -> Result<Decoded<'a>, BatchFault> {
        let header = self.header(start, limit)?;
        self.entries(header.previous, self.extent(&header)?)
    }

    /// The batch at `start` by its seal, which is of this batch. Bodies that are not what the seal
    /// proves are damaged.
    pub(super) fn sealed_batch(
        self,
        start: SegmentEnd,
        seal: &Seal<'a>,
    ) -> Result<Decoded<'a>, BatchFault> {
        let &Seal { number, offset, length, entries, table, .. } = seal;
        let extent = Extent { number, offset, length, entries, table, is_sealed: true };
        self.entries(start.chain, extent)
    }

    /// Where the seal of a sound batch at `start` goes, and the seal as it was written.
    pub(super) fn seal_again(
        self,
        start: SegmentEnd,
        limit: u32,
    ) -> Result<(u32, Bytes), BatchFault> {
        let header = self.header(start, limit)?;
        let extent = self.extent(&header)?;
        let mut sectors = Sectors::default();
        sectors.add(&self.bytes[header.offset as usize..][..header.length as usize]);
        let seal = encode_seal(self.identity, &header, sectors.finish(), extent.table);
        Ok((header.seal_offset, seal))
    }

    /// The sound header of the batch at `start`.
    fn header(self, start: SegmentEnd, limit: u32) -> Result<BatchHeader, BatchFault> {
        let room = &self.bytes[start.offset as usize..limit as usize];
        if self.planted.has(PlantedBug::OldBytesRevive)
            && let Some(header) = BatchHeader::parse(room)
            && header.offset == start.offset
            && header.length as usize <= room.len()
        {
            return Ok(header);
        }
        let header = BatchHeader::decode(room, self.identity).ok_or(BatchFault::Header)?;
        let lane = self.layout.lane(header.number);
        let seal_end = header.seal_offset.checked_add(header.seal_length);
        if (header.number, header.offset) != (start.next_batch, start.offset)
            || header.previous != start.chain
            || header.seal_offset < lane.start
            || seal_end.is_none_or(|end| end > lane.end)
        {
            return Err(BatchFault::Order);
        }
        if header.length as usize > room.len() {
            return Err(BatchFault::Table);
        }
        Ok(header)
    }

    fn extent(self, header: &BatchHeader) -> Result<Extent<'a>, BatchFault> {
        let &BatchHeader { number, offset, length, entries, .. } = header;
        let batch = &self.bytes[offset as usize..][..length as usize];
        let table_end = BATCH_HEADER_BYTES + header.table as usize;
        let table = batch.get(BATCH_HEADER_BYTES..table_end).ok_or(BatchFault::Table)?;
        Ok(Extent { number, offset, length, entries, table, is_sealed: false })
    }

    fn entries(self, previous: u32, extent: Extent<'a>) -> Result<Decoded<'a>, BatchFault> {
        let Extent { number, offset, length, mut table, is_sealed, .. } = extent;
        if extent.entries as usize > table.len() / TABLE_ENTRY_BYTES {
            return Err(BatchFault::Table);
        }
        let batch = self.bytes.get(offset as usize..).and_then(|rest| rest.get(..length as usize));
        let mut bodies = batch
            .and_then(|batch| batch.get(BATCH_HEADER_BYTES + table.len()..))
            .ok_or(BatchFault::Table)?;
        let mut chain = previous;
        let mut entries = Vec::with_capacity(extent.entries as usize);
        for index in 0..extent.entries {
            let row = Row::split_off(&mut table).ok_or(BatchFault::Table)?;
            let body_offset = offset + length - bodies.len() as u32;
            let body = bodies.split_off(..row.body_length as usize).ok_or(BatchFault::Table)?;
            let computed = entry_checksum(chain, offset, index, row.head, body);
            let is_damaged = computed != row.checksum;
            if is_damaged && !is_sealed {
                return Err(BatchFault::Entry { index, found: row.checksum, computed });
            }
            let Ok((head, [])) = postcard::take_from_bytes(row.head) else {
                return Err(BatchFault::Unknown { index });
            };
            let place = Place {
                segment: self.identity.segment,
                offset: body_offset,
                length: row.body_length,
            };
            entries.push(FoundEntry {
                head,
                place: (row.body_length > 0).then_some(place),
                body: if is_damaged { &[] } else { body },
                is_damaged: is_damaged && !body.is_empty(),
            });
            chain = row.checksum;
        }
        if !table.is_empty() || !bodies.is_empty() {
            return Err(BatchFault::Table);
        }
        let end = SegmentEnd {
            offset: offset + align(length as usize, BLOCK_BYTES) as u32,
            chain,
            next_batch: number.wrapping_add(1),
        };
        Ok(Decoded { number, offset, length, entries, end })
    }
}

/// What a batch's table says of one entry.
#[derive(Debug)]
struct Row<'a> {
    head: &'a [u8],
    body_length: u32,
    checksum: u32,
}

impl<'a> Row<'a> {
    /// The first row of a table, which loses it.
    fn split_off(table: &mut &'a [u8]) -> Option<Self> {
        let mut fixed = table.split_off(..TABLE_ENTRY_BYTES)?;
        let (head_length, body_length) = (fixed.get_u32_le(), fixed.get_u32_le());
        let head = table.split_off(..head_length as usize)?;
        Some(Self { head, body_length, checksum: fixed.get_u32_le() })
    }
}
