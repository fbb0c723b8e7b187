//! Why a journal can't be opened, or can't go on.

use std::io;

use thiserror::Error;
use waltz_core::journal::{HeaderError, UnknownEntry};

/// Why a journal can't be opened, or can't go on. After any of them it is not to be used again: what
/// a failed write or sync left on the disk is found out by opening it anew.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The disk refused.
    #[error("can't {action} {file}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The configured size is none that a segment can have.
    #[error(
        "segments of {segment_bytes} bytes are not possible: take a multiple of 4096 from 65536 to \
         1073741824, and at least {smallest} for the configured frame limits"
    )]
    SegmentBytes {
        /// As configured.
        segment_bytes: u32,
        /// The least that the limits allow.
        smallest: u64,
    },
    /// A file is not a segment of this journal.
    #[error("{file} can't be used: {source}")]
    Header {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: HeaderError,
    },
    /// A segment's file has another length than it had.
    #[error(
        "{file} has {found} bytes where {expected} belong; restore it from a copy, or bring the \
         node back as a new replica with an empty journal"
    )]
    Length {
        /// The file.
        file: String,
        /// Its length.
        found: u64,
        /// The length that belongs.
        expected: u64,
    },
    /// A segment is gone.
    #[error(
        "{file} is missing, and {needed_by} follows it; restore it from a copy, or bring the node \
         back as a new replica with an empty journal"
    )]
    Missing {
        /// The file that is gone.
        file: String,
        /// The file that tells so.
        needed_by: String,
    },
    /// No segment's header can be read.
    #[error(
        "no segment of the journal can be read, not even the last one, {file}: {source}; restore \
         the files from a copy, or bring the node back as a new replica with an empty journal"
    )]
    Unreadable {
        /// The last segment's file.
        file: String,
        /// What is wrong with it.
        source: HeaderError,
    },
    /// Another program wrote it.
    #[error(transparent)]
    Unknown(#[from] UnknownEntry),
    /// The entries can be read and don't add up.
    #[error("entry {index} of the batch at byte {offset} of {file} can't be: {reason}")]
    Fold {
        /// The file.
        file: String,
        /// Where its batch is.
        offset: u32,
        /// Which entry of the batch.
        index: usize,
        /// What the fold said.
        reason: String,
    },
    /// What was found is not enough.
    #[error("the journal can't be used: {reason}")]
    Refused {
        /// What the fold said.
        reason: String,
    },
    /// It is suspect.
    #[error("the journal is damaged, nobody can tell what it held, and nothing is written to it")]
    Suspect,
    /// One entry is longer than a segment has room for.
    #[error(
        "an entry takes {bytes} bytes, more than a segment has room for; raise the segment size"
    )]
    TooLarge {
        /// What it takes.
        bytes: usize,
    },
    /// There are no numbers left.
    #[error("the journal has no numbers left for segments or incarnations")]
    Exhausted,
    /// It failed before.
    #[error("the journal stopped before: {0}")]
    Stopped(String),
}

/// Says what was tried when the disk refuses.
pub(super) fn failed(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> JournalError {
    let file = file.to_owned();
    move |source| JournalError::Io { action, file, source }
}
