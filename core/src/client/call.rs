//! The calls of an application, and how they end.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::access::AccessRefusal;
use crate::id::{ClusterKey, Mark, NodeId, PartitionId, ReqId, TransactionId};
use crate::lock::LockId;
use crate::record::RecordError;
use crate::wire::{
    AppendRefusal, ClusterView, FetchRefusal, NodeInspection, NodeStatus, OperatorRefusal, Refusal,
    TooLong, Version,
};

/// Numbers the calls of one client; ascending in the order they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What a record will hold, before it has a ReqId.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    /// The application's 32 bits.
    pub header: u32,
    /// Locks checked and changed.
    pub writes: Vec<LockId>,
    /// Locks checked.
    pub reads: Vec<LockId>,
    /// Locks changed.
    pub appends: Vec<LockId>,
    /// The application's bytes.
    pub data: Bytes,
}

/// How long and how often a call may try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Patience {
    /// The application gives up after this long.
    pub timeout: Option<Duration>,
    /// How many times a context may be executed again.
    pub retries: Option<u32>,
}

impl Patience {
    /// Whether there is no time at all.
    pub(super) fn is_over(&self) -> bool {
        self.timeout.is_some_and(|timeout| timeout.is_zero())
    }
}

/// Where a partition's feed starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// After what the application has applied.
    After(Mark),
    /// After everything that is committed now.
    Newest,
}

impl From<Mark> for Start {
    fn from(mark: Mark) -> Self {
        Self::After(mark)
    }
}

/// What running a context came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executed {
    /// Append this.
    Append(Draft),
    /// The context declined.
    Ignored,
    /// The context failed; the driver keeps the error.
    Failed,
}

/// A lock was changed after the mark a transaction was computed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "lock {lock} {} transaction {id}",
    if *.exact { "was changed by" } else { "may have been changed up to" }
)]
pub struct Conflict {
    /// Apply this before trying again.
    pub id: TransactionId,
    /// The lock.
    pub lock: LockId,
    /// Whether `id` changed the lock for certain; when not, the mark was older than what the
    /// server remembers of locks.
    pub exact: bool,
}

/// How an append or a context ended; each does so exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It is in the log.
    Committed(TransactionId),
    /// The context declined; nothing was appended.
    Ignored,
    /// It is not in the log and never will be.
    Failed(Failure),
    /// The application gave up while the answer could not be had. The feed will tell.
    InDoubt(InDoubt),
}

/// An attempt that was sent and given up before it was decided: a question that can be answered
/// later, by any client of the cluster. It may be kept for as long as the log keeps what follows
/// the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Error)]
#[error(
    "whether {req_id} is in the log of cluster {cluster} after {mark} was not known when it was given up"
)]
pub struct InDoubt {
    /// Where it was sent: no other cluster can tell.
    pub cluster: ClusterKey,
    /// The attempt.
    pub req_id: ReqId,
    /// It is not in the log up to here.
    pub mark: Mark,
}

impl InDoubt {
    /// The partition it was sent to.
    pub fn partition(&self) -> PartitionId {
        self.req_id.partition
    }
}

/// What became of an attempt in doubt; for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Resolution {
    /// It is in the log.
    Committed(TransactionId),
    /// It is not in the log and never will be.
    NotCommitted,
}

/// Why something is not in the log and never will be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// A lock stood against it.
    #[error("{0}")]
    Conflict(Conflict),
    /// The server refused it.
    #[error("the server refused the record: {0}")]
    Refused(AppendRefusal),
    /// It can't be encoded within the limits.
    #[error("{0}")]
    Record(RecordError),
    /// It got lost on the way: the server changed, or passed over it.
    #[error("the append got lost when the server changed")]
    Lost,
    /// The partition is not among those mounted.
    #[error("the partition is not mounted by this client")]
    NotMounted,
    /// The partition could not be mounted in time.
    #[error("the partition could not be mounted in time: {0}")]
    MountTimeout(String),
    /// The application's time for it is over.
    #[error("its deadline passed")]
    Deadline,
    /// The application no longer wants it.
    #[error("it was withdrawn")]
    Cancelled,
    /// The application's database is from another cluster or another time.
    #[error(
        "this client has applied up to {client} and the log ends at {log}: its database is from another cluster or another time"
    )]
    AheadOfLog {
        /// What the client has applied.
        client: Mark,
        /// Where the log ends.
        log: Mark,
    },
    /// What the application has not applied was trimmed.
    #[error(
        "this client has applied up to {client} and the log starts after {start}: what is between was trimmed"
    )]
    Trimmed {
        /// What the client has applied.
        client: Mark,
        /// Where the log starts.
        start: Mark,
    },
    /// The context failed to execute.
    #[error("the context failed")]
    Context,
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// A whole record.
    Record(Bytes),
    /// The cluster.
    Cluster(ClusterView),
    /// One node.
    Status(NodeStatus),
    /// What one node knows and keeps.
    Inspection(Box<NodeInspection>),
    /// What became of an attempt.
    Resolved(Resolution),
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unanswered {
    /// In time, nobody answered.
    #[error("no answer in time: {0}")]
    TimedOut(String),
    /// A node won't talk to this client.
    #[error("{0}")]
    Hello(Refusal),
    /// The server can't answer it.
    #[error("{0}")]
    Refused(FetchRefusal),
    /// A partition can't be mounted at all.
    #[error("partition {0}: {1}")]
    Broken(PartitionId, Failure),
    /// What an operator wants is not granted.
    #[error("{0}")]
    NotGranted(OperatorRefusal),
    /// This client may not ask this.
    #[error("access denied: {0}")]
    Denied(AccessRefusal),
    /// The cluster has no such partition.
    #[error("the cluster has no partition {0}")]
    UnknownPartition(PartitionId),
    /// The cluster has no such node.
    #[error("the cluster has no node {0}")]
    UnknownNode(NodeId),
    /// The node that is to answer speaks an older version of the protocol than the question needs.
    #[error(
        "the node speaks version {spoken} of the protocol and this takes version {needed}: upgrade it first"
    )]
    TooOld {
        /// What was agreed on with the node.
        spoken: Version,
        /// What it takes.
        needed: Version,
    },
    /// The question is longer than a node takes.
    #[error("{0}: upgrade the node if it is older than this client, or ask for less at once")]
    TooLong(TooLong),
    /// An attempt was sent to another cluster than this client's.
    #[error("the attempt was sent to cluster {attempt}; this client is of cluster {client}")]
    OtherCluster {
        /// Where it was sent.
        attempt: ClusterKey,
        /// Whom the client talks to.
        client: ClusterKey,
    },
    /// This client does not know what became of an attempt; the log tells.
    #[error("this client does not know what became of the attempt")]
    Forgotten,
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
}
