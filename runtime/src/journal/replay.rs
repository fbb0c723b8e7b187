//! From where a journal is folded: from the checkpoint that the newest header names, or from the
//! oldest segment.
//!
//! A checkpoint says all that entries before it have led to, but for records, which are read where
//! they are and checked then. So nothing is missed by passing over the segments before it. That is
//! only ever tried: whatever goes wrong on the way to the end of a complete and sound checkpoint, the
//! fold begins once more with the oldest segment, as if no header had named one. A header that
//! names the wrong segment, and a checkpoint that is torn or rotten, cost time and nothing else.

use waltz_core::journal::{Fold, FoundBatch, SegmentHeader};
use waltz_core::planted::Planted;

use crate::disk::ReadDisk;

use super::chain::Chain;
use super::error::JournalError;
use super::examination::fold_batch;
use super::recovery::{Abandoned, End, Recovery, recover};

/// Takes the journal through the fold, as little of it as suffices.
pub(super) fn replay<D: ReadDisk>(
    disk: &mut D,
    chain: &Chain,
    planted: Planted,
    recovery: &mut Recovery,
    fold: &mut dyn Fold,
) -> Result<End, JournalError> {
    if let Some(first) = chain.replay_from() {
        let mut tried = recovery.clone();
        match replay_from(disk, (chain, first), planted, &mut tried, fold) {
            Ok(end) => {
                *recovery = tried;
                return Ok(end);
            }
            Err(error @ (JournalError::Fold { .. } | JournalError::Refused { .. })) => {
                let (segment, reason) = (chain.headers[first].segment, error.to_string());
                recovery.abandoned = Some(Abandoned { segment, reason });
            }
            Err(error) => return Err(error),
        }
    }
    replay_from(disk, (chain, 0), planted, recovery, fold)
}

fn replay_from<D: ReadDisk>(
    disk: &mut D,
    (chain, first): (&Chain, usize),
    planted: Planted,
    recovery: &mut Recovery,
    fold: &mut dyn Fold,
) -> Result<End, JournalError> {
    let refused = |reason| JournalError::Refused { reason };
    let is_shortened = first > 0;
    fold.begin(is_shortened || chain.is_released).map_err(refused)?;
    let visit = |segment: &SegmentHeader, batch: FoundBatch<'_>| fold_batch(segment, batch, fold);
    let end = recover(disk, (chain, first), planted, recovery, visit)?;
    if is_shortened && !fold.has_checkpoint() {
        return Err(refused("no complete and sound checkpoint is in these segments".to_owned()));
    }
    fold.end(recovery.suspect.as_ref()).map_err(refused)?;
    Ok(end)
}
