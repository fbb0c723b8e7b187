//! Which segments a journal consists of: from the last one's header back along `previous`.
//!
//! Segments before the newest header's `first_segment` were released. Whether their files are
//! still there says nothing.

use std::collections::BTreeSet;

use waltz_core::id::{ClusterKey, NodeId};
use waltz_core::journal::{
    BLOCK_BYTES, Damage, Evidence, Fault, HeaderError, Lost, SegmentHeader, segment_name,
};

use crate::disk::ReadDisk;

use super::error::{JournalError, failed};

/// Whose a journal has to be.
pub(super) type Owner = (ClusterKey, NodeId);

/// A journal's segments, as far as their headers can be read.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// From the oldest on, each following the one before.
    pub(super) headers: Vec<SegmentHeader>,
    /// The newest header that can be read.
    pub(super) newest: Option<SegmentHeader>,
    /// Whether the oldest one followed another, which was released.
    pub(super) is_released: bool,
    /// Headers that were read from their copies.
    pub(super) damaged: Vec<Damage>,
    /// The header that can't be read, after those in `headers`.
    pub(super) suspect: Option<Damage>,
}

/// Follows the chain of a journal that has files for these segments. Without an owner it may be
/// anybody's, as long as it is one journal.
pub(super) fn follow<D: ReadDisk>(
    disk: &mut D,
    owner: Option<Owner>,
    segments: &BTreeSet<u32>,
) -> Result<Chain, JournalError> {
    let mut chain = Chain::default();
    let mut unreadable = None;
    let mut next = segments.last().copied();
    while let Some(segment) = next {
        let file = segment_name(segment);
        match read_header(disk, &file)? {
            Found::Whole(header) => next = chain.add(header, segment, segments, owner)?,
            Found::Copy(header) => {
                chain.damaged.push(header_damage(segment, Lost::Nothing));
                next = chain.add(header, segment, segments, owner)?;
            }
            Found::Nothing(source) => {
                chain.suspect = Some(header_damage(segment, Lost::Unknown));
                chain.headers.clear();
                unreadable.get_or_insert(JournalError::Unreadable { file, source });
                // Perhaps not the one that it followed. Then that one was left out, and is empty.
                next = segments.range(chain.first_segment()..segment).next_back().copied();
            }
        }
    }
    chain.headers.reverse();
    match unreadable {
        Some(error) if chain.newest.is_none() => Err(error),
        _ => Ok(chain),
    }
}

impl Chain {
    /// The oldest segment that is still needed.
    fn first_segment(&self) -> u32 {
        self.newest.map_or(0, |header| header.first_segment)
    }

    /// Which of the segments a replay may begin with, if not with the oldest: the newest header knows.
    pub(super) fn replay_from(&self) -> Option<usize> {
        let wanted = self.newest?.replay_from?;
        let index = self.headers.iter().position(|header| header.segment == wanted)?;
        (index > 0).then_some(index)
    }

    /// Adds a segment's header before the others; returns the segment to look at next.
    fn add(
        &mut self,
        header: SegmentHeader,
        segment: u32,
        segments: &BTreeSet<u32>,
        owner: Option<Owner>,
    ) -> Result<Option<u32>, JournalError> {
        let file = segment_name(segment);
        let refused = |source| JournalError::Header { file: file.clone(), source };
        let storage = self.newest.map(|newest| newest.storage);
        let newest = self.newest.unwrap_or(header);
        let (cluster, node) = owner.unwrap_or((newest.cluster, newest.node));
        header.check(cluster, node, storage, segment).map_err(refused)?;
        self.newest.get_or_insert(header);
        self.headers.push(header);
        self.is_released = false;
        let Some(before) = header.previous.map(|previous| previous.segment) else {
            return Ok(None);
        };
        if before >= segment {
            return Err(refused(HeaderError::Foreign {
                what: "predecessor",
                found: before.to_string(),
                expected: format!("a segment before {segment}"),
            }));
        }
        let is_missing = !segments.contains(&before);
        if before >= self.first_segment() && !is_missing {
            return Ok(Some(before));
        }
        // The header that would tell whether it was released may be the one that can't be read.
        if before >= self.first_segment() && self.suspect.is_none() {
            let (file, needed_by) = (segment_name(before), file);
            return Err(JournalError::Missing { file, needed_by });
        }
        self.is_released = true;
        Ok(None)
    }
}

fn header_damage(segment: u32, lost: Lost) -> Damage {
    Damage { segment, offset: 0, fault: Fault::SegmentHeader, evidence: Evidence::Name, lost }
}

/// What there is of a segment's header.
enum Found {
    /// All.
    Whole(SegmentHeader),
    /// Its copy.
    Copy(SegmentHeader),
    /// Neither.
    Nothing(HeaderError),
}

fn read_header<D: ReadDisk>(disk: &mut D, name: &str) -> Result<Found, JournalError> {
    let (file, length) = disk.open(name).map_err(failed("open", name))?;
    let block = u64::from(BLOCK_BYTES);
    let wrong_length =
        |expected| JournalError::Length { file: name.to_owned(), found: length, expected };
    if length < 2 * block {
        return Err(wrong_length(2 * block));
    }
    let mut read = |offset| {
        let bytes = disk.read_at(&file, offset, BLOCK_BYTES as usize);
        bytes.map_err(failed("read", name)).map(|block| SegmentHeader::decode(&block))
    };
    let (header, is_copy) = match read(0)? {
        Ok(header) => (header, false),
        Err(source) => match read(length - block)? {
            Ok(header) => (header, true),
            Err(_) if source.is_damage() => return Ok(Found::Nothing(source)),
            Err(_) => return Err(JournalError::Header { file: name.to_owned(), source }),
        },
    };
    match u64::from(header.layout.segment_bytes()) {
        expected if expected != length => Err(wrong_length(expected)),
        _ if is_copy => Ok(Found::Copy(header)),
        _ => Ok(Found::Whole(header)),
    }
}
