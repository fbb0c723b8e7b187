//! How submissions, appends and questions end, in the words of an application.

use thiserror::Error;
use waltz_core::access::AccessRefusal;
use waltz_core::client::{Conflict, Failure, InDoubt, Unanswered};
use waltz_core::id::{ClusterKey, Mark, NodeId, PartitionId, TransactionId};
use waltz_core::io::Address;
use waltz_core::lock::LockId;
use waltz_core::record::RecordError;
use waltz_core::wire::{AppendRefusal, FetchRefusal, OperatorRefusal, Refusal, TooLong, Version};

/// What application code fails with.
pub type CallbackError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// How a submitted context ended; each does so exactly once.
#[derive(Debug)]
pub enum Outcome {
    /// Its transaction is in the log, exactly once.
    Committed(TransactionId),
    /// It declined to append anything.
    Ignored,
    /// It is not in the log and never will be.
    Failed(SubmitError),
    /// The application gave up (by a deadline, or by closing the client) while the answer could
    /// not be had. The feed will tell.
    InDoubt(InDoubt),
    /// The runtime was shut down with the client on it: what became of the context is not known.
    Abandoned,
}

/// Why a submitted context is not in the log and never will be.
#[derive(Debug, Error)]
pub enum SubmitError {
    /// Its `execute` failed.
    #[error("executing the transaction failed: {0}")]
    Context(#[source] CallbackError),
    /// It met conflicts more often than it was allowed to be executed again.
    #[error("gave up after the allowed number of executions: {0}")]
    Conflict(Conflict),
    /// It got lost more often than it was allowed to be executed again.
    #[error("gave up after the allowed number of executions: the append got lost")]
    Lost,
    /// The server refused the record.
    #[error("the server refused the record: {0}")]
    Refused(AppendRefusal),
    /// The record is over a limit.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// This client does not mount the partition.
    #[error("partition {0} is not mounted by this client; choose it with set_partitions")]
    NotMounted(PartitionId),
    /// The partition was not mounted within the configured time.
    #[error("partition {partition} could not be mounted in time: {reason}")]
    MountTimeout {
        /// The partition.
        partition: PartitionId,
        /// What stood in the way last.
        reason: String,
    },
    /// Its deadline passed.
    #[error("the deadline of the submission passed")]
    Deadline,
    /// Its submission was dropped before its transaction was sent.
    #[error("the submission was dropped")]
    Cancelled,
    /// The application's database is ahead of the log.
    #[error(
        "partition {partition}: this client has applied up to {client} and the log ends at {log}; its database is from another cluster or another time"
    )]
    AheadOfLog {
        /// The partition.
        partition: PartitionId,
        /// What the client has applied.
        client: Mark,
        /// Where the log ends.
        log: Mark,
    },
    /// What the application has not applied was trimmed.
    #[error(
        "partition {partition}: this client has applied up to {client} and the log starts after {start}; what is between was trimmed"
    )]
    Trimmed {
        /// The partition.
        partition: PartitionId,
        /// What the client has applied.
        client: Mark,
        /// Where the log starts.
        start: Mark,
    },
    /// Too many calls of this client have not ended.
    #[error("too many calls are pending ({0}); await some of them first")]
    TooManyPending(usize),
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
}

impl SubmitError {
    pub(crate) fn new(partition: PartitionId, failure: Failure) -> Self {
        match failure {
            Failure::Conflict(conflict) => Self::Conflict(conflict),
            Failure::Refused(refusal) => Self::Refused(refusal),
            Failure::Record(error) => Self::Record(error),
            Failure::Lost => Self::Lost,
            Failure::NotMounted => Self::NotMounted(partition),
            Failure::MountTimeout(reason) => Self::MountTimeout { partition, reason },
            Failure::Deadline => Self::Deadline,
            Failure::Cancelled => Self::Cancelled,
            Failure::AheadOfLog { client, log } => Self::AheadOfLog { partition, client, log },
            Failure::Trimmed { client, start } => Self::Trimmed { partition, client, start },
            Failure::Context => Self::Context("the context failed".into()),
            Failure::Closed => Self::Closed,
        }
    }
}

/// How an append ended, if not in the log. All but `InDoubt` and `Abandoned` are certain: it is
/// not in the log and never will be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// A lock was changed after the mark the append was computed at.
    #[error(
        "lock {lock} {} transaction {id}; apply that one and compute again",
        if *.exact { "was changed by" } else { "may have been changed up to" }
    )]
    Conflict {
        /// Apply this id before trying again.
        id: TransactionId,
        /// The lock.
        lock: LockId,
        /// Whether `id` changed the lock for certain.
        exact: bool,
    },
    /// The record is over a limit or computed at a mark beyond the log, or the server had no room
    /// for it.
    #[error("refused: {0}")]
    Refused(RefusedAppend),
    /// It got lost when the server changed; append it again.
    #[error("the append to partition {0} got lost when its server changed; append it again")]
    Failed(PartitionId),
    /// This client does not mount the partition.
    #[error("partition {0} is not mounted by this client; choose it with set_partitions")]
    NotMounted(PartitionId),
    /// It could not be sent in time.
    #[error("partition {partition} was not ready for the append in time: {reason}")]
    TimedOut {
        /// The partition.
        partition: PartitionId,
        /// What stood in the way last.
        reason: String,
    },
    /// The application's database is ahead of the log.
    #[error(
        "partition {partition}: this client has applied up to {client} and the log ends at {log}; its database is from another cluster or another time"
    )]
    AheadOfLog {
        /// The partition.
        partition: PartitionId,
        /// What the client has applied.
        client: Mark,
        /// Where the log ends.
        log: Mark,
    },
    /// What the application has not applied was trimmed.
    #[error(
        "partition {partition}: this client has applied up to {client} and the log starts after {start}; what is between was trimmed"
    )]
    Trimmed {
        /// The partition.
        partition: PartitionId,
        /// What the client has applied.
        client: Mark,
        /// Where the log starts.
        start: Mark,
    },
    /// The client was closed before it was sent.
    #[error("the client was closed")]
    Closed,
    /// It was withdrawn before it was sent.
    #[error("the append was withdrawn")]
    Cancelled,
    /// The application gave up while the answer could not be had; the feed will tell.
    #[error("no answer was had in time: {0}")]
    InDoubt(InDoubt),
    /// The runtime was shut down with the client on it.
    #[error("the runtime was shut down: whether the append is in the log is not known")]
    Abandoned,
}

/// Who refused an append, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RefusedAppend {
    /// The server.
    #[error("{0}")]
    Server(AppendRefusal),
    /// This client: the record is over its limit.
    #[error("{0}")]
    Record(RecordError),
    /// This client: too many calls have not ended.
    #[error("too many calls are pending ({0}); await some of them first")]
    TooManyPending(usize),
}

impl AppendError {
    pub(crate) fn new(partition: PartitionId, failure: Failure) -> Self {
        match failure {
            Failure::Conflict(Conflict { id, lock, exact }) => Self::Conflict { id, lock, exact },
            Failure::Refused(refusal) => Self::Refused(RefusedAppend::Server(refusal)),
            Failure::Record(error) => Self::Refused(RefusedAppend::Record(error)),
            Failure::Lost | Failure::Context => Self::Failed(partition),
            Failure::NotMounted => Self::NotMounted(partition),
            Failure::MountTimeout(reason) => Self::TimedOut { partition, reason },
            Failure::Deadline => {
                Self::TimedOut { partition, reason: "its deadline passed".to_owned() }
            }
            Failure::AheadOfLog { client, log } => Self::AheadOfLog { partition, client, log },
            Failure::Trimmed { client, start } => Self::Trimmed { partition, client, start },
            Failure::Cancelled => Self::Cancelled,
            Failure::Closed => Self::Closed,
        }
    }
}

/// Why no cluster was reached.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConnectError {
    /// The configuration names no address.
    #[error("the configuration names no address to connect to")]
    NoAddress,
    /// What is to secure connections can't be used.
    #[error("TLS can't be used: {0}")]
    Tls(String),
    /// Nobody answered in time.
    #[error("no node answered at {}: {reason}", listed(addresses))]
    Unreachable {
        /// Where it was tried.
        addresses: Vec<Address>,
        /// What came of it last.
        reason: String,
    },
    /// A node answered and won't talk to this client.
    #[error("{0}")]
    Refused(Refusal),
}

fn listed(addresses: &[Address]) -> String {
    addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(", ")
}

/// Why a question to the cluster has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientError {
    /// Nobody answered in time.
    #[error("no answer in time: {0}")]
    TimedOut(String),
    /// There is no such node.
    #[error("the cluster has no node {0}")]
    UnknownNode(NodeId),
    /// There is no such partition.
    #[error("the cluster has no partition {0}")]
    UnknownPartition(PartitionId),
    /// What is asked about may have been trimmed.
    #[error("partition {partition}: what follows {client} was trimmed up to {start}")]
    Trimmed {
        /// The partition.
        partition: PartitionId,
        /// What is needed follows this.
        client: Mark,
        /// Where the log starts.
        start: Mark,
    },
    /// What is asked about follows a mark that the log has not reached.
    #[error(
        "partition {partition}: the log ends at {log}, before {client}; that mark is from another cluster or another time"
    )]
    AheadOfLog {
        /// The partition.
        partition: PartitionId,
        /// What is needed follows this.
        client: Mark,
        /// Where the log ends.
        log: Mark,
    },
    /// What is asked about was sent to another cluster.
    #[error(
        "the attempt was sent to cluster {attempt}, and this client is of cluster {client}; ask a client of the former"
    )]
    OtherCluster {
        /// Where it was sent.
        attempt: ClusterKey,
        /// Whom the client talks to.
        client: ClusterKey,
    },
    /// A node refused.
    #[error("{0}")]
    Refused(String),
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
}

impl From<Unanswered> for ClientError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::TimedOut(reason) => Self::TimedOut(reason),
            Unanswered::UnknownNode(node) => Self::UnknownNode(node),
            Unanswered::UnknownPartition(partition) => Self::UnknownPartition(partition),
            Unanswered::Broken(partition, Failure::Trimmed { client, start }) => {
                Self::Trimmed { partition, client, start }
            }
            Unanswered::Broken(partition, Failure::AheadOfLog { client, log }) => {
                Self::AheadOfLog { partition, client, log }
            }
            Unanswered::OtherCluster { attempt, client } => Self::OtherCluster { attempt, client },
            Unanswered::Closed => Self::Closed,
            other => Self::Refused(other.to_string()),
        }
    }
}

/// Why what an operator wants was not done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OperateError {
    /// The cluster refused.
    #[error(transparent)]
    Refused(OperatorRefusal),
    /// This client may not ask for it.
    #[error("access denied: {0}")]
    Denied(AccessRefusal),
    /// Nobody answered in time: perhaps it was done.
    #[error("no answer in time: {0}")]
    TimedOut(String),
    /// The node that was asked is of a release that can't do it.
    #[error(
        "the node speaks version {spoken} of the protocol and this takes version {needed}: upgrade it first"
    )]
    TooOld {
        /// What was agreed on with the node.
        spoken: Version,
        /// What it takes.
        needed: Version,
    },
    /// What is asked is longer than a node takes.
    #[error("{0}: upgrade the node if it is older than this client, or ask for less at once")]
    TooLong(TooLong),
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
}

impl From<Unanswered> for OperateError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NotGranted(refusal) => Self::Refused(refusal),
            Unanswered::Denied(refusal) => Self::Denied(refusal),
            Unanswered::UnknownPartition(partition) => {
                Self::Refused(OperatorRefusal::UnknownPartition { partition })
            }
            Unanswered::TooOld { spoken, needed } => Self::TooOld { spoken, needed },
            Unanswered::TooLong(error) => Self::TooLong(error),
            Unanswered::Closed => Self::Closed,
            other => Self::TimedOut(other.to_string()),
        }
    }
}

/// Why a feed ended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FeedError {
    /// The cluster has no such partition.
    #[error("the cluster has no partition {0}")]
    UnknownPartition(PartitionId),
    /// What follows was trimmed.
    #[error(
        "partition {partition}: the feed has come to {client} and the log starts after {start}; what is between was trimmed"
    )]
    Trimmed {
        /// The partition.
        partition: PartitionId,
        /// How far the feed, or the application, has come.
        client: Mark,
        /// Where the log starts.
        start: Mark,
    },
    /// The feed was to start after a mark that the log has not reached.
    #[error(
        "partition {partition}: the feed is to follow {client} and the log ends at {log}; the mark is from another cluster or another time"
    )]
    AheadOfLog {
        /// The partition.
        partition: PartitionId,
        /// What the feed, or the application, starts after.
        client: Mark,
        /// Where the log ends.
        log: Mark,
    },
    /// The cluster could not be reached in time to begin, or to tell where its log ends.
    #[error("no answer in time: {0}")]
    TimedOut(String),
    /// A server can't give a transaction's data.
    #[error("the feed can't go on: {0}")]
    Failed(String),
    /// The client was closed before the feed began.
    #[error("the client was closed")]
    Closed,
}

impl FeedError {
    pub(crate) fn new(partition: PartitionId, why: Unanswered) -> Self {
        match why {
            Unanswered::UnknownPartition(partition) => Self::UnknownPartition(partition),
            Unanswered::Broken(partition, Failure::Trimmed { client, start }) => {
                Self::Trimmed { partition, client, start }
            }
            Unanswered::Broken(partition, Failure::AheadOfLog { client, log }) => {
                Self::AheadOfLog { partition, client, log }
            }
            Unanswered::Refused(FetchRefusal::Trimmed { start }) => {
                Self::Trimmed { partition, client: Mark::NONE, start }
            }
            Unanswered::TimedOut(reason) => Self::TimedOut(reason),
            Unanswered::Closed => Self::Closed,
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Why a transaction could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FetchError {
    /// It is not committed.
    #[error("transaction {id} of partition {partition} is not committed")]
    NotCommitted {
        /// The partition.
        partition: PartitionId,
        /// The id.
        id: TransactionId,
    },
    /// It was trimmed.
    #[error("transaction {id} of partition {partition} was trimmed: the log starts after {start}")]
    Trimmed {
        /// The partition.
        partition: PartitionId,
        /// The id.
        id: TransactionId,
        /// Where the log starts.
        start: Mark,
    },
    /// The cluster has no such partition.
    #[error("the cluster has no partition {0}")]
    UnknownPartition(PartitionId),
    /// The server could not read it.
    #[error("the record could not be fetched: {0}")]
    Failed(String),
    /// Nobody answered in time.
    #[error("no answer in time: {0}")]
    TimedOut(String),
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
}

impl FetchError {
    pub(crate) fn new(partition: PartitionId, id: TransactionId, why: Unanswered) -> Self {
        match why {
            Unanswered::TimedOut(reason) => Self::TimedOut(reason),
            Unanswered::UnknownPartition(partition) => Self::UnknownPartition(partition),
            Unanswered::Refused(FetchRefusal::NotCommitted) => Self::NotCommitted { partition, id },
            Unanswered::Refused(FetchRefusal::Trimmed { start }) => {
                Self::Trimmed { partition, id, start }
            }
            Unanswered::Closed => Self::Closed,
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Why a transaction's data is not at hand.
#[derive(Debug, Error)]
pub enum DataError {
    /// It could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The bytes are not what the serializer reads.
    #[error("the data of transaction {id} can't be read: {error}")]
    Serializer {
        /// The transaction.
        id: TransactionId,
        /// What the serializer said.
        error: CallbackError,
    },
}
