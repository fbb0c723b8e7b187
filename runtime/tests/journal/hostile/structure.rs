//! What is where in a sound journal.

use std::ops::Range;

use bytes::Bytes;
use waltz_core::journal::{Entry, FoundBatch, SegmentHeader, segment_name};
use waltz_runtime::journal::{Examiner, JournalError, examine};

use crate::files::{Contents, Files};

/// A batch of a sound journal.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) segment: u32,
    /// Its bytes in the segment's file, without what pads them.
    pub(super) bytes: Range<usize>,
    /// Those of its seal.
    pub(super) seal: Range<usize>,
    pub(super) entries: usize,
}

/// What was written, in order.
#[derive(Debug, Default)]
pub(super) struct Structure {
    pub(super) batches: Vec<Written>,
    pub(super) entries: Vec<Entry>,
}

impl Structure {
    pub(super) fn of(contents: &Contents) -> Self {
        let mut structure = Self::default();
        examine(&mut Files::new(contents), &mut structure).expect("the journal is sound");
        for batch in &mut structure.batches {
            batch.seal = seal(&contents[&segment_name(batch.segment)], batch.bytes.start);
        }
        structure
    }
}

/// Where the seal of the batch at this offset is.
pub(super) fn seal(segment: &[u8], batch: usize) -> Range<usize> {
    let (offset, length) = (number(segment, batch + 40), number(segment, batch + 44));
    offset..offset + length
}

/// The 32 bits at an offset.
pub(super) fn number(bytes: &[u8], at: usize) -> usize {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u32::from_le_bytes(*field) as usize)
}

impl Examiner for Structure {
    type Error = JournalError;

    fn begin(&mut self, _: &[SegmentHeader], _: bool) -> Result<(), JournalError> {
        Ok(())
    }

    fn batch(
        &mut self,
        segment: &SegmentHeader,
        batch: FoundBatch<'_>,
    ) -> Result<(), JournalError> {
        let start = batch.offset as usize;
        self.batches.push(Written {
            segment: segment.segment,
            bytes: start..start + batch.length as usize,
            seal: 0..0,
            entries: batch.entries.len(),
        });
        self.entries.extend(batch.entries.into_iter().map(|entry| {
            let body = Bytes::copy_from_slice(entry.body);
            Entry { head: entry.head, body }
        }));
        Ok(())
    }
}
