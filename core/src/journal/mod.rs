//! The journal: a node's durable state is a fold over its entries.
//!
//! This module owns the format and every judgement about it: where a batch goes, what makes it
//! count when it is read back, and what is damage rather than a write cut short. It opens no file;
//! `waltz_runtime::journal` moves the bytes. `docs/journal-format.md` gives the whole picture.
//!
//! - A batch is written only after the one before it is durable.
//! - Every checksum rests on the header of its segment, which no other segment shares.
//! - Nothing of a batch counts before all of it was verified, by itself or by its seal.

mod batch;
mod damage;
mod decode;
mod entry;
mod evidence;
mod found;
mod header_error;
mod layout;
mod scan;
mod seal;
mod segment;
mod writer;

#[cfg(test)]
mod tests;

pub use batch::{Batch, EncodedBatch};
pub use damage::{BatchFault, Damage, Evidence, Fault, Lost, Torn};
pub use entry::{Entry, EntryHead, Place};
pub use found::{Fold, FoundBatch, FoundEntry};
pub use header_error::HeaderError;
pub use layout::{
    BLOCK_BYTES, DEFAULT_SEGMENT_BYTES, Layout, SECTOR_BYTES, parse_segment_name, parse_spare_name,
    segment_name, spare_name,
};
pub use scan::{Rewrite, SegmentScan, UnknownEntry};
pub use segment::{HeaderVersion, Previous, SegmentEnd, SegmentHeader};
pub use writer::SegmentWriter;
