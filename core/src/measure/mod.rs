//! What can be counted of a node: plain numbers that it says of itself when it is asked, between two
//! turns of its loop.
//!
//! Machines count as they go, in fields of their own; measuring reads those fields and changes
//! nothing. Counts only grow while a partition is served here by the same assignment, and begin again
//! with the next one. Nothing here knows who asks, or in which format it is told.

mod histogram;
mod readiness;

use serde::{Deserialize, Serialize};

use crate::id::{Mark, NodeId, PartitionId};
pub use histogram::{BUCKETS, Histogram};
pub use readiness::Missing;

/// Everything a node says of itself at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurements {
    /// Whether the node is registered with its coordinator, by this life of it.
    pub is_registered: bool,
    /// Whether the coordinator is at hand: connected, and its state is known.
    pub is_synced: bool,
    /// Whether this node hosts the coordinator, or controls the cluster by one outside.
    pub controls: bool,
    /// How many partitions the cluster has, as far as the node knows.
    pub cluster_partitions: u64,
    /// Whether the journal lost entries, so that the replicas here only give what they still have.
    pub is_suspect: bool,
    /// Whether the node has stopped.
    pub is_stopped: bool,
    /// Its connections.
    pub connections: Connections,
    /// The partitions that it is assigned to serve, ascending.
    pub partitions: Vec<PartitionMeasurements>,
    /// Bytes of records that they have committed last and keep in memory.
    pub recent_bytes: u64,
    /// The replicas that it keeps, ascending.
    pub replicas: Vec<StoredReplica>,
    /// What it does for its replicas.
    pub storage: StorageMeasurements,
}

/// How many connections a node has, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Connections {
    /// From clients.
    pub clients: u64,
    /// From other nodes, which ask.
    pub nodes: u64,
    /// To other nodes, which are asked.
    pub peers: u64,
    /// On which nobody has said yet who is there.
    pub strangers: u64,
}

/// How far a partition is in being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServingState {
    /// A session has ended, and the next one waits a moment.
    Resting,
    /// It waits for an epoch from the coordinator.
    Seeking,
    /// Its replicas are asked to promise and to join.
    Opening,
    /// The lock table is read from the log.
    Rebuilding,
    /// Appends are taken.
    Open,
}

impl ServingState {
    /// In a word, for people and for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Resting => "resting",
            Self::Seeking => "seeking",
            Self::Opening => "opening",
            Self::Rebuilding => "rebuilding",
            Self::Open => "open",
        }
    }
}

/// One partition that a node is assigned to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionMeasurements {
    /// Which.
    pub partition: PartitionId,
    /// How far it is in being served.
    pub state: ServingState,
    /// Whether its session is open and a quorum of its replicas has joined.
    pub has_quorum: bool,
    /// What was counted since it was assigned.
    pub counts: PartitionCounts,
    /// The high-water mark of its session.
    pub committed: Mark,
    /// The last id given out.
    pub sequenced: Mark,
    /// Everything up to here was trimmed.
    pub start: Mark,
    /// Bytes of records that are on fewer than a quorum.
    pub in_flight_bytes: u64,
    /// Lock changes in the lock table's window.
    pub lock_changes: u64,
    /// Clients that are mounted, and how far their feeds are.
    pub mounts: MountMeasurements,
    /// Its replicas as its session sees them, ascending by node.
    pub replicas: Vec<ReplicaProgress>,
    /// How many records each registered consumer has not applied, ascending by name.
    pub consumers: Vec<(String, u64)>,
}

/// What is counted of a partition while it is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionCounts {
    /// Sessions that opened.
    pub sessions_opened: u64,
    /// Sessions that ended otherwise than by a new assignment.
    pub sessions_ended: u64,
    /// Records that were given an id.
    pub appended: u64,
    /// Records that were committed, of those.
    pub committed: u64,
    /// Their bytes.
    pub committed_bytes: u64,
    /// Records that were refused, by reason.
    pub refused: Refusals,
    /// Records refused because a lock had changed for certain.
    pub conflicts: u64,
    /// Records refused as a precaution: they were computed before the lock table's window.
    pub cautious_conflicts: u64,
    /// Repairs that were sent to replicas.
    pub repairs: u64,
    /// From admission to commit, in microseconds, a value a record.
    pub commit_latency: Histogram,
    /// Records of a committed run.
    pub run_records: Histogram,
}

impl Default for PartitionCounts {
    fn default() -> Self {
        Self {
            sessions_opened: 0,
            sessions_ended: 0,
            appended: 0,
            committed: 0,
            committed_bytes: 0,
            refused: Refusals::default(),
            conflicts: 0,
            cautious_conflicts: 0,
            repairs: 0,
            // From 32 microseconds to 16 seconds.
            commit_latency: Histogram::from_bound(32),
            run_records: Histogram::from_bound(1),
        }
    }
}

/// Records that were refused, whatever their locks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Refusals {
    /// No session was open.
    pub closed: u64,
    /// They came over a mount that doesn't count, or under another assignment.
    pub stale: u64,
    /// They are too large, or have too many locks.
    pub limit: u64,
    /// They were computed at a mark that is not committed.
    pub ahead: u64,
    /// Too much was in flight.
    pub busy: u64,
    /// The replicas' disks were full.
    pub full: u64,
}

/// The clients mounted at a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MountMeasurements {
    /// How many there are.
    pub mounted: u64,
    /// How many were fed everything that is committed.
    pub at_head: u64,
    /// How many records the one that is furthest behind was not fed.
    pub largest_lag: u64,
    /// Feeds' reads that memory answered, in this session.
    pub tail_hits: u64,
    /// Feeds' reads that went to the storage, in this session.
    pub tail_misses: u64,
}

/// A replica as a session sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaProgress {
    /// Its node.
    pub node: NodeId,
    /// Whether it has joined the session.
    pub has_joined: bool,
    /// Whether it counts for a quorum.
    pub counts: bool,
    /// How many numbered records it does not durably have, as far as is known.
    pub lag: u64,
}

/// A replica that a node keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredReplica {
    /// Of which partition.
    pub partition: PartitionId,
    /// The last id of its log.
    pub last: Mark,
    /// Up to here it knows its log to be committed.
    pub low_water: Mark,
    /// Records that it can't read.
    pub damaged: u64,
    /// Bytes of durable records that it keeps.
    pub bytes: u64,
    /// It has as many as it may have.
    pub is_over_quota: bool,
}

/// What a node does for its replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StorageMeasurements {
    /// The number of the last checkpoint that was begun.
    pub checkpoints: u64,
    /// Rounds of the scrub that were finished by this life of the node.
    pub scrub_rounds: u64,
    /// Bytes that the scrub has read.
    pub scrub_bytes: u64,
    /// Bytes of records that were written again, so that old segments could be given up.
    pub moved_bytes: u64,
    /// The disk has no room for records.
    pub is_full: bool,
}
