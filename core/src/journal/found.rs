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
///
/// Recovery first shows the journal from the checkpoint on that its newest header names. When that
/// does not suffice, it begins once more, with the oldest entry: the first time is to leave no trace.
pub trait Fold {
    /// Before the first entry, each time that recovery begins; what came before is to be forgotten.
    /// When a `checkpoint` is needed, what comes is the end of a longer history, whose beginning was
    /// released or is passed over.
    ///
    /// # Errors
    /// In words, when this fold can't do without the beginning.
    fn begin(&mut self, checkpoint: bool) -> Result<(), String>;

    /// The next entry.
    ///
    /// # Errors
    /// In words, when the entry can't follow those before it.
    fn entry(&mut self, entry: FoundEntry<'_>) -> Result<(), String>;

    /// Whether a complete and sound checkpoint came since recovery began, so that no entry before it
    /// is missed. Asked before the end, when entries were passed over. A fold that knows of no
    /// checkpoints is always shown the whole journal.
    fn has_checkpoint(&self) -> bool {
        false
    }

    /// After the last entry. With damage, the journal is suspect: it holds more, nobody can tell
    /// what, and nothing will ever be written to it again.
    ///
    /// # Errors
    /// In words, when what came is not enough.
    fn end(&mut self, suspect: Option<&Damage>) -> Result<(), String>;

    /// After the end: the segment with whose first entry a later recovery may begin, as a checkpoint
    /// begins in it that was found complete and sound; `None` if only the oldest one will do.
    fn replay_from(&self) -> Option<u32> {
        None
    }
}
