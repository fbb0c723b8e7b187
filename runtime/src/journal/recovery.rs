//! Opening: finds the segments, walks them through the scan, makes the tail durable and begins a
//! new incarnation.
//!
//! - A suspect journal is left as it is: no byte of it is written, now or later.
//! - A segment in which nothing was written before the node stopped is left out of the journal by
//!   the next opening: the new segment follows the one before it. It is removed once the new one
//!   is durable, so that openings in a row don't add up. So are files of released segments.

use std::collections::BTreeSet;

use waltz_core::id::{Incarnation, StorageId};
use waltz_core::journal::{
    Damage, Fold, FoundBatch, HeaderVersion, Previous, Rewrite, SegmentHeader, SegmentScan, Torn,
    parse_segment_name, parse_spare_name, segment_name,
};
use waltz_core::planted::Planted;
use waltz_core::time::Random;

use crate::disk::{Disk, ReadDisk};

use super::chain::{Chain, follow};
use super::error::{JournalError, failed};
use super::replay::replay;
use super::spare::Spares;
use super::{Journal, JournalConfig, Tail};

/// What an opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Names the journal, from its formatting on.
    pub storage: StorageId,
    /// The incarnation that this opening began; of a suspect journal, the last one known.
    pub incarnation: Incarnation,
    /// The first segment whose entries were read; `None` of a journal without segments. Those before
    /// it were passed over, as a checkpoint says what came of them.
    pub replayed_from: Option<u32>,
    /// Why entries from a checkpoint on did not suffice, and all of them had to be read.
    pub abandoned: Option<Abandoned>,
    /// How many of the segments that were read held entries.
    pub segments: usize,
    /// How many entries were read.
    pub entries: u64,
    /// How many bytes of batches were read.
    pub bytes: u64,
    /// What was cut at the end, if a write had been cut short.
    pub torn: Option<Torn>,
    /// What is damaged and yet known: of some entries, the bodies are lost.
    pub damaged: Vec<Damage>,
    /// The first damage of which nobody can tell what it was; what comes after it counts for
    /// nothing. Such a journal can be read and takes no more entries, at any later opening either.
    pub suspect: Option<Damage>,
}

/// A replay from a checkpoint that came to nothing, and cost time only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandoned {
    /// The segment with which it began.
    pub segment: u32,
    /// Why, in words.
    pub reason: String,
}

/// The end of a journal: what the next segment follows, and what to make durable before.
#[derive(Debug)]
pub(super) struct End {
    previous: Option<Previous>,
    rewrite: Option<(u32, Rewrite)>,
}

impl Recovery {
    /// Before anything but headers was read. A new journal gets an identity.
    pub(super) fn of(chain: &mut Chain, identity: impl FnOnce() -> StorageId) -> Self {
        Self {
            storage: chain.newest.map_or_else(identity, |newest| newest.storage),
            incarnation: chain.newest.map_or(Incarnation(0), |newest| newest.incarnation),
            replayed_from: None,
            abandoned: None,
            segments: 0,
            entries: 0,
            bytes: 0,
            torn: None,
            damaged: std::mem::take(&mut chain.damaged),
            suspect: None,
        }
    }
}

pub(super) fn open<D: Disk>(
    mut disk: D,
    config: JournalConfig,
    random: u64,
    fold: &mut dyn Fold,
) -> Result<(Journal<D>, Recovery), JournalError> {
    let layout = config.layout()?;
    let (segments, spares) = list(&mut disk)?;
    let mut random = Random::new(random);
    let owner = (config.cluster, config.node);
    let mut chain = follow(&mut disk, Some(owner), &segments)?;
    let mut recovery = Recovery::of(&mut chain, || StorageId(random.bits()));
    let end = replay(&mut disk, &chain, config.planted, &mut recovery, fold)?;
    if recovery.suspect.is_some() {
        return Ok((Journal::read_only(disk, layout, config.planted), recovery));
    }
    if let Some((segment, rewrite)) = end.rewrite {
        write_again(&mut disk, segment, rewrite)?;
    }
    let next = |number: u32| number.checked_add(1).ok_or(JournalError::Exhausted);
    recovery.incarnation.0 =
        recovery.incarnation.0.checked_add(1).ok_or(JournalError::Exhausted)?;
    let replay_from = fold.replay_from();
    let header = SegmentHeader {
        version: HeaderVersion::default(),
        layout,
        cluster: config.cluster,
        node: config.node,
        storage: recovery.storage,
        segment: next(segments.last().copied().unwrap_or(0))?,
        incarnation: recovery.incarnation,
        nonce: random.bits(),
        first_batch: 1,
        first_segment: chain.newest.map_or(1, |newest| newest.first_segment),
        previous: end.previous,
        replay_from,
    };
    let mut spares = Spares::adopt(&mut disk, spares, layout)?;
    let tail = Tail::begin(&mut disk, &mut spares, header)?;
    let last = end.previous.map_or(0, |previous| previous.segment);
    let kept = chain.headers.iter().map(|header| header.segment).filter(|&kept| kept <= last);
    let mut kept: BTreeSet<u32> = kept.collect();
    for &segment in segments.difference(&kept) {
        let name = segment_name(segment);
        disk.remove(&name).map_err(failed("remove", &name))?;
    }
    kept.insert(header.segment);
    let segments = kept;
    let journal = Journal {
        tail: Some(tail),
        segments,
        spares,
        replay_from,
        ..Journal::read_only(disk, layout, config.planted)
    };
    Ok((journal, recovery))
}

/// The segments and spares of the directory; other files are none of ours.
pub(super) fn list<D: ReadDisk>(
    disk: &mut D,
) -> Result<(BTreeSet<u32>, BTreeSet<u64>), JournalError> {
    let names = disk.list().map_err(failed("list", "the journal's directory"))?;
    let segments = names.iter().filter_map(|name| parse_segment_name(name)).collect();
    let spares = names.iter().filter_map(|name| parse_spare_name(name)).collect();
    Ok((segments, spares))
}

/// Visits every batch from one of the chain's segments on, the `first`, up to the first damage of
/// which nobody can tell what it was.
pub(super) fn recover<D: ReadDisk, E: From<JournalError>>(
    disk: &mut D,
    (chain, first): (&Chain, usize),
    planted: Planted,
    recovery: &mut Recovery,
    mut visit: impl FnMut(&SegmentHeader, FoundBatch<'_>) -> Result<(), E>,
) -> Result<End, E> {
    let headers = &chain.headers;
    // Of a past that is not visited, the new segment must go on to tell.
    let mut end =
        End { previous: headers.get(first).and_then(|header| header.previous), rewrite: None };
    recovery.suspect = chain.suspect;
    recovery.replayed_from = headers.get(first).map(|header| header.segment);
    let mut memory = Vec::new();
    for (index, header) in headers.iter().enumerate().skip(first) {
        let later = headers.get(index + 1).and_then(|later| later.previous);
        let name = segment_name(header.segment);
        let (file, _) = disk.open(&name).map_err(failed("open", &name))?;
        let length = header.layout.segment_bytes() as usize;
        let bytes = disk.read_over(memory, &file, 0, length).map_err(failed("read", &name))?;
        let known_end = later.map(|later| later.end);
        let mut scan = SegmentScan::new(*header, bytes.clone(), known_end).with_planted(planted);
        while let Some(batch) = scan.next_batch().map_err(JournalError::from)? {
            recovery.entries += batch.entries.len() as u64;
            recovery.bytes += u64::from(batch.length);
            recovery.damaged.extend(batch.damage);
            visit(header, batch)?;
        }
        if let Some(damage) = scan.suspect() {
            recovery.suspect = Some(damage);
            break;
        }
        recovery.torn = scan.torn().filter(|_| recovery.suspect.is_none());
        if let Some(rewrite) = scan.rewrite() {
            recovery.segments += 1;
            end.previous = Some(Previous { segment: header.segment, end: scan.end() });
            end.rewrite = later.is_none().then_some((header.segment, rewrite));
        }
        drop(scan);
        memory = if bytes.is_unique() { bytes.into() } else { Vec::new() };
    }
    Ok(end)
}

fn write_again<D: Disk>(disk: &mut D, segment: u32, rewrite: Rewrite) -> Result<(), JournalError> {
    let name = segment_name(segment);
    let (file, _) = disk.open(&name).map_err(failed("open", &name))?;
    disk.write_at(&file, rewrite.offset.into(), &[rewrite.batch])
        .and_then(|()| disk.write_at(&file, rewrite.seal_offset.into(), &[rewrite.seal]))
        .map_err(failed("write", &name))?;
    disk.sync(&file).map_err(failed("sync", &name))
}
