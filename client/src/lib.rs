//! The client of Waltz: services append transactions to the log, and rebuild their databases
//! from it.
//!
//! A [`Client`] mounts partitions and gives every committed transaction to the application's
//! [`ClientCallbacks`], in order. A [`TransactionContext`] computes a transaction from what was
//! applied; [`Client::submit`] executes it again until it is committed against a state that did
//! not change underneath it. [`Client::append`] is the single try below that.
//!
//! The protocol itself is `waltz_core::client`; this crate runs it, and the application's code,
//! on a runtime.

mod batch;
#[cfg(feature = "blocking")]
pub mod blocking;
mod call;
mod callbacks;
mod client;
mod context;
mod driver;
mod error;
mod feed;
mod lock;
mod partitioning;
mod serializer;
mod submission;
mod telemetry;
mod transaction;

#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;

pub use batch::{Batch, BatchError, BatchRecord, Batches};
pub use callbacks::{ClientCallbacks, NoDatabase};
pub use client::Client;
pub use context::{AppendRequest, SubmitOptions, TransactionBuilder, TransactionContext};
pub use error::{
    AppendError, CallbackError, ClientError, ConnectError, DataError, FeedError, FetchError,
    OperateError, Outcome, RefusedAppend, SubmitError,
};
pub use feed::{Feed, FeedOptions};
pub use lock::PartitionLocalLock;
pub use partitioning::{Layout, LayoutError, Layouts, partition_of};
#[cfg(any(feature = "json", feature = "postcard"))]
pub use serializer::FormatError;
#[cfg(feature = "json")]
pub use serializer::Json;
#[cfg(feature = "postcard")]
pub use serializer::Postcard;
pub use serializer::{RawBytes, Serializer, Utf8};
pub use submission::{Append, Submission};
pub use transaction::Transaction;

pub use waltz_core::access::AccessRefusal;
pub use waltz_core::client::{
    ClientConfig, Conflict, InDoubt, Partitions, Resolution, Start, Token,
};
pub use waltz_core::id::{ClientId, ClusterKey, Mark, NodeId, PartitionId, ReqId, TransactionId};
pub use waltz_core::io::Address;
pub use waltz_core::lock::{LockId, LockKind};
pub use waltz_core::tls::{CertificateFiles, TlsFiles};
pub use waltz_core::wire::{
    AppendRefusal, ClusterView, FeedMode, KnownPartition, NodeInspection, NodeRegistration,
    NodeStatus, NodeView, OperatorRefusal, OperatorRequest, PartitionStatus, PartitionView,
    Refusal, ReplicaInspection, ReplicaStatus,
};
