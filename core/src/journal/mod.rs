//! The journal: a node's durable state is a fold over its entries.

mod entry;

pub use entry::{Entry, EntryHead, Place};
