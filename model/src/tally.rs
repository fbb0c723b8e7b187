//! How often things happened that an exploration is for: one that never reaches them proves
//! nothing.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// A session opened.
    Opened,
    /// A session committed records.
    Committed,
    /// A session was fenced.
    Fenced,
    /// A replica cut its log.
    Cut,
    /// A replica was given a part of the chosen log.
    CaughtUp,
}

impl Happening {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::Opened, Self::Committed, Self::Fenced, Self::Cut, Self::CaughtUp];

    /// In a word, for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Committed => "committed",
            Self::Fenced => "fenced",
            Self::Cut => "cut",
            Self::CaughtUp => "caught up",
        }
    }
}

/// Counts of each kind.
#[derive(Debug, Default)]
pub struct Tally {
    counts: [AtomicU64; Happening::ALL.len()],
}

impl Tally {
    pub(crate) fn count(&self, happening: Happening) {
        self.counts[happening as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often it happened: a transition counts once however many states lead to it.
    pub fn of(&self, happening: Happening) -> u64 {
        self.counts[happening as usize].load(Ordering::Relaxed)
    }
}

impl Clone for Tally {
    fn clone(&self) -> Self {
        Self { counts: Happening::ALL.map(|happening| self.of(happening).into()) }
    }
}
