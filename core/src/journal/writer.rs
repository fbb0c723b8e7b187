//! Gives batches their places in a segment, one after another.

use super::batch::{Batch, EncodedBatch};
use super::layout::{BLOCK_BYTES, Layout, SEAL_STEP, align};
use super::segment::{Identity, SegmentEnd, SegmentHeader};

/// The writing end of one segment. Batches go after one another, seals into their lanes; when
/// either has no room left, the segment is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentWriter {
    layout: Layout,
    identity: Identity,
    end: SegmentEnd,
    lanes: [u32; 2],
}

impl SegmentWriter {
    /// The writer of a new segment.
    pub fn new(header: &SegmentHeader) -> Self {
        let layout = header.layout;
        Self {
            layout,
            identity: header.identity(),
            end: header.start(),
            lanes: [layout.lane(0).start, layout.lane(1).start],
        }
    }

    /// Encodes a batch to go after the ones before. It may be written once those are durable.
    ///
    /// # Errors
    /// Gives the batch back when the segment has no room for it.
    pub fn place(&mut self, batch: Batch) -> Result<EncodedBatch, Batch> {
        assert!(!batch.is_empty(), "a batch has entries");
        let number = self.end.next_batch;
        let seal_offset = self.lanes[(number % 2) as usize];
        let batch_end = self.end.offset as usize + align(batch.bytes(), BLOCK_BYTES);
        let seal_end = seal_offset as usize + align(batch.seal_bytes(), SEAL_STEP);
        if batch_end > self.layout.data().end as usize
            || seal_end > self.layout.lane(number).end as usize
        {
            return Err(batch);
        }
        let (encoded, chain) =
            batch.encode(self.identity, number, self.end.offset, self.end.chain, seal_offset);
        self.lanes[(number % 2) as usize] = seal_end as u32;
        self.end = SegmentEnd { offset: batch_end as u32, chain, next_batch: number + 1 };
        Ok(encoded)
    }

    /// The point after the last batch placed.
    pub fn end(&self) -> SegmentEnd {
        self.end
    }

    /// Whether nothing was placed yet.
    pub fn is_empty(&self) -> bool {
        self.end.offset == self.layout.data().start
    }
}
