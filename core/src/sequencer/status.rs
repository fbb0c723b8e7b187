//! How far each replica of a session is, for people and for what watches sessions.

use super::{Phase, Progress, Sequencer, Stage};
use crate::id::{Mark, NodeId};
use crate::measure::ReplicaProgress;
use crate::wire::ReplicaStatus;

impl Sequencer {
    /// Every replica and how far it is.
    pub fn replicas(&self) -> Vec<ReplicaStatus> {
        self.replicas.iter().map(|(node, progress)| self.replica(*node, progress)).collect()
    }

    /// One of them; before the choice, by what it answered.
    fn replica(&self, node: NodeId, progress: &Progress) -> ReplicaStatus {
        let vote = match &self.phase {
            Phase::Opening { votes } => votes.get(&node),
            _ => None,
        };
        let (last, low_water, damaged) = match (vote, progress.stage) {
            (Some(vote), _) => (vote.log.last, vote.low_water, &vote.damaged),
            (None, Stage::Suspect(last)) => (last, Mark::NONE, &progress.damaged),
            (None, _) => (progress.last, progress.told.min(progress.last), &progress.damaged),
        };
        // The disk that is there now is not the one that answered before.
        let is_known = progress.stage != Stage::Foreign;
        ReplicaStatus {
            node,
            storage: progress.storage.filter(|_| is_known),
            counts: is_known && self.counts(node),
            state: progress.words(),
            last,
            low_water,
            damaged: damaged.iter().map(|range| range.last.0 - range.first.0 + 1).sum(),
            wiped: false,
        }
    }

    /// Every replica's distance from what was numbered.
    pub fn progress_of_replicas(&self) -> Vec<ReplicaProgress> {
        let sequenced = self.sequenced().count();
        let of = |node: NodeId, progress: &Progress| ReplicaProgress {
            node,
            has_joined: progress.stage == Stage::Joined,
            counts: progress.stage != Stage::Foreign && self.counts(node),
            lag: sequenced.saturating_sub(progress.last.count()),
        };
        self.replicas.iter().map(|(node, progress)| of(*node, progress)).collect()
    }

    /// Whether appends may come and a quorum of replicas has joined to take them.
    pub fn has_quorum(&self) -> bool {
        self.is_open() && self.alone_since.is_none()
    }

    /// Bytes of records that are on fewer than a quorum.
    pub fn in_flight_bytes(&self) -> usize {
        self.pipeline.in_flight_bytes()
    }

    /// Bytes of committed records that are kept for replicas that lag.
    pub fn kept_bytes(&self) -> usize {
        self.pipeline.kept_bytes()
    }

    /// Forgets them; who lags is served from a replica.
    pub fn forget_kept(&mut self) {
        self.pipeline.keep(0);
    }

    /// Whether some replica has been asked for something that it has to answer before it counts.
    pub fn awaits_answers(&self) -> bool {
        self.replicas.values().any(|progress| progress.stage.awaits_answer())
    }
}
