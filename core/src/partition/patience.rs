//! How long a session waits for replicas that are connected and don't answer.
//!
//! A connection that is silent is closed by whoever keeps connections, and a session that has lost
//! its quorum notices by itself. What is left is a node that is there and whose disk is not: it is
//! waited for as long as something moves, and then a while more.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::serving::Serving;
use crate::sequencer::Sequencer;
use crate::time::Time;
use crate::wire::ReplicaStatus;

/// Whether anything moves in a session that has not opened yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Opening {
    /// The replicas when something moved last, and since when they have been so.
    seen: Vec<ReplicaStatus>,
    unmoved_since: Option<Time>,
}

impl Opening {
    /// Looks at the session at the end of a turn.
    pub(super) fn watch(&mut self, now: Time, sequencer: &Sequencer) {
        let replicas = sequencer.replicas();
        if !sequencer.is_open() && !sequencer.awaits_answers() {
            // Nobody is asked anything: it waits for nodes to be reached.
            *self = Self::default();
        } else if self.unmoved_since.is_none() || self.seen != replicas {
            *self = Self { seen: replicas, unmoved_since: Some(now) };
        }
    }

    /// When the session is given up, if nothing moves until then.
    pub(super) fn deadline(&self, patience: Duration) -> Option<Time> {
        self.unmoved_since.map(|since| since + patience)
    }
}

impl Serving {
    /// Looks, at the end of a turn, whether an answer of a quorum is waited for.
    pub(super) fn watch_quorum(&mut self, now: Time) {
        let waits =
            self.sequencer.sequenced() > self.sequencer.committed() || self.mounts.awaits_round();
        self.unanswered_since = waits.then(|| self.unanswered_since.unwrap_or(now));
    }

    /// When the session is given up, if no quorum answers until then.
    pub(super) fn quorum_deadline(&self, patience: Duration) -> Option<Time> {
        self.unanswered_since.map(|since| since + patience)
    }
}
