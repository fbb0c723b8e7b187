//! How a session replicates: windows, bounds, patience; and how its opening is named.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, NodeId, SessionId};
use crate::limits::Limits;
use crate::planted::{Planted, PlantedBug};

/// How a session replicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SequencerConfig {
    /// This node; reads prefer it.
    pub node: NodeId,
    /// Bytes on their way to one replica before it is left to catch up.
    pub window_bytes: usize,
    /// Bytes on fewer than a quorum before appends are refused as busy.
    pub in_flight_bytes: usize,
    /// Bytes of committed runs kept for replicas that lag a little.
    pub keep_bytes: usize,
    /// Bytes of one run.
    pub run_bytes: usize,
    /// How long an idle session waits before it tells replicas the committed mark.
    pub idle_commit: Duration,
    /// How long a replica whose answers do not fit is left alone.
    pub rest: Duration,
    /// How long an open session goes on without a quorum before it is over.
    pub patience: Duration,
    /// How many records a new replica may lack when it is added to the set.
    pub learner_lag: u64,
    /// Bounds of what peers send.
    pub limits: Limits,
    /// The rule broken on purpose, in simulations.
    pub planted: Planted,
}

impl SequencerConfig {
    /// The defaults for a node.
    pub fn new(node: NodeId, limits: Limits) -> Self {
        Self {
            node,
            window_bytes: 4 << 20,
            in_flight_bytes: 16 << 20,
            keep_bytes: 4 << 20,
            run_bytes: 1 << 20,
            idle_commit: Duration::from_millis(100),
            rest: Duration::from_millis(500),
            patience: Duration::from_secs(3),
            learner_lag: 1024,
            limits,
            planted: Planted::NONE,
        }
    }

    /// Names one opening of a session by this node: no other opening has the name, not even one of
    /// an equal epoch in another life of the node, which draws another nonce.
    pub fn session(&self, epoch: Epoch, nonce: u64) -> SessionId {
        match self.planted.has(PlantedBug::ReuseSession) {
            true => SessionId { epoch: Epoch(epoch.0 & !1), server: self.node, nonce: 0 },
            false => SessionId { epoch, server: self.node, nonce },
        }
    }
}
