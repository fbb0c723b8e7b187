//! What a segment shows of a batch that can't be read: whether it was durable, or cut short.

use std::collections::BTreeMap;

use super::batch::BatchHeader;
use super::damage::Evidence;
use super::decode::Contents;
use super::layout::{BLOCK_BYTES, SEAL_STEP, SECTOR_BYTES, align};
use super::seal::Seal;
use super::segment::SegmentEnd;

/// Where the readable seals of a segment are, by the numbers of their batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seals(BTreeMap<u64, u32>);

impl Seals {
    /// Looks for all of them.
    pub(super) fn find(contents: Contents<'_>) -> Self {
        let mut seals = BTreeMap::new();
        for lane in [contents.layout.lane(0), contents.layout.lane(1)] {
            for at in lane.step_by(SEAL_STEP as usize) {
                if let Some(seal) = Seal::decode(&contents.bytes[at as usize..], contents.identity)
                {
                    seals.insert(seal.number, at);
                }
            }
        }
        Self(seals)
    }

    /// The seal of a batch of this number, and where it is.
    pub(super) fn of<'a>(&self, number: u64, contents: Contents<'a>) -> Option<(u32, Seal<'a>)> {
        let &at = self.0.get(&number)?;
        let seal = Seal::decode(&contents.bytes[at as usize..], contents.identity)?;
        Some((at, seal))
    }

    /// Why a bad batch at this point was durable, in a journal's last segment; `None` if it was
    /// torn.
    pub(super) fn evidence(
        &self,
        start: SegmentEnd,
        seal: Option<&Seal<'_>>,
        contents: Contents<'_>,
    ) -> Option<Evidence> {
        let later_seal = self.0.keys().next_back().copied();
        let later_seal = later_seal.filter(|&number| number > start.next_batch);
        if let Some(number) = later_batch(start, contents).or(later_seal) {
            return Some(Evidence::LaterBatch { number });
        }
        seal.filter(|seal| !is_torn(seal, contents)).map(|_| Evidence::Seal)
    }

    /// Whether anything is there of a batch that would have been the segment's next and last.
    pub(super) fn is_left_over(&self, start: SegmentEnd, contents: Contents<'_>) -> bool {
        let data = &contents.bytes[start.offset as usize..contents.layout.data().end as usize];
        data.iter().any(|&byte| byte != 0) || self.0.contains_key(&start.next_batch)
    }
}

/// The number of a batch that was written after the one that belongs at this point.
fn later_batch(start: SegmentEnd, contents: Contents<'_>) -> Option<u64> {
    let data_end = contents.layout.data().end;
    (start.offset..data_end).step_by(BLOCK_BYTES as usize).find_map(|at| {
        let header = BatchHeader::decode(&contents.bytes[at as usize..], contents.identity)?;
        (header.offset == at && header.number > start.next_batch).then_some(header.number)
    })
}

/// Whether all that ails a sealed batch is sectors that were never written.
fn is_torn(seal: &Seal<'_>, contents: Contents<'_>) -> bool {
    let start = seal.offset as usize;
    let stretch = align(seal.length as usize, SECTOR_BYTES as u32);
    let Some(bytes) = contents.bytes.get(start..start + stretch) else { return false };
    let mut lost = 0;
    let explained = bytes.chunks(SECTOR_BYTES).zip(seal.sectors()).all(|(sector, checksum)| {
        let is_lost = crc32c::crc32c(sector) != checksum;
        lost += usize::from(is_lost);
        !is_lost || sector.iter().all(|&byte| byte == 0)
    });
    explained && lost > 0
}
