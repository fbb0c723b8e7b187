//! Spares: zero-filled files that wait to become segments, so that a sync writes no metadata.
//!
//! Recovery tells a lost sector by its zeros, so a spare is used only if all of it is zero.

use std::collections::VecDeque;
use std::io;

use waltz_core::journal::{Layout, SegmentHeader, segment_name, spare_name};

use crate::disk::Disk;

use super::error::{JournalError, failed};
use super::release::Released;

/// Whether an operation failed for want of space: blocks, a quota, or the file system's records of
/// files.
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

const CHECKED_AT_ONCE_BYTES: u64 = 1 << 20;

/// Asks for a file of zeros, on whatever thread has the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpareRequest {
    name: String,
    bytes: u32,
}

/// A file of zeros that is ready to become a segment.
#[derive(Debug, PartialEq, Eq)]
pub struct Spare {
    name: String,
}

impl SpareRequest {
    /// Makes the file. Takes as long as writing a segment does.
    ///
    /// # Errors
    /// When the disk fails; the request can be tried again or dropped, the journal then makes its
    /// segments itself.
    pub fn fulfil<D: Disk>(&self, disk: &mut D) -> io::Result<Spare> {
        disk.create_zeroed(&self.name, self.bytes.into())?;
        Ok(Spare { name: self.name.clone() })
    }
}

/// The spares of one journal.
#[derive(Debug, Default)]
pub(super) struct Spares {
    ready: VecDeque<Spare>,
    next: u64,
}

impl Spares {
    /// Takes over what an earlier opening left: what is sound is kept, the rest removed.
    pub(super) fn adopt<D: Disk>(
        disk: &mut D,
        numbers: impl IntoIterator<Item = u64>,
        layout: Layout,
    ) -> Result<Self, JournalError> {
        let mut spares = Self::default();
        for number in numbers {
            let name = spare_name(number);
            spares.next = spares.next.max(number.wrapping_add(1));
            // One that can't be read is as good as none.
            if is_zero(disk, &name, layout).unwrap_or(false) {
                spares.add(Spare { name });
            } else {
                disk.remove(&name).map_err(failed("remove", &name))?;
            }
        }
        Ok(spares)
    }

    pub(super) fn len(&self) -> usize {
        self.ready.len()
    }

    /// Whether a spare is ready, or else could be made.
    pub(super) fn is_one_at_hand<D: Disk>(&mut self, disk: &mut D, layout: Layout) -> bool {
        if self.ready.is_empty()
            && let Ok(spare) = self.request(layout).fulfil(disk)
        {
            self.add(spare);
        }
        !self.ready.is_empty()
    }

    pub(super) fn add(&mut self, spare: Spare) {
        self.ready.push_back(spare);
    }

    /// Makes spares of released segments, with all that is in them. Only a planted bug does that.
    pub(super) fn take_over<D: Disk>(
        &mut self,
        disk: &mut D,
        released: &[Released],
    ) -> Result<(), JournalError> {
        for segment in released {
            let (segment, name) = (segment.file(), spare_name(self.next));
            self.next = self.next.wrapping_add(1);
            disk.rename(&segment, &name).map_err(failed("rename", &segment))?;
            self.add(Spare { name });
        }
        Ok(())
    }

    pub(super) fn request(&mut self, layout: Layout) -> SpareRequest {
        let name = spare_name(self.next);
        self.next = self.next.wrapping_add(1);
        SpareRequest { name, bytes: layout.segment_bytes() }
    }

    /// Turns a spare into the segment of this header, durably; makes one if none is ready.
    pub(super) fn start_segment<D: Disk>(
        &mut self,
        disk: &mut D,
        header: &SegmentHeader,
    ) -> Result<D::File, JournalError> {
        let spare = match self.ready.pop_front() {
            Some(spare) => spare,
            None => {
                let request = self.request(header.layout);
                request.fulfil(disk).map_err(failed("create", &request.name))?
            }
        };
        let (file, _) = disk.open(&spare.name).map_err(failed("open", &spare.name))?;
        let (block, copy_offset) = (header.encode(), header.layout.copy_offset());
        disk.write_at(&file, 0, std::slice::from_ref(&block))
            .and_then(|()| disk.write_at(&file, copy_offset.into(), &[block]))
            .map_err(failed("write", &spare.name))?;
        disk.sync(&file).map_err(failed("sync", &spare.name))?;
        drop(file);
        let name = segment_name(header.segment);
        disk.rename(&spare.name, &name).map_err(failed("rename", &spare.name))?;
        let (file, _) = disk.open(&name).map_err(failed("open", &name))?;
        Ok(file)
    }
}

/// Whether a file is as a new spare would be.
fn is_zero<D: Disk>(disk: &mut D, name: &str, layout: Layout) -> io::Result<bool> {
    let (file, length) = disk.open(name)?;
    if length != u64::from(layout.segment_bytes()) {
        return Ok(false);
    }
    let mut offset = 0;
    while offset < length {
        let next = length.min(offset + CHECKED_AT_ONCE_BYTES);
        let bytes = disk.read_at(&file, offset, (next - offset) as usize)?;
        if bytes.iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        offset = next;
    }
    Ok(true)
}
