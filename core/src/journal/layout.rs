//! Where things are in a segment, and what its file is called.
//!
//! ```text
//! 0          4 KiB                                              segment_bytes
//! ├─ header ─┼─ even lane ─┼─ odd lane ─┼─ batches, 4 KiB steps ─┼─ copy ─┤
//!             each 1/16 of the segment: seals, 64-byte steps       of the header
//! ```

use std::ops::Range;

use crate::limits::Limits;

use super::batch::{BATCH_HEADER_BYTES, TABLE_ENTRY_BYTES};
use super::seal::SEAL_HEADER_BYTES;

/// Batches start at multiples of this; the header and its copy have one each for themselves.
pub const BLOCK_BYTES: u32 = 4096;
/// The least that a disk writes whole: a lost write leaves each sector old or new.
pub const SECTOR_BYTES: usize = 512;
/// Seals start at multiples of this.
pub(super) const SEAL_STEP: u32 = 64;

/// The usual size of a segment.
pub const DEFAULT_SEGMENT_BYTES: u32 = 32 << 20;
const MIN_SEGMENT_BYTES: u32 = 64 << 10;
const MAX_SEGMENT_BYTES: u32 = 1 << 30;
/// A batch of several entries stays below this, so that one sync never takes long.
const MAX_BATCH_BYTES: u32 = 4 << 20;

/// The division of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    segment_bytes: u32,
    lane_bytes: u32,
}

impl Layout {
    /// The division of a segment of this size; `None` when a segment can't have that size: it is
    /// a multiple of 4 KiB from 64 KiB to 1 GiB.
    pub fn new(segment_bytes: u32) -> Option<Self> {
        let sound = segment_bytes.is_multiple_of(BLOCK_BYTES)
            && (MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&segment_bytes);
        let lane_bytes = segment_bytes / 16 / BLOCK_BYTES * BLOCK_BYTES;
        sound.then_some(Self { segment_bytes, lane_bytes })
    }

    /// The smallest segment in which every entry within these limits has room: its head no longer
    /// than a frame's head, its body no longer than a frame's payload.
    pub fn smallest_segment_bytes(limits: &Limits) -> u64 {
        let block = u64::from(BLOCK_BYTES);
        let (head, body) = (u64::from(limits.frame_head), u64::from(limits.frame_payload));
        let table = TABLE_ENTRY_BYTES as u64 + head;
        let batch = BATCH_HEADER_BYTES as u64 + table + body;
        let seal = SEAL_HEADER_BYTES as u64 + batch.div_ceil(SECTOR_BYTES as u64) * 4 + table;
        let for_data = (batch.next_multiple_of(block) + 2 * block) * 8 / 7;
        let for_lane = seal.next_multiple_of(block) * 16;
        for_data.max(for_lane).max(u64::from(MIN_SEGMENT_BYTES)).next_multiple_of(block)
    }

    /// The length of the whole file.
    pub fn segment_bytes(self) -> u32 {
        self.segment_bytes
    }

    /// Where the copy of the header is.
    pub fn copy_offset(self) -> u32 {
        self.segment_bytes - BLOCK_BYTES
    }

    /// Where the seal of the batch of this number may be.
    pub(super) fn lane(self, number: u64) -> Range<u32> {
        let start = BLOCK_BYTES + (number % 2) as u32 * self.lane_bytes;
        start..start + self.lane_bytes
    }

    /// Where batches are.
    pub(super) fn data(self) -> Range<u32> {
        BLOCK_BYTES + 2 * self.lane_bytes..self.copy_offset()
    }

    /// Whether a batch of several entries may become this long.
    pub(super) fn takes(self, batch_bytes: usize, seal_bytes: usize) -> bool {
        let data = self.data();
        batch_bytes <= MAX_BATCH_BYTES.min((data.end - data.start) / 4) as usize
            && seal_bytes <= self.lane_bytes as usize / 4
    }
}

/// The next multiple of `step`, which is a power of two.
pub(super) fn align(bytes: usize, step: u32) -> usize {
    bytes.next_multiple_of(step as usize)
}

/// The name of a segment's file.
pub fn segment_name(segment: u32) -> String {
    format!("journal-{segment:08}.wal")
}

/// The segment that a file of this name is.
pub fn parse_segment_name(name: &str) -> Option<u32> {
    let segment = name.strip_prefix("journal-")?.strip_suffix(".wal")?.parse().ok()?;
    (segment_name(segment) == name).then_some(segment)
}

/// The name of a zero-filled file that waits to become a segment.
pub fn spare_name(spare: u64) -> String {
    format!("spare-{spare}.wal")
}

/// The number of the spare that a file of this name is.
pub fn parse_spare_name(name: &str) -> Option<u64> {
    let spare = name.strip_prefix("spare-")?.strip_suffix(".wal")?.parse().ok()?;
    (spare_name(spare) == name).then_some(spare)
}

#[cfg(test)]
mod tests {
    use super::super::seal::seal_bytes;
    use super::*;

    #[test]
    fn a_segment_is_divided_without_gaps() {
        for segment_bytes in [64 << 10, 128 << 10, 132 << 10, DEFAULT_SEGMENT_BYTES] {
            let layout = Layout::new(segment_bytes).expect("a valid size");
            assert_eq!(layout.lane(2).start, BLOCK_BYTES);
            assert_eq!(layout.lane(2).end, layout.lane(3).start);
            assert_eq!(layout.lane(3).end, layout.data().start);
            assert_eq!(layout.data().end, layout.copy_offset());
            assert_eq!(layout.copy_offset() + BLOCK_BYTES, segment_bytes);
            assert!(layout.data().start.is_multiple_of(BLOCK_BYTES));
        }
    }

    #[test]
    fn sizes_that_no_segment_has_are_refused() {
        for segment_bytes in [0, 4096, 60 << 10, (128 << 10) + 512, (1 << 30) + 4096, u32::MAX] {
            assert_eq!(Layout::new(segment_bytes), None, "{segment_bytes}");
        }
    }

    #[test]
    fn the_smallest_segment_holds_the_largest_entry() {
        for (frame_head, frame_payload) in [(1 << 20, 8 << 20), (1 << 10, 16 << 10), (0, 0)] {
            let limits = Limits { frame_head, frame_payload, ..Limits::default() };
            let bytes = Layout::smallest_segment_bytes(&limits);
            let layout = Layout::new(u32::try_from(bytes).expect("small")).expect("valid");
            let table = TABLE_ENTRY_BYTES + limits.frame_head as usize;
            let batch = BATCH_HEADER_BYTES + table + limits.frame_payload as usize;
            assert!(align(batch, BLOCK_BYTES) <= layout.data().len());
            assert!(seal_bytes(batch, table) <= layout.lane(0).len());
        }
        assert!(
            Layout::smallest_segment_bytes(&Limits::default()) <= DEFAULT_SEGMENT_BYTES.into(),
            "the defaults go together"
        );
    }

    #[test]
    fn names_are_parsed_only_as_they_are_written() {
        assert_eq!(segment_name(7), "journal-00000007.wal");
        assert_eq!(parse_segment_name(&segment_name(u32::MAX)), Some(u32::MAX));
        assert_eq!(parse_spare_name(&spare_name(12)), Some(12));
        for name in ["journal-7.wal", "journal-0000000x.wal", "journal-00000007.wal.bak", "lock"] {
            assert_eq!(parse_segment_name(name), None, "{name}");
        }
        assert_eq!(parse_spare_name("spare-01.wal"), None);
    }
}
