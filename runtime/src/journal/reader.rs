//! Reads bodies where they are, on a handle of its own beside the writing one.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use waltz_core::journal::{Place, segment_name};

use crate::disk::ReadDisk;

const OPEN_FILES: usize = 16;
/// Bodies closer than this are read together, with what is between them.
const GAP_BYTES: u32 = 16 << 10;
const READ_AT_ONCE_BYTES: u32 = 4 << 20;

/// Reads bodies of one journal. What it returns is not verified: every record has a checksum.
#[derive(Debug)]
pub struct Reader<D: ReadDisk> {
    disk: D,
    /// The most recently used last.
    open: Vec<(u32, D::File)>,
}

impl<D: ReadDisk> Reader<D> {
    /// A reader of the same directory as a journal's.
    pub fn new(disk: D) -> Self {
        Self { disk, open: Vec::new() }
    }

    /// The bodies at these places, in this order. Neighbours are read at once and share a buffer.
    ///
    /// # Errors
    /// When a segment is gone or the disk fails.
    pub fn read(&mut self, places: &[Place]) -> io::Result<Vec<Bytes>> {
        let mut bodies = Vec::with_capacity(places.len());
        let mut rest = places;
        while let Some((first, _)) = rest.split_first() {
            let (count, range) = neighbours(rest);
            let file = self.file(first.segment)?;
            let (_, file) = &self.open[file];
            let length = (range.end - range.start) as usize;
            let bytes = self.disk.read_at(file, range.start, length)?;
            if bytes.len() != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (together, after) = rest.split_at(count);
            bodies.extend(together.iter().map(|place| {
                let start = (u64::from(place.offset) - range.start) as usize;
                bytes.slice(start..start + place.length as usize)
            }));
            rest = after;
        }
        Ok(bodies)
    }

    /// Lets go of the files of segments below this number, so that their space comes back once they
    /// are removed.
    pub fn release(&mut self, below: u32) {
        self.open.retain(|(segment, _)| *segment >= below);
    }

    /// The index of a segment's open file.
    fn file(&mut self, segment: u32) -> io::Result<usize> {
        let entry = match self.open.iter().position(|(open, _)| *open == segment) {
            Some(index) => self.open.remove(index),
            None => {
                let (file, _) = self.disk.open(&segment_name(segment))?;
                (segment, file)
            }
        };
        if self.open.len() == OPEN_FILES {
            self.open.remove(0);
        }
        self.open.push(entry);
        Ok(self.open.len() - 1)
    }
}

/// How many of the first places to read at once, and which bytes of their segment.
fn neighbours(places: &[Place]) -> (usize, Range<u64>) {
    let end_of = |place: &Place| u64::from(place.offset) + u64::from(place.length);
    let start = u64::from(places[0].offset);
    let mut end = end_of(&places[0]);
    let mut count = 1;
    for place in &places[1..] {
        let offset = u64::from(place.offset);
        let is_near = place.segment == places[0].segment
            && (end..=end + u64::from(GAP_BYTES)).contains(&offset)
            && end_of(place) - start <= u64::from(READ_AT_ONCE_BYTES);
        if !is_near {
            break;
        }
        (end, count) = (end_of(place), count + 1);
    }
    (count, start..end)
}
