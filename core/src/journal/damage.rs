//! What a scan says of a segment that is not whole.

use std::fmt;

use thiserror::Error;

use super::layout::segment_name;

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

/// Something durable was damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{} is damaged at byte {offset}: {fault}. It was durable, for {evidence}. {lost}", segment_name(*segment))]
pub struct Damage {
    /// The segment.
    pub segment: u32,
    /// Where the damaged batch or header is, or should be.
    pub offset: u32,
    /// What is wrong with it.
    pub fault: Fault,
    /// Why it can't be a write that was cut short.
    pub evidence: Evidence,
    /// What is gone.
    pub lost: Lost,
}

/// What is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Fault {
    /// The segment's header.
    #[error("the segment's header can't be read")]
    SegmentHeader,
    /// A batch.
    #[error("batch {number}: {fault}")]
    Batch {
        /// The number that it has or should have.
        number: u64,
        /// What is wrong with it.
        fault: BatchFault,
    },
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

/// Why what is bad was durable once.
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
    /// A file has a segment's name only once its header is durable.
    #[error("its file has a segment's name")]
    Name,
}

/// What is gone of something damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Nobody can tell what it held. The journal is suspect.
    Unknown,
    /// Bodies of entries, and nothing else: a copy told the rest.
    Bodies {
        /// How many can't be read.
        damaged: u32,
        /// How many entries there are.
        entries: u32,
    },
    /// Nothing: a copy told everything.
    Nothing,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("What it held is not known"),
            Self::Bodies { damaged, entries } => {
                write!(f, "The bodies of {damaged} of its {entries} entries are lost")
            }
            Self::Nothing => f.write_str("Nothing is lost: there was a copy"),
        }
    }
}
