//! A node's durable state while it is folded from its journal.

use crate::coordinator::Coordinator;
use crate::journal::{Damage, Fold, FoundEntry};
use crate::limits::Limits;
use crate::planted::Planted;
use crate::storage::{Replayed, Storage};

/// What a node's journal holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    pub(super) storage: Storage,
    pub(super) coordinator: Coordinator,
}

impl Recovered {
    /// The state of an empty journal.
    pub fn new(limits: Limits, planted: Planted) -> Self {
        Self { storage: Storage::new(limits, planted), coordinator: Coordinator::new() }
    }

    /// The replicas found.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }
}

impl Fold for Recovered {
    fn begin(&mut self, checkpoint: bool) -> Result<(), String> {
        self.storage.begin_replay(checkpoint);
        self.coordinator = Coordinator::new();
        Ok(())
    }

    fn entry(&mut self, entry: FoundEntry<'_>) -> Result<(), String> {
        match self.storage.replay(&entry).map_err(|error| error.to_string())? {
            Replayed::Taken => {}
            Replayed::Restarted => self.coordinator = Coordinator::new(),
            Replayed::Coordinator(snapshot) => self.coordinator = Coordinator::restored(snapshot),
            Replayed::Change(change) => {
                self.coordinator.replay(&change).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    fn has_checkpoint(&self) -> bool {
        self.storage.is_replay_founded()
    }

    fn end(&mut self, suspect: Option<&Damage>) -> Result<(), String> {
        if suspect.is_some() {
            self.storage.mark_suspect();
        }
        self.storage.end_replay().map_err(|error| error.to_string())
    }

    fn replay_from(&self) -> Option<u32> {
        self.storage.replay_from()
    }
}
