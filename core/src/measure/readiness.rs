//! Whether a node does what it is there for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Measurements, ServingState};
use crate::id::PartitionId;

/// Something that a node lacks for being ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// The node has stopped.
    Stopped,
    /// The journal lost entries.
    Journal,
    /// The coordinator has not registered this node.
    Registration,
    /// The cluster has no partitions.
    Partitions,
    /// A partition that is assigned here is not open.
    Open {
        /// Which.
        partition: PartitionId,
        /// How far it is.
        state: ServingState,
    },
    /// A partition that is assigned here is open, and fewer than a quorum of its replicas are there.
    Quorum {
        /// Which.
        partition: PartitionId,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the node has stopped"),
            Self::Journal => f.write_str("the journal lost entries; this node needs a new one"),
            Self::Registration => f.write_str("the coordinator has not registered this node"),
            Self::Partitions => {
                f.write_str("the cluster has no partitions; it waits for its storage nodes")
            }
            Self::Open { partition, state } => {
                write!(f, "partition {} is not open: {}", partition.0, state.word())
            }
            Self::Quorum { partition } => {
                write!(f, "partition {} has no quorum of replicas", partition.0)
            }
        }
    }
}

impl Measurements {
    /// What the node lacks for being ready; it is ready when that is nothing.
    ///
    /// It is ready when it was registered by its coordinator and everything assigned to it can be
    /// appended to. A coordinator that is lost later takes nothing away: what is served is served.
    pub fn missing(&self) -> Vec<Missing> {
        let mut missing = Vec::new();
        let whole = [
            (self.is_stopped, Missing::Stopped),
            (self.is_suspect, Missing::Journal),
            (!self.is_registered, Missing::Registration),
            (self.is_registered && self.cluster_partitions == 0, Missing::Partitions),
        ];
        missing.extend(whole.into_iter().filter(|(lacks, _)| *lacks).map(|(_, what)| what));
        missing.extend(self.partitions.iter().filter_map(|served| {
            let (partition, state) = (served.partition, served.state);
            match (state, served.has_quorum) {
                (ServingState::Open, true) => None,
                (ServingState::Open, false) => Some(Missing::Quorum { partition }),
                (state, _) => Some(Missing::Open { partition, state }),
            }
        }));
        missing
    }
}
