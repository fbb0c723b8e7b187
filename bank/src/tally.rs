//! Who submitted what, and how it ended.
//!
//! Invariant to check at the end: every submitted operation ended exactly once, and the
//! callback that told its end said the same as its outcome.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use waltz_core::id::TransactionId;

/// How a submitted operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It is in the log, here.
    Committed(TransactionId),
    /// The bank refused it: an overdraft.
    Ignored,
    /// It is not in the log and never will be.
    Failed(String),
    /// It was given up before the answer could be had.
    InDoubt,
}

/// What a context was told of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callback {
    /// `on_completion(true)`.
    Committed,
    /// `on_completion(false)`.
    Ignored,
    /// `on_exception`.
    Failed,
    /// `on_in_doubt`.
    InDoubt,
}

impl Ending {
    /// The callback that goes with it.
    pub fn callback(&self) -> Callback {
        match self {
            Self::Committed(_) => Callback::Committed,
            Self::Ignored => Callback::Ignored,
            Self::Failed(_) => Callback::Failed,
            Self::InDoubt => Callback::InDoubt,
        }
    }
}

/// What became of one operation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fate {
    /// How often it was executed.
    pub executions: u64,
    /// How often a lock refused it.
    pub conflicts: u64,
    /// The callbacks that told its end; one, when all is well.
    pub callbacks: Vec<Callback>,
    /// The outcomes that were returned; one, when all is well.
    pub endings: Vec<Ending>,
}

/// Sums over all operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Submitted.
    pub submitted: u64,
    /// Committed.
    pub committed: u64,
    /// Refused by the bank.
    pub ignored: u64,
    /// Failed for certain.
    pub failed: u64,
    /// Given up.
    pub in_doubt: u64,
    /// Refusals by a lock.
    pub conflicts: u64,
    /// Executions beyond each operation's first.
    pub re_executions: u64,
}

/// The fates of all operations. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    fates: Arc<Mutex<BTreeMap<u64, Fate>>>,
}

impl Tally {
    /// Nothing was submitted.
    pub fn new() -> Self {
        Self::default()
    }

    /// An operation was submitted.
    pub fn submitted(&self, number: u64) {
        self.fates().entry(number).or_default();
    }

    /// It is being executed.
    pub fn executed(&self, number: u64) {
        self.fates().entry(number).or_default().executions += 1;
    }

    /// A lock refused it.
    pub fn conflicted(&self, number: u64) {
        self.fates().entry(number).or_default().conflicts += 1;
    }

    /// A callback told its end.
    pub fn told(&self, number: u64, callback: Callback) {
        self.fates().entry(number).or_default().callbacks.push(callback);
    }

    /// Its outcome was returned.
    pub fn ended(&self, number: u64, ending: Ending) {
        self.fates().entry(number).or_default().endings.push(ending);
    }

    /// A copy of every fate.
    pub fn snapshot(&self) -> BTreeMap<u64, Fate> {
        self.fates().clone()
    }

    /// Sums at this moment.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for fate in self.fates().values() {
            totals.submitted += 1;
            totals.conflicts += fate.conflicts;
            totals.re_executions += fate.executions.saturating_sub(1);
            for ending in &fate.endings {
                match ending {
                    Ending::Committed(_) => totals.committed += 1,
                    Ending::Ignored => totals.ignored += 1,
                    Ending::Failed(_) => totals.failed += 1,
                    Ending::InDoubt => totals.in_doubt += 1,
                }
            }
        }
        totals
    }

    fn fates(&self) -> MutexGuard<'_, BTreeMap<u64, Fate>> {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
