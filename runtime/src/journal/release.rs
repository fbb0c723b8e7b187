//! The files of segments that nobody needs any more.

use std::io;

use waltz_core::journal::segment_name;

use crate::disk::Disk;

/// A released segment, whose file is still there. The journal says durably that it is not needed:
/// a file that is never removed is removed by the next opening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    segment: u32,
}

impl Released {
    pub(super) fn new(segment: u32) -> Self {
        Self { segment }
    }

    /// The file's name.
    pub(super) fn file(&self) -> String {
        segment_name(self.segment)
    }

    /// Removes the file; meant for another thread.
    ///
    /// # Errors
    /// When the disk fails. That harms nothing but the space.
    pub fn remove<D: Disk>(&self, disk: &mut D) -> io::Result<()> {
        disk.remove(&self.file())
    }
}
