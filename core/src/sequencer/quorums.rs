//! Who counts, how many are needed, and the rounds that show a session to be current.
//!
//! A round is confirmed by answers that were asked for after it began: each joined replica says
//! that it has promised nothing higher.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::choose::quorum;
use super::{Outputs, Sequencer, SequencerOutput, Stage};
use crate::id::{Member, NodeId, ReplicaSet};
use crate::planted::PlantedBug;
use crate::time::Time;
use crate::wire::ReplicaRequest;

/// A quorum round under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Round {
    number: u64,
    confirmed: BTreeSet<NodeId>,
}

impl Sequencer {
    /// Begins a quorum round; [`SequencerOutput::Confirmed`] follows unless the session ends.
    /// A round that is under way is replaced.
    pub fn confirm(&mut self, number: u64, outputs: &mut Outputs) {
        assert!(self.is_open(), "only an open session claims to be current");
        self.round = Some(Round { number, confirmed: BTreeSet::new() });
        for node in self.joined() {
            self.ask_to_confirm(node, outputs);
        }
    }

    /// Asks a joined replica for its part in the round that is under way, if one is.
    pub(super) fn ask_to_confirm(&self, node: NodeId, outputs: &mut Outputs) {
        if let Some(round) = &self.round {
            let request = ReplicaRequest::Confirm { round: round.number };
            self.ask(node, request, Bytes::new(), outputs);
        }
    }

    /// A replica confirmed a round.
    pub(super) fn on_confirmed(&mut self, node: NodeId, number: u64, outputs: &mut Outputs) {
        let quorum = self.quorum();
        let joined = self.progress(node).stage == Stage::Joined && self.counts(node);
        let Some(round) = self.round.as_mut().filter(|round| round.number == number && joined)
        else {
            return;
        };
        round.confirmed.insert(node);
        if round.confirmed.len() >= quorum {
            self.round = None;
            let committed = self.committed();
            outputs.push(SequencerOutput::Confirmed { round: number, committed });
        }
    }

    /// The replicas that have joined, whether they count or learn.
    pub(super) fn joined(&self) -> Vec<NodeId> {
        let joined = self.replicas.iter().filter(|(_, p)| p.stage == Stage::Joined);
        joined.map(|(node, _)| *node).collect()
    }

    /// How many of the newest replica set are needed.
    pub(super) fn quorum(&self) -> usize {
        quorum(&self.set().replicas, self.config.planted)
    }

    /// Whether the newest replica set names this node with the disk that it has.
    pub(super) fn counts(&self, node: NodeId) -> bool {
        self.is_member(node, &self.set().replicas)
    }

    /// Whether a replica set names this node with the disk that it has.
    pub(super) fn is_member(&self, node: NodeId, set: &ReplicaSet) -> bool {
        if self.config.planted.has(PlantedBug::CountLearner) {
            return true;
        }
        let storage = self.replicas.get(&node).and_then(|progress| progress.storage);
        storage.is_some_and(|storage| set.contains(Member { node, storage }))
    }

    /// Notices when an open session loses its quorum, and when it has one again.
    pub(super) fn watch_quorum(&mut self, now: Time) {
        let joined = self.joined().into_iter().filter(|node| self.counts(*node)).count();
        let alone = self.is_open() && joined < self.quorum();
        self.alone_since = alone.then(|| self.alone_since.unwrap_or(now));
    }
}
