//! What a scan says of a segment that is not whole.

use std::fmt;

use thiserror::Error;

use super::EntryHead;
use super::layout::segment_name;
use super::seal::Touched;

/// A batch at the end of the journal that was being written when the node stopped. It was never
/// acknowledged, and was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub segment: u32,
    /// Where the batch would have been.
    pub offset: u32,
    /// Its number.
    pub number: u64,
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = segment_name(self.segment);
        write!(f, "batch {} at byte {} of {file} was never whole", self.number, self.offset)
    }
}

/// Something durable was damaged: a batch that must be there is not, or not whole.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{} is damaged: batch {number} at byte {offset}: {fault}. It was durable, for {evidence}. {lost}. \
     Nothing was changed. Restore the file from a copy, or bring the node back as a new replica with \
     an empty journal; replicas on other nodes are not affected",
    segment_name(*segment)
)]
pub struct Damage {
    /// The segment.
    pub segment: u32,
    /// Where the batch is, or should be.
    pub offset: u32,
    /// Its number.
    pub number: u64,
    /// What is wrong with it.
    pub fault: BatchFault,
    /// Why it can't be a write that was cut short.
    pub evidence: Evidence,
    /// What it held.
    pub lost: Lost,
}

/// What is wrong with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BatchFault {
    /// No sound header of this segment is there.
    #[error("no batch is there, or its header is damaged")]
    Header,
    /// The header is sound and says what can't be.
    #[error("its header does not follow the batch before it")]
    Order,
    /// The lengths in the table contradict one another.
    #[error("its table of entries is damaged")]
    Table,
    /// An entry's checksum does not match.
    #[error("entry {index} is damaged (checksum {found:08x}, computed {computed:08x})")]
    Entry {
        /// Which entry of the batch.
        index: u32,
        /// As written.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// An entry is sound and says nothing that this program understands.
    #[error("entry {index} is of a kind this program does not know; run the one that wrote it")]
    Unknown {
        /// Which entry of the batch.
        index: u32,
    },
}

/// Why a bad batch was durable once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Evidence {
    /// Its seal was written, and what is wrong is not that sectors were never written.
    #[error("its seal is there, and what differs is no write that was cut short")]
    Seal,
    /// Something that was only written after it is there.
    #[error("batch {number} was written after it")]
    LaterBatch {
        /// The later batch.
        number: u64,
    },
    /// The next segment counts on it.
    #[error("the segment after it counts on it")]
    LaterSegment,
    /// The entries are sound.
    #[error("its checksums are right")]
    Sound,
}

/// What a damaged batch held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// There is no seal to tell.
    Unknown,
    /// By its seal.
    Known {
        /// Records.
        touched: Vec<Touched>,
        /// Control entries.
        controls: Vec<EntryHead>,
    },
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 8;
        let Self::Known { touched, controls } = self else {
            return f.write_str("What it held is not known");
        };
        write!(f, "By its seal it held {} control entries and records", controls.len())?;
        for (index, run) in touched.iter().take(NAMED).enumerate() {
            let last = run.first.0 + u64::from(run.count.max(1)) - 1;
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma} {} to {last} of {}", run.first, run.partition)?;
        }
        match touched.len() {
            0 => f.write_str(" of no partition"),
            all if all > NAMED => write!(f, " and {} runs more", all - NAMED),
            _ => Ok(()),
        }
    }
}
