//! The recovery scan of one segment: which batches count, what is damaged in them, and whether what
//! ends them was a write cut short.
//!
//! A batch is written only after the one before it is durable. So only a segment's last batch, in
//! a journal's last segment, can have been cut short; where any other segment ends is written in
//! the one that follows. A batch that is not whole was durable
//!
//! - if anything that is written later is there: a batch or a seal of a higher number, a segment;
//! - if its seal is there and some sector of it holds neither what the seal says nor the zeros
//!   that were there before.
//!
//! Otherwise it is *torn*, and is cut. The second rule lets a seal that reached the disk before its
//! batch be what it is.
//!
//! Of what was durable, the seal tells every entry and where its body is, so the scan goes on after
//! it. Without a seal what it held is unknown, and so is all that follows: the segment is
//! *suspect* from there on.

use bytes::Bytes;
use thiserror::Error;

use crate::planted::Planted;

use super::damage::{BatchFault, Damage, Evidence, Fault, Lost, Torn};
use super::decode::{Contents, Decoded};
use super::evidence::Seals;
use super::found::FoundBatch;
use super::layout::segment_name;
use super::segment::{Identity, SegmentEnd, SegmentHeader};

/// Walks the batches of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentScan {
    header: SegmentHeader,
    identity: Identity,
    bytes: Bytes,
    /// Where the next segment says that this one ends.
    known_end: Option<SegmentEnd>,
    end: SegmentEnd,
    last: Option<Last>,
    /// Looked for when the first batch is bad.
    seals: Option<Seals>,
    torn: Option<Torn>,
    suspect: Option<Damage>,
    planted: Planted,
}

/// The last batch found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    /// The point before it.
    start: SegmentEnd,
    length: u32,
    is_damaged: bool,
}

/// The last batch and its seal: to be written again, as what was read may never have been durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// Where in the segment the batch goes.
    pub offset: u32,
    /// The batch, with what is damaged in it.
    pub batch: Bytes,
    /// Where in the segment its seal goes.
    pub seal_offset: u32,
    /// The seal.
    pub seal: Bytes,
}

/// A sound entry that this program does not understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "entry {index} of the batch at byte {offset} of {} is of a kind this program does not know; \
     run the one that wrote it",
    segment_name(*segment)
)]
pub struct UnknownEntry {
    /// The segment.
    pub segment: u32,
    /// Where its batch is.
    pub offset: u32,
    /// Which entry of the batch.
    pub index: u32,
}

impl SegmentScan {
    /// A scan of a whole segment with this header. `end` is what the next segment says of this
    /// one; the last segment has none.
    pub fn new(header: SegmentHeader, bytes: Bytes, end: Option<SegmentEnd>) -> Self {
        assert_eq!(bytes.len(), header.layout.segment_bytes() as usize, "a whole segment");
        let start = header.start();
        Self {
            header,
            identity: header.identity(),
            bytes,
            known_end: end,
            end: start,
            last: None,
            seals: None,
            torn: None,
            suspect: None,
            planted: Planted::NONE,
        }
    }

    /// A scan that breaks a rule.
    #[must_use]
    pub fn with_planted(self, planted: Planted) -> Self {
        Self { planted, ..self }
    }

    /// The next batch; `None` at the end, which [`Self::torn`] and [`Self::suspect`] may say more
    /// of.
    ///
    /// # Errors
    /// When another program has to read this journal.
    pub fn next_batch(&mut self) -> Result<Option<FoundBatch<'_>>, UnknownEntry> {
        if self.torn.is_some() || self.suspect.is_some() || self.known_end == Some(self.end) {
            return Ok(None);
        }
        let (start, limit) = (self.end, self.limit());
        let contents = Contents::new(&self.header, self.identity, &self.bytes, self.planted);
        let (decoded, damage) = match contents.batch(start, limit) {
            Ok(decoded) => (decoded, None),
            Err(fault) => {
                let seals = self.seals.get_or_insert_with(|| Seals::find(contents));
                match judge(contents, seals, start, self.known_end, fault) {
                    Judgement::Sealed(decoded, damage) => (decoded, Some(damage)),
                    Judgement::Suspect(damage) => {
                        self.suspect = Some(damage);
                        return Ok(None);
                    }
                    Judgement::Torn(torn) => {
                        self.torn = torn;
                        return Ok(None);
                    }
                    Judgement::Unknown(unknown) => return Err(unknown),
                }
            }
        };
        let Decoded { number, offset, length, entries, end } = decoded;
        self.last = Some(Last { start, length, is_damaged: damage.is_some() });
        self.end = end;
        Ok(Some(FoundBatch { number, offset, length, entries, damage }))
    }

    /// The point after the last batch found so far.
    pub fn end(&self) -> SegmentEnd {
        self.end
    }

    /// What was cut at the end, if there was anything.
    pub fn torn(&self) -> Option<Torn> {
        self.torn
    }

    /// Why nothing can be said of the rest of the segment, if that is so.
    pub fn suspect(&self) -> Option<Damage> {
        self.suspect
    }

    /// What to write again before anyone is answered: the last batch found, if any.
    pub fn rewrite(&self) -> Option<Rewrite> {
        let Last { start, length, is_damaged } = self.last?;
        let contents = Contents::new(&self.header, self.identity, &self.bytes, self.planted);
        let (seal_offset, seal) = if is_damaged {
            let (at, seal) = self.seals.as_ref()?.of(start.next_batch, contents)?;
            (at, self.bytes.slice_ref(seal.bytes))
        } else {
            contents.seal_again(start, contents.layout.data().end).ok()?
        };
        let offset = start.offset as usize;
        let batch = self.bytes.slice(offset..offset + length as usize);
        Some(Rewrite { offset: start.offset, batch, seal_offset, seal })
    }

    /// Where the next batch has to end at the latest.
    fn limit(&self) -> u32 {
        let data_end = self.header.layout.data().end;
        self.known_end.map_or(data_end, |end| end.offset.clamp(self.end.offset, data_end))
    }
}

/// What a bad batch is.
enum Judgement<'a> {
    /// Durable, damaged, and known from its seal.
    Sealed(Decoded<'a>, Damage),
    /// Durable, and not known.
    Suspect(Damage),
    /// No batch, but perhaps the beginnings of one.
    Torn(Option<Torn>),
    /// Sound.
    Unknown(UnknownEntry),
}

/// Judges what is bad at `start`.
fn judge<'a>(
    contents: Contents<'a>,
    seals: &Seals,
    start: SegmentEnd,
    known_end: Option<SegmentEnd>,
    fault: BatchFault,
) -> Judgement<'a> {
    let (segment, offset, number) = (contents.identity.segment, start.offset, start.next_batch);
    let unknown = |index| Judgement::Unknown(UnknownEntry { segment, offset, index });
    if let BatchFault::Unknown { index } = fault {
        return unknown(index);
    }
    let seal = seals.of(number, contents).map(|(_, seal)| seal);
    let seal = seal.filter(|seal| seal.offset == offset);
    let evidence = match known_end {
        Some(_) => Some(Evidence::LaterSegment),
        None => seals.evidence(start, seal.as_ref(), contents),
    };
    let Some(evidence) = evidence else {
        let is_left_over = seals.is_left_over(start, contents);
        return Judgement::Torn(is_left_over.then_some(Torn { segment, offset, number }));
    };
    let fault = Fault::Batch { number, fault };
    let damage = |lost| Damage { segment, offset, fault, evidence, lost };
    let decoded = seal.map(|seal| contents.sealed_batch(start, &seal));
    match decoded {
        Some(Err(BatchFault::Unknown { index })) => unknown(index),
        Some(Ok(decoded)) if is_before(decoded.end, known_end, contents) => {
            let damaged = decoded.entries.iter().filter(|entry| entry.is_damaged).count() as u32;
            let lost = Lost::Bodies { damaged, entries: decoded.entries.len() as u32 };
            let damage = damage(lost);
            Judgement::Sealed(decoded, damage)
        }
        _ => Judgement::Suspect(damage(Lost::Unknown)),
    }
}

/// Whether a segment may go on to here.
fn is_before(end: SegmentEnd, known_end: Option<SegmentEnd>, contents: Contents<'_>) -> bool {
    match known_end {
        Some(known) => end.offset <= known.offset && end.next_batch <= known.next_batch,
        None => end.offset <= contents.layout.data().end,
    }
}
