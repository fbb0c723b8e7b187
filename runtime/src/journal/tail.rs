//! The segment that batches are written to.

use waltz_core::io::Ticket;
use waltz_core::journal::{Batch, Place, Previous, SegmentHeader, SegmentWriter, segment_name};

use crate::disk::Disk;

use super::Synced;
use super::error::{JournalError, failed};
use super::spare::Spares;

/// The last segment of a journal, open for writing.
#[derive(Debug)]
pub(super) struct Tail<F> {
    header: SegmentHeader,
    file: F,
    writer: SegmentWriter,
    /// Whether a batch was written since the last sync.
    is_written: bool,
}

impl<F> Tail<F> {
    /// Begins the segment of this header, durably.
    pub(super) fn begin<D: Disk<File = F>>(
        disk: &mut D,
        spares: &mut Spares,
        header: SegmentHeader,
    ) -> Result<Self, JournalError> {
        let file = spares.start_segment(disk, &header)?;
        Ok(Self { header, file, writer: SegmentWriter::new(&header), is_written: false })
    }

    /// Whether less than half of its room is left.
    pub(super) fn is_half_full(&self) -> bool {
        self.writer.end().offset > self.header.layout.segment_bytes() / 2
    }

    pub(super) fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The header of the next segment. Segments before `first_segment` are not needed any more;
    /// with `replay_from` a later recovery may begin.
    pub(super) fn next_header(
        &self,
        first_segment: u32,
        replay_from: Option<u32>,
    ) -> Result<SegmentHeader, JournalError> {
        let end = self.writer.end();
        Ok(SegmentHeader {
            segment: self.header.segment.checked_add(1).ok_or(JournalError::Exhausted)?,
            first_batch: end.next_batch,
            first_segment,
            previous: Some(Previous { segment: self.header.segment, end }),
            replay_from,
            ..self.header
        })
    }

    /// Writes a batch and its seal; gives the batch back if there is no room. What was written
    /// before is durable.
    pub(super) fn write<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        batch: Batch,
        tickets: &[Ticket],
        synced: &mut Synced,
    ) -> Result<Option<Batch>, JournalError> {
        let encoded = match self.writer.place(batch) {
            Ok(encoded) => encoded,
            Err(batch) => return Ok(Some(batch)),
        };
        let name = segment_name(self.header.segment);
        // The seal goes second: a process that dies in between leaves no seal without its batch.
        disk.write_at(&self.file, encoded.offset.into(), &encoded.slices)
            .and_then(|()| disk.write_at(&self.file, encoded.seal_offset.into(), &[encoded.seal]))
            .map_err(failed("write", &name))?;
        self.is_written = true;
        let with_place = |(&ticket, place): (&Ticket, Option<Place>)| Some((ticket, place?));
        synced.places.extend(tickets.iter().zip(encoded.places).filter_map(with_place));
        if let Some(&last) = tickets.last() {
            synced.up_to = last;
        }
        Ok(None)
    }

    /// Makes durable what was written.
    pub(super) fn sync<D: Disk<File = F>>(&mut self, disk: &mut D) -> Result<(), JournalError> {
        if std::mem::take(&mut self.is_written) {
            let name = segment_name(self.header.segment);
            disk.sync(&self.file).map_err(failed("sync", &name))?;
        }
        Ok(())
    }
}
