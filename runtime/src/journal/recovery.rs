//! Opening: finds the segments, walks them through the scan, makes the tail durable and begins a
//! new incarnation.
//!
//! A segment in which nothing was written before the node stopped is left out of the journal by
//! the next opening: the new segment follows the one before it. It is removed once the new one
//! is durable, so that openings in a row don't add up.

use std::collections::BTreeSet;

use waltz_core::id::{Incarnation, StorageId};
use waltz_core::journal::{
    BLOCK_BYTES, HeaderError, Previous, SegmentHeader, SegmentScan, SegmentWriter, Torn,
    parse_segment_name, parse_spare_name, segment_name,
};
use waltz_core::time::Random;

use crate::disk::Disk;

use super::error::{JournalError, failed};
use super::spare::Spares;
use super::{Fold, Journal, JournalConfig, Synced};

/// What an opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Names the journal, from its formatting on.
    pub storage: StorageId,
    /// The incarnation that this opening began.
    pub incarnation: Incarnation,
    /// How many segments held entries.
    pub segments: usize,
    /// How many entries were found.
    pub entries: u64,
    /// How many bytes of batches were read.
    pub bytes: u64,
    /// What was cut at the end, if a write had been cut short.
    pub torn: Option<Torn>,
}

pub(super) fn open<D: Disk>(
    mut disk: D,
    config: JournalConfig,
    random: u64,
    fold: &mut Fold<'_>,
) -> Result<(Journal<D>, Recovery), JournalError> {
    let layout = config.layout()?;
    let (segments, spares) = list(&mut disk)?;
    let mut random = Random::new(random);
    let headers = follow(&mut disk, &config, &segments)?;
    let (storage, before) = match headers.last() {
        Some(last) => (last.storage, last.incarnation.0),
        None => (StorageId(random.bits()), 0),
    };
    let mut recovery = Recovery {
        storage,
        incarnation: Incarnation(before.checked_add(1).ok_or(JournalError::Exhausted)?),
        segments: 0,
        entries: 0,
        bytes: 0,
        torn: None,
    };
    let previous = recover(&mut disk, &headers, &mut recovery, fold)?;
    let header = SegmentHeader {
        layout,
        cluster: config.cluster,
        node: config.node,
        storage: recovery.storage,
        segment: match segments.last() {
            Some(last) => last.checked_add(1).ok_or(JournalError::Exhausted)?,
            None => 1,
        },
        incarnation: recovery.incarnation,
        nonce: random.bits(),
        first_batch: 1,
        previous,
    };
    let mut spares = Spares::adopt(&mut disk, spares, layout)?;
    let file = spares.start_segment(&mut disk, &header)?;
    remove_left_out(&mut disk, &segments, &headers, previous)?;
    let journal = Journal {
        disk,
        layout,
        header,
        file,
        writer: SegmentWriter::new(&header),
        spares,
        is_written: false,
        synced: Synced::default(),
        failure: None,
    };
    Ok((journal, recovery))
}

/// The segments and spares of the directory; other files are none of ours.
fn list<D: Disk>(disk: &mut D) -> Result<(BTreeSet<u32>, BTreeSet<u64>), JournalError> {
    let names = disk.list().map_err(failed("list", "the journal's directory"))?;
    let segments = names.iter().filter_map(|name| parse_segment_name(name)).collect();
    let spares = names.iter().filter_map(|name| parse_spare_name(name)).collect();
    Ok((segments, spares))
}

/// The headers of the journal's segments, in order: from the last segment back to the first.
fn follow<D: Disk>(
    disk: &mut D,
    config: &JournalConfig,
    segments: &BTreeSet<u32>,
) -> Result<Vec<SegmentHeader>, JournalError> {
    let mut headers: Vec<SegmentHeader> = Vec::new();
    let mut next = segments.last().copied();
    while let Some(segment) = next {
        let file = segment_name(segment);
        let storage = headers.last().map(|later| later.storage);
        let header = read_header(disk, segment, &file)?;
        let refused = |source| JournalError::Header { file: file.clone(), source };
        header.check(config.cluster, config.node, storage, segment).map_err(refused)?;
        next = header.previous.map(|previous| previous.segment);
        if let Some(before) = next {
            if before >= segment {
                return Err(refused(HeaderError::Foreign {
                    what: "predecessor",
                    found: before.to_string(),
                    expected: format!("a segment before {segment}"),
                }));
            }
            if !segments.contains(&before) {
                let (file, needed_by) = (segment_name(before), file);
                return Err(JournalError::Missing { file, needed_by });
            }
        }
        headers.push(header);
    }
    headers.reverse();
    Ok(headers)
}

fn read_header<D: Disk>(
    disk: &mut D,
    segment: u32,
    name: &str,
) -> Result<SegmentHeader, JournalError> {
    let (file, found) = disk.open(name).map_err(failed("open", name))?;
    let block = u64::from(BLOCK_BYTES);
    if found < block {
        let file = segment_name(segment);
        return Err(JournalError::Length { file, found, expected: block });
    }
    let bytes = disk.read_at(&file, 0, BLOCK_BYTES as usize).map_err(failed("read", name))?;
    let header = SegmentHeader::decode(&bytes)
        .map_err(|source| JournalError::Header { file: name.to_owned(), source })?;
    let expected = u64::from(header.layout.segment_bytes());
    if found == expected {
        Ok(header)
    } else {
        Err(JournalError::Length { file: name.to_owned(), found, expected })
    }
}

/// Takes every entry through the fold and makes the tail durable. Returns what the new segment
/// follows.
fn recover<D: Disk>(
    disk: &mut D,
    headers: &[SegmentHeader],
    recovery: &mut Recovery,
    fold: &mut Fold<'_>,
) -> Result<Option<Previous>, JournalError> {
    let mut previous = None;
    for (index, header) in headers.iter().enumerate() {
        let later = headers.get(index + 1).and_then(|later| later.previous);
        let name = segment_name(header.segment);
        let (file, _) = disk.open(&name).map_err(failed("open", &name))?;
        let length = header.layout.segment_bytes() as usize;
        let bytes = disk.read_at(&file, 0, length).map_err(failed("read", &name))?;
        let mut scan = SegmentScan::new(*header, bytes, later.map(|later| later.end));
        scan_segment(&mut scan, &name, recovery, fold)?;
        recovery.torn = scan.torn();
        let Some(rewrite) = scan.rewrite() else { continue };
        recovery.segments += 1;
        previous = Some(Previous { segment: header.segment, end: scan.end() });
        if later.is_none() {
            disk.write_at(&file, rewrite.offset.into(), &[rewrite.batch])
                .and_then(|()| disk.write_at(&file, rewrite.seal_offset.into(), &[rewrite.seal]))
                .map_err(failed("write", &name))?;
            disk.sync(&file).map_err(failed("sync", &name))?;
        }
    }
    Ok(previous)
}

fn scan_segment(
    scan: &mut SegmentScan,
    name: &str,
    recovery: &mut Recovery,
    fold: &mut Fold<'_>,
) -> Result<(), JournalError> {
    while let Some(batch) = scan.next_batch()? {
        recovery.entries += batch.entries.len() as u64;
        recovery.bytes += u64::from(batch.length);
        for (index, (head, place)) in batch.entries.into_iter().enumerate() {
            fold(head, place).map_err(|reason| JournalError::Fold {
                file: name.to_owned(),
                offset: batch.offset,
                index,
                reason,
            })?;
        }
    }
    Ok(())
}

/// Removes the segments that the new one does not lead back to. Nothing is in them.
fn remove_left_out<D: Disk>(
    disk: &mut D,
    segments: &BTreeSet<u32>,
    headers: &[SegmentHeader],
    previous: Option<Previous>,
) -> Result<(), JournalError> {
    let last = previous.map_or(0, |previous| previous.segment);
    let kept: BTreeSet<u32> =
        headers.iter().map(|header| header.segment).filter(|&segment| segment <= last).collect();
    for &segment in segments.difference(&kept) {
        let name = segment_name(segment);
        disk.remove(&name).map_err(failed("remove", &name))?;
    }
    Ok(())
}
