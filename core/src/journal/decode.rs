//! Reads one batch back, verifying all of it before anything of it counts.

use bytes::Buf;

use super::batch::{BATCH_HEADER_BYTES, BatchHeader, TABLE_ENTRY_BYTES, entry_checksum};
use super::damage::BatchFault;
use super::layout::{BLOCK_BYTES, Layout, align};
use super::seal::{Contents, Sectors};
use super::segment::{Identity, SegmentEnd};
use super::{EntryHead, Place};

/// A batch that was read back, sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredBatch {
    /// Its number in the incarnation.
    pub number: u64,
    /// Where it is in the segment.
    pub offset: u32,
    /// Its length, without padding.
    pub length: u32,
    /// Its entries, in order, with the places of the bodies.
    pub entries: Vec<(EntryHead, Option<Place>)>,
}

/// A sound batch and what follows from it.
pub(super) struct Decoded<'a> {
    pub(super) batch: RecoveredBatch,
    /// The point after it.
    pub(super) end: SegmentEnd,
    header: BatchHeader,
    bytes: &'a [u8],
}

/// Reads the batch that starts at `start` in a segment and ends at `limit` or before.
pub(super) fn decode_batch(
    segment: &[u8],
    layout: Layout,
    identity: Identity,
    start: SegmentEnd,
    limit: u32,
) -> Result<Decoded<'_>, BatchFault> {
    let room = &segment[start.offset as usize..limit as usize];
    let header = BatchHeader::decode(room, identity).ok_or(BatchFault::Header)?;
    let lane = layout.lane(header.number);
    let seal_end = header.seal_offset.checked_add(header.seal_length);
    if (header.number, header.offset) != (start.next_batch, start.offset)
        || header.previous != start.chain
        || header.seal_offset < lane.start
        || seal_end.is_none_or(|end| end > lane.end)
    {
        return Err(BatchFault::Order);
    }
    let bytes = room.get(..header.length as usize).ok_or(BatchFault::Table)?;
    let table_end = BATCH_HEADER_BYTES + header.table as usize;
    let table = bytes.get(BATCH_HEADER_BYTES..table_end).ok_or(BatchFault::Table)?;
    let (entries, chain) = decode_entries(identity, &header, table, &bytes[table_end..])?;
    let batch = RecoveredBatch {
        number: header.number,
        offset: header.offset,
        length: header.length,
        entries,
    };
    let end = SegmentEnd {
        offset: start.offset + align(bytes.len(), BLOCK_BYTES) as u32,
        chain,
        next_batch: header.number.wrapping_add(1),
    };
    Ok(Decoded { batch, end, header, bytes })
}

type Entries = Vec<(EntryHead, Option<Place>)>;

fn decode_entries(
    identity: Identity,
    header: &BatchHeader,
    mut table: &[u8],
    mut bodies: &[u8],
) -> Result<(Entries, u32), BatchFault> {
    if header.entries as usize > table.len() / TABLE_ENTRY_BYTES {
        return Err(BatchFault::Table);
    }
    let mut chain = header.previous;
    let mut entries = Vec::with_capacity(header.entries as usize);
    for index in 0..header.entries {
        if table.len() < TABLE_ENTRY_BYTES {
            return Err(BatchFault::Table);
        }
        let (head_length, body_length) = (table.get_u32_le(), table.get_u32_le());
        let found = table.get_u32_le();
        let (Some((head, table_rest)), Some((body, bodies_rest))) = (
            table.split_at_checked(head_length as usize),
            bodies.split_at_checked(body_length as usize),
        ) else {
            return Err(BatchFault::Table);
        };
        chain = entry_checksum(chain, header.offset, index, head, body);
        if found != chain {
            return Err(BatchFault::Entry { index, found, computed: chain });
        }
        let Ok((head, [])) = postcard::take_from_bytes(head) else {
            return Err(BatchFault::Unknown { index });
        };
        let offset = header.offset + header.length - bodies.len() as u32;
        let place = Place { segment: identity.segment, offset, length: body_length };
        entries.push((head, (body_length > 0).then_some(place)));
        (table, bodies) = (table_rest, bodies_rest);
    }
    if table.is_empty() && bodies.is_empty() {
        Ok((entries, chain))
    } else {
        Err(BatchFault::Table)
    }
}

impl Decoded<'_> {
    /// The batch's seal and where it goes, as they were written.
    pub(super) fn seal(&self, identity: Identity) -> (u32, bytes::Bytes) {
        let mut contents = Contents::default();
        for (head, _) in &self.batch.entries {
            let encoded = postcard::to_stdvec(head).expect("every entry head has an encoding");
            contents.add(head, &encoded);
        }
        let mut sectors = Sectors::default();
        sectors.add(self.bytes);
        let seal = contents.encode(identity, &self.header, self.end.chain, sectors.finish());
        (self.header.seal_offset, seal)
    }
}
