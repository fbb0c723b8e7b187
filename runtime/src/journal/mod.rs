//! Drives the journal of [`waltz_core::journal`] over a [`Disk`]: opening and recovery, one batch
//! at a time with its sync, rotation, and reads.
//!
//! - At most one batch is written and not yet durable.
//! - A segment's header is durable before its file has a segment's name, and every opening starts
//!   a new segment, so nothing is ever written over what an earlier opening left.
//! - After an error nothing more is written: a failed sync is never tried again.
//! - A file is removed only when a durable header says that its segment is not needed.

mod chain;
mod error;
mod examination;
mod reader;
mod recovery;
mod release;
mod replay;
mod spare;
mod tail;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod every_byte_tests;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod memory_disk;
#[cfg(test)]
mod release_tests;
#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use waltz_core::id::{ClusterKey, NodeId};
use waltz_core::io::Ticket;
use waltz_core::journal::{Batch, Entry, Fold, Layout, Place};
use waltz_core::limits::Limits;
use waltz_core::planted::{Planted, PlantedBug};

use crate::disk::Disk;

use spare::Spares;
use tail::Tail;

pub use error::JournalError;
pub use examination::{Examination, Examiner, examine, fold_batch};
pub use reader::Reader;
pub use recovery::{Abandoned, Recovery};
pub use release::Released;
pub use spare::{Spare, SpareRequest, is_full};

/// Whose journal it is, and how large its files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalConfig {
    /// The cluster; a journal of another one is refused.
    pub cluster: ClusterKey,
    /// The node; a journal of another one is refused.
    pub node: NodeId,
    /// The size of new segments: a multiple of 4 KiB, usually
    /// [`waltz_core::journal::DEFAULT_SEGMENT_BYTES`].
    pub segment_bytes: u32,
    /// Bounds an entry: its head as a frame's head, its body as a frame's payload. A segment has
    /// to have room for it.
    pub limits: Limits,
    /// The rule that a simulation breaks.
    pub planted: Planted,
}

impl JournalConfig {
    fn layout(&self) -> Result<Layout, JournalError> {
        let smallest = Layout::smallest_segment_bytes(&self.limits);
        let refused = JournalError::SegmentBytes { segment_bytes: self.segment_bytes, smallest };
        Layout::new(self.segment_bytes)
            .filter(|layout| u64::from(layout.segment_bytes()) >= smallest)
            .ok_or(refused)
    }
}

/// What a sync made durable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Synced {
    /// The highest durable ticket.
    pub up_to: Ticket,
    /// Where the bodies of the newly durable entries that have one are, in ticket order.
    pub places: Vec<(Ticket, Place)>,
}

/// The writing end of one journal.
#[derive(Debug)]
pub struct Journal<D: Disk> {
    disk: D,
    layout: Layout,
    /// `None` in a suspect journal.
    tail: Option<Tail<D::File>>,
    /// All segments that have files.
    segments: BTreeSet<u32>,
    spares: Spares,
    /// Where a later recovery may begin, as the next segment's header says.
    replay_from: Option<u32>,
    /// Segments below this one are to be given up once there is a segment that says so.
    release_due: Option<u32>,
    /// What the next sync reports.
    synced: Synced,
    failure: Option<String>,
    planted: Planted,
}

impl<D: Disk> Journal<D> {
    /// A journal without a segment to write to: a suspect one.
    fn read_only(disk: D, layout: Layout, planted: Planted) -> Self {
        Self {
            disk,
            layout,
            tail: None,
            segments: BTreeSet::new(),
            spares: Spares::default(),
            replay_from: None,
            release_due: None,
            synced: Synced::default(),
            failure: None,
            planted,
        }
    }

    /// Opens the journal of a directory, or formats an empty one. Every entry goes through `fold`, or
    /// those from a checkpoint on that suffices ([`Self::replay_from`]). When this returns, all of them are durable and a new incarnation has begun; unless
    /// the journal is suspect ([`Recovery::suspect`]): then nothing was written, and never is.
    ///
    /// `random` is 64 random bits, never the same for two openings.
    ///
    /// # Errors
    /// When the directory holds something else, a file is missing, no header can be read, the fold
    /// refuses, or the disk fails. Nothing was changed then, but for writing the same bytes again.
    pub fn open(
        disk: D,
        config: JournalConfig,
        random: u64,
        fold: &mut dyn Fold,
    ) -> Result<(Self, Recovery), JournalError> {
        recovery::open(disk, config, random, fold)
    }

    /// Writes entries, in ticket order, as one batch. They are durable after the next
    /// [`Self::sync`].
    ///
    /// What is too long for one batch is written in parts, each durable before the next is
    /// written; a batch that was written before and not synced is made durable first, too.
    ///
    /// # Errors
    /// When the disk fails, an entry is over the configured limits, or the journal is suspect.
    pub fn write(&mut self, batch: Vec<(Ticket, Entry)>) -> Result<(), JournalError> {
        self.unless_failed(|journal| {
            let (mut part, mut tickets) = (Batch::default(), Vec::with_capacity(batch.len()));
            for (ticket, entry) in batch {
                if let Err(entry) = part.push(entry, journal.layout) {
                    journal.write_part(std::mem::take(&mut part), &tickets)?;
                    tickets.clear();
                    part.push(entry, journal.layout).expect("an empty batch takes any entry");
                }
                tickets.push(ticket);
            }
            if part.is_empty() { Ok(()) } else { journal.write_part(part, &tickets) }
        })
    }

    /// Makes durable what was written.
    ///
    /// # Errors
    /// When the disk fails. What was written may or may not be durable then, and is not to be
    /// acknowledged.
    pub fn sync(&mut self) -> Result<Synced, JournalError> {
        self.unless_failed(|journal| {
            if let Some(tail) = &mut journal.tail {
                tail.sync(&mut journal.disk)?;
            }
            let up_to = journal.synced.up_to;
            Ok(std::mem::replace(&mut journal.synced, Synced { up_to, places: Vec::new() }))
        })
    }

    /// Gives up the segments below this number, but for the one being written. A new segment is
    /// begun that says so; then the files of those returned can be removed.
    ///
    /// While the disk has no room for a new segment, nothing is given up; [`Self::release_due`] tries
    /// again. Nor is anything in a suspect journal.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn release(&mut self, below: u32) -> Result<Vec<Released>, JournalError> {
        self.unless_failed(|journal| {
            let Some(tail) = &mut journal.tail else { return Ok(Vec::new()) };
            let below = below.min(tail.header().segment);
            let released: Vec<_> =
                journal.segments.range(..below).copied().map(Released::new).collect();
            if released.is_empty() {
                return Ok(Vec::new());
            }
            if !journal.spares.is_one_at_hand(&mut journal.disk, journal.layout) {
                journal.release_due = journal.release_due.max(Some(below));
                return Ok(Vec::new());
            }
            tail.sync(&mut journal.disk)?;
            journal.rotate(below)?;
            journal.segments = journal.segments.split_off(&below);
            if journal.planted.has(PlantedBug::OldBytesRevive) {
                journal.spares.take_over(&mut journal.disk, &released)?;
                return Ok(Vec::new());
            }
            Ok(released)
        })
    }

    /// Notes that the next recovery may begin with this segment, as a checkpoint begins in it that is
    /// durable and was read back. The headers of later segments say so; none is begun for it.
    pub fn replay_from(&mut self, segment: u32) {
        self.replay_from = Some(segment);
    }

    /// Gives up what [`Self::release`] could not, if there is room for a new segment by now.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn release_due(&mut self) -> Result<Vec<Released>, JournalError> {
        self.release_due.take().map_or_else(|| Ok(Vec::new()), |below| self.release(below))
    }

    /// How many segments have files, without spare ones.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Whether a spare should be made ready. One always is, so that rotation need not wait for it;
    /// and a second one before the first is used up, so that a full disk is found out while there is
    /// still a segment that gives space back ([`Self::release`]).
    pub fn wants_spare(&self) -> bool {
        let wanted = self.tail.as_ref().map_or(0, |tail| if tail.is_half_full() { 2 } else { 1 });
        self.failure.is_none() && self.spares.len() < wanted
    }

    /// What to make ready; meant for another thread. Each request is another file.
    pub fn request_spare(&mut self) -> SpareRequest {
        self.spares.request(self.layout)
    }

    /// Takes a spare that was made ready.
    pub fn add_spare(&mut self, spare: Spare) {
        self.spares.add(spare);
    }

    fn unless_failed<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        if let Some(reason) = &self.failure {
            return Err(JournalError::Stopped(reason.clone()));
        }
        work(self).inspect_err(|error| self.failure = Some(error.to_string()))
    }

    fn write_part(&mut self, batch: Batch, tickets: &[Ticket]) -> Result<(), JournalError> {
        let tail = self.tail.as_mut().ok_or(JournalError::Suspect)?;
        tail.sync(&mut self.disk)?;
        let Some(batch) = tail.write(&mut self.disk, batch, tickets, &mut self.synced)? else {
            return Ok(());
        };
        let (bytes, first_segment) = (batch.bytes(), tail.header().first_segment);
        self.rotate(first_segment)?;
        let tail = self.tail.as_mut().ok_or(JournalError::Suspect)?;
        match tail.write(&mut self.disk, batch, tickets, &mut self.synced)? {
            Some(_) => Err(JournalError::TooLarge { bytes }),
            None => Ok(()),
        }
    }

    /// Goes on in a new segment. Everything in the present one is durable.
    fn rotate(&mut self, first_segment: u32) -> Result<(), JournalError> {
        let tail = self.tail.as_mut().ok_or(JournalError::Suspect)?;
        let header = tail.next_header(first_segment, self.replay_from)?;
        *tail = Tail::begin(&mut self.disk, &mut self.spares, header)?;
        self.segments.insert(header.segment);
        Ok(())
    }
}
