//! What recovery finds, and who takes it in.

use super::damage::Damage;
use super::{EntryHead, Place};

/// An entry that recovery found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundEntry<'a> {
    /// What happened.
    pub head: EntryHead,
    /// Where its body is, or was; `None` for entries without one.
    pub place: Option<Place>,
    /// Its body, verified; empty when there is none, and when it is damaged.
    pub body: &'a [u8],
    /// Whether the body is not what was written. The head is.
    pub is_damaged: bool,
}

/// A batch that recovery found, every entry of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundBatch<'a> {
    /// Its number in the incarnation.
    pub number: u64,
    /// Where it is in the segment.
    pub offset: u32,
    /// Its length, without padding.
    pub length: u32,
    /// Its entries, in order.
    pub entries: Vec<FoundEntry<'a>>,
    /// What is wrong with it: its entries are told by its seal then.
    pub damage: Option<Damage>,
}

/// Takes in a journal, from its first entry to its last. An error ends the recovery, and leaves the
/// journal as it was.
pub trait Fold {
    /// Before the first entry. When the journal's oldest segments were `released`, what comes is the
    /// end of a longer history, and what it says rests on a checkpoint in it.
    ///
    /// # Errors
    /// In words, when this fold needs what was released.
    fn begin(&mut self, released: bool) -> Result<(), String>;

    /// The next entry.
    ///
    /// # Errors
    /// In words, when the entry can't follow those before it.
    fn entry(&mut self, entry: FoundEntry<'_>) -> Result<(), String>;

    /// After the last entry. With damage, the journal is suspect: it holds more, nobody can tell
    /// what, and nothing will ever be written to it again.
    ///
    /// # Errors
    /// In words, when what came is not enough.
    fn end(&mut self, suspect: Option<&Damage>) -> Result<(), String>;
}
