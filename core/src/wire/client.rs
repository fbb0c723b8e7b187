//! Between a client and a server.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::access::AccessRefusal;
use crate::id::{
    Generation, Mark, MountId, NodeId, PartitionId, ReplicaSet, SessionId, SetVersion, StorageId,
    TransactionId,
};
use crate::io::Address;
use crate::lock::LockId;
use crate::wire::{NodeInspection, OperatorRefusal, OperatorRequest, Version};

/// A client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientRequest {
    /// Which partitions are there, and whose are they? Answered by `Cluster`, now and whenever it
    /// changes on this connection.
    Describe,
    /// Attach to a partition. The client's newest mount counts, older ones end.
    Mount {
        /// The partition.
        partition: PartitionId,
        /// The assignment the client knows.
        generation: Generation,
        /// Numbers the client's mounts of this partition; grows.
        mount: MountId,
        /// What the client has applied; the feed starts after it.
        after: Mark,
        /// What the feed carries.
        mode: FeedMode,
        /// How many bytes of feed payload the server may send before more credit comes.
        credit: u32,
    },
    /// More feed is welcome.
    Credit {
        /// The partition.
        partition: PartitionId,
        /// The mount.
        mount: MountId,
        /// Bytes of feed payload, on top of what is left.
        bytes: u32,
    },
    /// End a mount.
    Unmount {
        /// The partition.
        partition: PartitionId,
        /// The mount.
        mount: MountId,
    },
    /// Append records. The frame's payload is them, encoded without ids, end to end; their ReqIds
    /// name this client and partition, and their sequences ascend.
    Append {
        /// The partition.
        partition: PartitionId,
        /// The mount.
        mount: MountId,
        /// The session that the mount named; any other refuses.
        session: SessionId,
        /// How many.
        count: u32,
    },
    /// One committed record, whole. Answered by `Fetched` or `FetchRefused`.
    Fetch {
        /// The partition.
        partition: PartitionId,
        /// Numbers the call.
        call: u64,
        /// Which one.
        id: TransactionId,
    },
    /// The high-water mark, confirmed by a quorum round begun after this. Answered by `Current`,
    /// or by `FetchRefused` where this server does not serve the partition.
    Current {
        /// The partition.
        partition: PartitionId,
        /// Numbers the call.
        call: u64,
    },
    /// How this node is. Answered by `Status`.
    Status {
        /// Numbers the call.
        call: u64,
    },
    /// Something an operator wants. Answered by `Operated`.
    Operate {
        /// Numbers the call.
        call: u64,
        /// What.
        request: OperatorRequest,
    },
    /// What this node knows of the cluster, and keeps. Answered by `Inspected`.
    Inspect {
        /// Numbers the call.
        call: u64,
    },
    /// Who asks presents a token, before anything that takes a role. There is no answer, unless the
    /// token has none: then the connection is closed with a refusal.
    Authenticate {
        /// The token.
        token: String,
    },
}

impl ClientRequest {
    /// The version of the protocol that has it.
    pub fn since(&self) -> Version {
        match self {
            Self::Operate { request, .. } => request.since(),
            Self::Inspect { .. } | Self::Authenticate { .. } => Version::OPERATIONS,
            Self::Describe
            | Self::Mount { .. }
            | Self::Credit { .. }
            | Self::Unmount { .. }
            | Self::Append { .. }
            | Self::Fetch { .. }
            | Self::Current { .. }
            | Self::Status { .. } => Version::FIRST,
        }
    }
}

/// What a feed carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedMode {
    /// Records without their data: lengths of the data are zero, everything else is there.
    Headers,
    /// Whole records, exactly as stored.
    Records,
}

/// A server answers a client, or feeds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerReply {
    /// The cluster as this node knows it.
    Cluster(ClusterView),
    /// The mount counts from now on. Appends may name it and the session once `Ready` came.
    Mounted {
        /// The partition.
        partition: PartitionId,
        /// The mount.
        mount: MountId,
        /// The serving session; a client that has seen a higher one closes the connection.
        session: SessionId,
    },
    /// There is no such mount, or no more.
    Unmounted {
        /// The partition.
        partition: PartitionId,
        /// The mount.
        mount: MountId,
        /// Why.
        reason: MountRefusal,
    },
    /// Committed records, directly after what was fed before; the frame's payload is a run.
    Feed {
        /// The partition.
        partition: PartitionId,
        /// The mount.
        mount: MountId,
        /// The first record.
        first: TransactionId,
        /// How many.
        count: u32,
    },
    /// Everything committed when the mount was made has been fed, earlier requests of the client
    /// are decided, and a quorum confirmed the session since: what the client had outstanding
    /// before this mount and has not seen by now has failed for certain.
    Ready {
        /// The partition.
        partition: PartitionId,
        /// The mount.
        mount: MountId,
        /// The serving session.
        session: SessionId,
        /// What was fed up to here.
        mark: Mark,
    },
    /// A lock of an appended record was changed after the mark it was computed at; it is not in
    /// the log and never will be. Sent once `id` is committed.
    Conflict {
        /// The partition.
        partition: PartitionId,
        /// The mount.
        mount: MountId,
        /// The sequence of the refused ReqId.
        sequence: u64,
        /// Apply this id before trying again.
        id: TransactionId,
        /// The lock that caused it.
        lock: LockId,
        /// Whether `id` changed the lock for certain. When not, the mark was below the lock
        /// table's window and the refusal is a precaution.
        exact: bool,
    },
    /// These records are not in the log and never will be.
    AppendRefused {
        /// The partition.
        partition: PartitionId,
        /// The mount.
        mount: MountId,
        /// The first refused ReqId's sequence.
        first: u64,
        /// The last one's.
        last: u64,
        /// Why.
        reason: AppendRefusal,
    },
    /// A fetched record is the frame's payload.
    Fetched {
        /// The call.
        call: u64,
    },
    /// It could not be fetched, or the mark could not be told.
    FetchRefused {
        /// The call.
        call: u64,
        /// Why.
        reason: FetchRefusal,
    },
    /// The confirmed high-water mark.
    Current {
        /// The call.
        call: u64,
        /// The mark.
        mark: Mark,
    },
    /// How this node is.
    Status {
        /// The call.
        call: u64,
        /// The node.
        status: NodeStatus,
    },
    /// What became of an operator's wish.
    Operated {
        /// The call.
        call: u64,
        /// Why it was not granted, if it was not.
        result: Result<(), OperatorRefusal>,
    },
    /// What this node knows and keeps.
    Inspected {
        /// The call.
        call: u64,
        /// What was found.
        inspection: NodeInspection,
    },
    /// Who asked may not ask this.
    Denied {
        /// The call.
        call: u64,
        /// Why not.
        refusal: AccessRefusal,
    },
}

impl ServerReply {
    /// The version of the protocol that has it.
    pub fn since(&self) -> Version {
        match self {
            Self::AppendRefused { reason: AppendRefusal::Full, .. } => Version::SPACE,
            Self::Operated { result: Err(refusal), .. } => refusal.since(),
            Self::Inspected { .. }
            | Self::Denied { .. }
            | Self::AppendRefused { reason: AppendRefusal::Access(_), .. } => Version::OPERATIONS,
            Self::Operated { result: Ok(()), .. }
            | Self::Cluster(_)
            | Self::Mounted { .. }
            | Self::Unmounted { .. }
            | Self::Feed { .. }
            | Self::Ready { .. }
            | Self::Conflict { .. }
            | Self::AppendRefused { .. }
            | Self::Fetched { .. }
            | Self::FetchRefused { .. }
            | Self::Current { .. }
            | Self::Status { .. } => Version::FIRST,
        }
    }
}

/// Why a mount was not made or has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum MountRefusal {
    /// Another node serves the partition, or none does now.
    #[error("this node does not serve the partition")]
    NotOwner,
    /// The request names another assignment than the current one.
    #[error("the partition's assignment is {current}")]
    Generation {
        /// The current assignment.
        current: Generation,
    },
    /// The client has seen more than a log that a quorum has just confirmed.
    #[error(
        "the client is at {client} and the log, confirmed by a quorum, ends at {log}: the client's database is from another cluster or another time"
    )]
    AheadOfLog {
        /// What the client says it has applied.
        client: Mark,
        /// The high-water mark.
        log: Mark,
    },
    /// What the client has not applied yet was trimmed: it can't go on from where it is.
    #[error("everything up to {start} was trimmed, and the client has not applied that")]
    Trimmed {
        /// The start mark.
        start: Mark,
    },
    /// The session ended; mount again.
    #[error("the session ended")]
    SessionEnded,
    /// A newer mount of this client took its place.
    #[error("a newer mount took its place")]
    Replaced,
    /// Asked for.
    #[error("unmounted")]
    Asked,
    /// As many clients are mounted as this partition takes.
    #[error("the partition has as many mounts as it takes; try again later")]
    Busy,
}

/// Why appended records were refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum AppendRefusal {
    /// The mount or the session it names is not the one that counts.
    #[error("the mount or session is not the current one")]
    Stale,
    /// Over the server's limit.
    #[error("record over the limit: {0}")]
    Limit(String),
    /// Too much is under way; send it again later.
    #[error("too many appends are under way in this partition")]
    Busy,
    /// It was computed at a mark that the log has not come to: nobody can have seen that much.
    #[error("it was computed at {computed_at}, and the log ends at {log}")]
    Ahead {
        /// The mark that the record names.
        computed_at: Mark,
        /// The last committed transaction.
        log: Mark,
    },
    /// Who sent it may not append. Told only to who knows [`Version::OPERATIONS`].
    #[error("access denied: {0}")]
    Access(AccessRefusal),
    /// Too few of the partition's disks have room, or let it have more. Reads and trims go on, and so do appends once
    /// there is room again. Who knows nothing of [`Version::SPACE`] hears [`Self::Busy`].
    #[error(
        "the disks of the partition's replicas are full, or it has come to its quota; trim, or \
         allow it more space"
    )]
    Full,
}

/// Why a record or a mark could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum FetchRefusal {
    /// This node does not serve the partition.
    #[error("this node does not serve the partition")]
    NotOwner,
    /// Not committed yet, or never.
    #[error("the transaction is not committed")]
    NotCommitted,
    /// It was trimmed.
    #[error("everything up to {start} was trimmed")]
    Trimmed {
        /// The start mark.
        start: Mark,
    },
    /// It could not be read.
    #[error("the record could not be read: {0}")]
    Failed(String),
}

/// The cluster as one node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClusterView {
    /// All partitions, ascending.
    pub partitions: Vec<PartitionView>,
    /// All nodes, ascending.
    pub nodes: Vec<NodeView>,
}

/// One partition's assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionView {
    /// The partition.
    pub partition: PartitionId,
    /// The version of its assignment.
    pub generation: Generation,
    /// The node that should serve it, if one is assigned.
    pub owner: Option<NodeId>,
    /// The version of `replicas`.
    pub version: SetVersion,
    /// The newest replica set that a server has told of.
    pub replicas: ReplicaSet,
}

/// One node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// The node.
    pub node: NodeId,
    /// Where it listens.
    pub address: Address,
    /// Whether its lease is alive.
    pub live: bool,
    /// The disk it last registered, if it keeps replicas.
    pub storage: Option<StorageId>,
}

/// How one node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node.
    pub node: NodeId,
    /// The cluster as it knows it.
    pub cluster: ClusterView,
    /// The partitions it serves.
    pub partitions: Vec<PartitionStatus>,
    /// Whether it reaches the coordinator now.
    pub coordinator: bool,
}

/// One partition, as its server sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// The partition.
    pub partition: PartitionId,
    /// The session, if one was begun.
    pub session: Option<SessionId>,
    /// Whether appends are accepted.
    pub open: bool,
    /// The high-water mark.
    pub committed: Mark,
    /// Everything up to here was trimmed.
    pub start: Mark,
    /// The version of the newest replica set, committed or not.
    pub version: SetVersion,
    /// That set.
    pub members: ReplicaSet,
    /// The replicas that an operator wants, if one has said so.
    pub target: Option<ReplicaSet>,
    /// The replicas that the session deals with: of the set, and those that are to be added.
    pub replicas: Vec<ReplicaStatus>,
    /// The registered consumers and what each has applied, ascending by name.
    pub consumers: Vec<(String, Mark)>,
}

/// One replica, as the partition's server sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// The node.
    pub node: NodeId,
    /// The disk that answered, if one did.
    pub storage: Option<StorageId>,
    /// Whether it counts for a majority: the newest replica set names it with this disk.
    pub counts: bool,
    /// In a word: unreachable, opening, copying, joined and so on.
    pub state: String,
    /// Its last durable id, as far as the server knows.
    pub last: Mark,
    /// Up to here it knows its log to be committed, as far as the server knows.
    pub low_water: Mark,
    /// How many records it is known to be unable to read.
    pub damaged: u64,
    /// Whether its node has registered with another disk than the newest replica set names.
    pub wiped: bool,
}
