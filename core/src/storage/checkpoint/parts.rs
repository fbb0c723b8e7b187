//! What a checkpoint's parts say, and their encoding.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::coordinator::Snapshot;
use crate::id::{CreationId, IdRange, Mark, PartitionId, SessionId, TransactionId};
use crate::log::LogSummary;
use crate::storage::index::StoredRun;

/// A part; what it says is as of its place in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::storage) enum Part {
    /// The first one: whose parts follow. Replicas that are created later are not among them.
    Begin { partitions: BTreeSet<PartitionId> },
    /// The coordinator's state; empty where there is none.
    Coordinator(Snapshot),
    /// A replica, but for where its records are: that is in the parts that follow, for all records
    /// before `end`. Later ones come to the log later.
    Replica { state: ReplicaState, end: TransactionId },
    /// Where some of a replica's records are.
    Runs { partition: PartitionId, part: IndexPart },
}

impl Part {
    /// As an entry's body.
    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, Vec::new()).expect("every part has an encoding")
    }

    /// From an entry's body; `None` if it says nothing that this program understands.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        postcard::from_bytes(body).ok()
    }
}

/// A replica's durable state without its index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::storage) struct ReplicaState {
    pub(in crate::storage) partition: PartitionId,
    pub(in crate::storage) creation: CreationId,
    pub(in crate::storage) promise: Option<SessionId>,
    pub(in crate::storage) normal: Option<SessionId>,
    pub(in crate::storage) summary: LogSummary,
    pub(in crate::storage) low_water: Mark,
}

/// Where the records of runs are that begin from `from` on and before `to`, and what was repaired
/// of those ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::storage) struct IndexPart {
    pub(in crate::storage) from: TransactionId,
    pub(in crate::storage) to: TransactionId,
    pub(in crate::storage) runs: Vec<StoredRun>,
    pub(in crate::storage) repaired: Vec<(IdRange, StoredRun)>,
}
