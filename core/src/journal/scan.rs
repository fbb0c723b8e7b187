//! The recovery scan of one segment: which batches count, and whether what ends them was a write
//! cut short or damage to something durable.
//!
//! A batch is written only after the one before it is durable. So only a segment's last batch, in
//! a journal's last segment, can have been cut short; where any other segment ends is written in
//! the one that follows. A last batch that is not whole was
//!
//! - *damaged* if anything that is written later is there: a batch or a seal of a higher number;
//! - *damaged* if its seal is there and some sector of it holds neither what the seal says nor
//!   the zeros that were there before;
//! - *torn* otherwise, and is cut.
//!
//! The second rule lets a seal that reached the disk before its batch be what it is.

use bytes::Bytes;

use super::batch::BatchHeader;
use super::damage::{BatchFault, Damage, Evidence, Lost, Torn};
use super::decode::{RecoveredBatch, decode_batch};
use super::layout::{BLOCK_BYTES, SEAL_STEP, SECTOR_BYTES, align};
use super::seal::Seal;
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
    /// The point before the last batch.
    last: Option<SegmentEnd>,
    torn: Option<Torn>,
}

/// The last batch and its seal: to be written again, as what was read may never have been durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// Where in the segment the batch goes.
    pub offset: u32,
    /// The batch.
    pub batch: Bytes,
    /// Where in the segment its seal goes.
    pub seal_offset: u32,
    /// The seal.
    pub seal: Bytes,
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
            torn: None,
        }
    }

    /// The next batch; `None` at the end, which [`Self::torn`] may say more of.
    ///
    /// # Errors
    /// When something durable is damaged. The journal must not be used.
    pub fn next_batch(&mut self) -> Result<Option<RecoveredBatch>, Damage> {
        let data_end = self.header.layout.data().end;
        let limit = match self.known_end {
            Some(end) if end == self.end => return Ok(None),
            Some(end) => end.offset.clamp(self.end.offset, data_end),
            None => data_end,
        };
        let decoded = decode_batch(&self.bytes, self.header.layout, self.identity, self.end, limit);
        match decoded {
            Ok(decoded) => {
                self.last = Some(std::mem::replace(&mut self.end, decoded.end));
                Ok(Some(decoded.batch))
            }
            Err(fault) => match self.damage(fault) {
                Some(damage) => Err(damage),
                None => {
                    self.torn = self.left_over();
                    Ok(None)
                }
            },
        }
    }

    /// The point after the last batch found so far.
    pub fn end(&self) -> SegmentEnd {
        self.end
    }

    /// What was cut at the end, if there was anything.
    pub fn torn(&self) -> Option<Torn> {
        self.torn
    }

    /// What to write again before anyone is answered: the last batch found, if any.
    pub fn rewrite(&self) -> Option<Rewrite> {
        let start = self.last?;
        let limit = self.header.layout.data().end;
        let decoded =
            decode_batch(&self.bytes, self.header.layout, self.identity, start, limit).ok()?;
        let (seal_offset, seal) = decoded.seal(self.identity);
        let length = decoded.batch.length as usize;
        let offset = start.offset as usize;
        let batch = self.bytes.slice(offset..offset + length);
        Some(Rewrite { offset: start.offset, batch, seal_offset, seal })
    }

    /// Why the bad batch at the end is damage; `None` if it was torn.
    fn damage(&self, fault: BatchFault) -> Option<Damage> {
        let number = self.end.next_batch;
        let seals = self.seals();
        let seal = seals.iter().find(|seal| seal.number == number);
        let later_seal = seals.iter().map(|seal| seal.number).filter(|&later| later > number).max();
        let evidence = if self.known_end.is_some() {
            Evidence::LaterSegment
        } else if let Some(number) = self.later_batch().or(later_seal) {
            Evidence::LaterBatch { number }
        } else if let BatchFault::Unknown { .. } = fault {
            Evidence::Sound
        } else if seal.is_some_and(|seal| !self.is_torn(seal)) {
            Evidence::Seal
        } else {
            return None;
        };
        let lost = match seal {
            Some(Seal { touched, controls, .. }) => {
                Lost::Known { touched: touched.clone(), controls: controls.clone() }
            }
            None => Lost::Unknown,
        };
        let (segment, offset) = (self.header.segment, self.end.offset);
        Some(Damage { segment, offset, number, fault, evidence, lost })
    }

    /// Every readable seal.
    fn seals(&self) -> Vec<Seal> {
        let mut seals = Vec::new();
        for lane in [self.header.layout.lane(0), self.header.layout.lane(1)] {
            let lane = &self.bytes[lane.start as usize..lane.end as usize];
            for at in (0..lane.len()).step_by(SEAL_STEP as usize) {
                seals.extend(Seal::decode(&lane[at..], self.identity));
            }
        }
        seals
    }

    /// The number of a batch that was written after the bad one.
    fn later_batch(&self) -> Option<u64> {
        let step = BLOCK_BYTES as usize;
        (self.end.offset as usize..self.bytes.len()).step_by(step).find_map(|at| {
            let header = BatchHeader::decode(&self.bytes[at..], self.identity)?;
            (header.offset as usize == at && header.number > self.end.next_batch)
                .then_some(header.number)
        })
    }

    /// Whether all that ails the sealed batch is sectors that were never written.
    fn is_torn(&self, seal: &Seal) -> bool {
        let start = self.end.offset as usize;
        let stretch = align(seal.length as usize, SECTOR_BYTES as u32);
        let Some(bytes) = self.bytes.get(start..start + stretch) else { return false };
        let mut sectors = bytes.chunks(SECTOR_BYTES).zip(&seal.sectors);
        let mut lost = 0;
        let explained = sectors.all(|(sector, &checksum)| {
            let is_lost = crc32c::crc32c(sector) != checksum;
            lost += usize::from(is_lost);
            !is_lost || sector.iter().all(|&byte| byte == 0)
        });
        seal.offset == self.end.offset && explained && lost > 0
    }

    /// What is there of a batch that was never whole.
    fn left_over(&self) -> Option<Torn> {
        let offset = self.end.offset;
        let any = self.bytes[offset as usize..].iter().any(|&byte| byte != 0)
            || self.seals().iter().any(|seal| seal.number == self.end.next_batch);
        any.then_some(Torn { segment: self.header.segment, offset, number: self.end.next_batch })
    }
}
