//! Looks at a journal that nobody has open, and changes nothing of it: what opening it would find.

use waltz_core::id::StorageId;
use waltz_core::journal::{Fold, FoundBatch, SegmentHeader, segment_name};
use waltz_core::planted::Planted;

use crate::disk::ReadDisk;

use super::chain::follow;
use super::error::JournalError;
use super::recovery::{Recovery, list, recover};

/// What there is of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// The headers of the segments, from the oldest on.
    pub segments: Vec<SegmentHeader>,
    /// Whether the oldest segments were released: what is left rests on a checkpoint in it.
    pub is_released: bool,
    /// How many files of zeros wait to become segments.
    pub spares: usize,
    /// What an opening would find; of the incarnation, the last one.
    pub recovery: Recovery,
}

/// Who is shown a journal.
pub trait Examiner {
    /// What ends the examination.
    type Error: From<JournalError>;

    /// Before the first batch: the journal's segments, and whether older ones were released.
    ///
    /// # Errors
    /// When it does not want to see more.
    fn begin(&mut self, segments: &[SegmentHeader], released: bool) -> Result<(), Self::Error>;

    /// The next batch that counts.
    ///
    /// # Errors
    /// When it does not want to see more.
    fn batch(&mut self, segment: &SegmentHeader, batch: FoundBatch<'_>) -> Result<(), Self::Error>;
}

/// Walks the journal of a directory, whoever's it is. An empty directory has no segments.
///
/// # Errors
/// What the examiner says, and as [`super::Journal::open`].
pub fn examine<D: ReadDisk, E: Examiner>(
    disk: &mut D,
    examiner: &mut E,
) -> Result<Examination, E::Error> {
    let (segments, spares) = list(disk)?;
    let mut chain = follow(disk, None, &segments)?;
    let mut recovery = Recovery::of(&mut chain, || StorageId(0));
    examiner.begin(&chain.headers, chain.is_released)?;
    let visit = |segment: &SegmentHeader, batch: FoundBatch<'_>| examiner.batch(segment, batch);
    recover(disk, (&chain, 0), Planted::NONE, &mut recovery, visit)?;
    let (is_released, spares) = (chain.is_released, spares.len());
    Ok(Examination { segments: chain.headers, is_released, spares, recovery })
}

/// Takes a batch's entries through a fold.
///
/// # Errors
/// When the fold does not take one of them.
pub fn fold_batch(
    segment: &SegmentHeader,
    batch: FoundBatch<'_>,
    fold: &mut dyn Fold,
) -> Result<(), JournalError> {
    for (index, entry) in batch.entries.into_iter().enumerate() {
        fold.entry(entry).map_err(|reason| JournalError::Fold {
            file: segment_name(segment.segment),
            offset: batch.offset,
            index,
            reason,
        })?;
    }
    Ok(())
}
