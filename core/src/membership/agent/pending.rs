//! What an agent has asked the coordinator for and is not answered.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::coordinator::Revision;
use crate::membership::controller::Controller;
use crate::membership::edits::Write;
use crate::membership::{EditId, Name};

/// A request whose answer has not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) write: Write,
    pub(super) expected: Option<Revision>,
    /// The edits that are made by this.
    pub(super) edits: Vec<EditId>,
}

/// The requests under way, at most one of each key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct UnderWay {
    last: u64,
    requests: BTreeMap<u64, Pending>,
    names: BTreeSet<Name>,
    /// How many are the controller's.
    planned: usize,
}

impl UnderWay {
    /// Takes a request in; its number.
    pub(super) fn add(&mut self, pending: Pending) -> u64 {
        let name = pending.write.name();
        assert!(self.names.insert(name), "one request of {} is under way", name.key());
        self.planned += usize::from(Controller::owns(name));
        self.last += 1;
        self.requests.insert(self.last, pending);
        self.last
    }

    /// A request was answered; none if it was given up before.
    pub(super) fn end(&mut self, request: u64) -> Option<Pending> {
        let pending = self.requests.remove(&request)?;
        let name = pending.write.name();
        self.names.remove(&name);
        self.planned -= usize::from(Controller::owns(name));
        Some(pending)
    }

    /// Gives all of them up; no number is used again.
    pub(super) fn clear(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    /// Whether one of this key is under way.
    pub(super) fn has(&self, name: Name) -> bool {
        self.names.contains(&name)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.requests.len()
    }

    /// Whether something the controller asked for is not answered.
    pub(super) fn is_planning(&self) -> bool {
        self.planned > 0
    }
}
