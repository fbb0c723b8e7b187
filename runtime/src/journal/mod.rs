//! Drives the journal of [`waltz_core::journal`] over a [`Disk`]: opening and recovery, one batch
//! at a time with its sync, rotation, and reads.
//!
//! - At most one batch is written and not yet durable.
//! - A segment's header is durable before its file has a segment's name, and every opening starts
//!   a new segment, so nothing is ever written over what an earlier opening left.
//! - After an error nothing more is written: a failed sync is never tried again.

mod error;
mod reader;
mod recovery;
mod spare;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod memory_disk;
#[cfg(test)]
mod tests;

use waltz_core::id::{ClusterKey, NodeId};
use waltz_core::io::Ticket;
use waltz_core::journal::{
    Batch, Entry, EntryHead, Layout, Place, Previous, SegmentHeader, SegmentWriter, segment_name,
};
use waltz_core::limits::Limits;

use crate::disk::Disk;

use error::failed;
use spare::Spares;

pub use error::JournalError;
pub use reader::Reader;
pub use recovery::Recovery;
pub use spare::{Spare, SpareRequest};

/// Takes in the entries found by recovery, in order, each with its body's place. An error ends
/// the recovery.
pub type Fold<'a> = dyn FnMut(EntryHead, Option<Place>) -> Result<(), String> + 'a;

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
    header: SegmentHeader,
    file: D::File,
    writer: SegmentWriter,
    spares: Spares,
    /// Whether a batch was written since the last sync.
    is_written: bool,
    /// What the next sync reports.
    synced: Synced,
    failure: Option<String>,
}

impl<D: Disk> Journal<D> {
    /// Opens the journal of a directory, or formats an empty one. Every entry found goes through
    /// `fold`. When this returns, all of them are durable and a new incarnation has begun.
    ///
    /// `random` is 64 random bits, never the same for two openings.
    ///
    /// # Errors
    /// When the directory holds something else, something durable is damaged, the fold refuses an
    /// entry, or the disk fails. Nothing was changed then, but for writing the same bytes again.
    pub fn open(
        disk: D,
        config: JournalConfig,
        random: u64,
        fold: &mut Fold<'_>,
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
    /// When the disk fails or an entry is over the configured limits.
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
            journal.sync_file()?;
            let up_to = journal.synced.up_to;
            Ok(std::mem::replace(&mut journal.synced, Synced { up_to, places: Vec::new() }))
        })
    }

    /// Whether a spare should be made ready, so that rotation need not wait for one.
    pub fn wants_spare(&self) -> bool {
        self.failure.is_none() && self.spares.is_empty()
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
        self.sync_file()?;
        let encoded = match self.writer.place(batch) {
            Ok(encoded) => encoded,
            Err(batch) => {
                self.rotate()?;
                let bytes = batch.bytes();
                self.writer.place(batch).map_err(|_| JournalError::TooLarge { bytes })?
            }
        };
        let name = segment_name(self.header.segment);
        // The seal goes second: a process that dies in between leaves no seal without its batch.
        self.disk
            .write_at(&self.file, encoded.offset.into(), &encoded.slices)
            .and_then(|()| {
                self.disk.write_at(&self.file, encoded.seal_offset.into(), &[encoded.seal])
            })
            .map_err(failed("write", &name))?;
        self.is_written = true;
        let places = tickets.iter().zip(encoded.places);
        self.synced.places.extend(places.filter_map(|(&ticket, place)| Some((ticket, place?))));
        if let Some(&last) = tickets.last() {
            self.synced.up_to = last;
        }
        Ok(())
    }

    fn sync_file(&mut self) -> Result<(), JournalError> {
        if std::mem::take(&mut self.is_written) {
            let name = segment_name(self.header.segment);
            self.disk.sync(&self.file).map_err(failed("sync", &name))?;
        }
        Ok(())
    }

    /// Goes on in a new segment. Everything in the present one is durable.
    fn rotate(&mut self) -> Result<(), JournalError> {
        let end = self.writer.end();
        let header = SegmentHeader {
            layout: self.layout,
            segment: self.header.segment.checked_add(1).ok_or(JournalError::Exhausted)?,
            first_batch: end.next_batch,
            previous: Some(Previous { segment: self.header.segment, end }),
            ..self.header
        };
        self.file = self.spares.start_segment(&mut self.disk, &header)?;
        self.writer = SegmentWriter::new(&header);
        self.header = header;
        Ok(())
    }
}
