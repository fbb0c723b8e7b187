//! The client for programs of threads: the same names, and calls that wait.
//!
//! A [`Client`] here owns one thread, on which a tokio runtime runs the [client](crate::Client) and
//! the application's callbacks. It must not be used from async code: waiting there would stop the
//! runtime that it waits for, so tokio panics.
//!
//! ```no_run
//! use waltz_client::blocking::Client;
//! use waltz_client::{AppendRequest, ClientConfig, Mark, NoDatabase, PartitionId};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(ClientConfig::new(["127.0.0.1:7400"]), NoDatabase::newest())?;
//! let id = client.append(PartitionId(0), AppendRequest::new("data")).wait()?;
//! for transaction in client.feed(PartitionId(0), Mark::NONE) {
//!     if transaction?.id() == id {
//!         break;
//!     }
//! }
//! client.close();
//! # Ok(())
//! # }
//! ```

use std::future::Future;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use waltz_core::client::{ClientConfig, InDoubt, Partitions, Resolution, Start};
use waltz_core::id::{ClientId, Mark, PartitionId, TransactionId};
use waltz_core::wire::ClusterView;

use crate::callbacks::ClientCallbacks;
use crate::context::{AppendRequest, SubmitOptions, TransactionContext};
use crate::error::{self, ClientError, FeedError, FetchError};
use crate::feed::FeedOptions;
use crate::submission;
use crate::transaction::Transaction;

/// A client of a Waltz cluster. Clones share it; it closes, and its thread ends, with the last of
/// them and of what they gave out.
#[derive(Debug, Clone)]
pub struct Client {
    client: crate::Client,
    runtime: Arc<Runtime>,
}

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Its thread could not be started.
    #[error("no thread could be started for the client: {0}")]
    Thread(#[from] io::Error),
    /// No cluster was reached.
    #[error(transparent)]
    Connect(#[from] error::ConnectError),
}

/// A call that is under way. Dropping it withdraws the call.
#[derive(Debug)]
#[must_use = "dropping it withdraws the call; wait for it, or detach it"]
pub struct Pending<F> {
    handle: F,
    runtime: Arc<Runtime>,
}

/// A submitted context.
pub type Submission = Pending<submission::Submission>;
/// An append.
pub type Append = Pending<submission::Append>;

impl<F: Future> Pending<F> {
    /// How it ends.
    pub fn wait(self) -> F::Output {
        self.runtime.block_on(self.handle)
    }
}

impl Submission {
    /// Lets the context run on. Its callbacks tell how it ends.
    pub fn detach(self) {
        self.handle.detach();
    }
}

impl Append {
    /// Lets the append go on. The feed tells whether it is committed.
    pub fn detach(self) {
        self.handle.detach();
    }
}

impl Client {
    /// Connects, and begins to mount.
    ///
    /// # Errors
    /// When there is no thread for it, no cluster is found in time, or it refuses this client.
    pub fn connect(
        config: ClientConfig,
        callbacks: impl ClientCallbacks,
    ) -> Result<Self, ConnectError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("waltz-client")
            .enable_all()
            .build()?;
        let client = runtime.block_on(crate::Client::connect(config, callbacks))?;
        Ok(Self::on(runtime, client))
    }

    /// Over a client that was connected on this runtime, and the runtime with it.
    pub fn on(runtime: Runtime, client: crate::Client) -> Self {
        Self { client, runtime: Arc::new(runtime) }
    }

    /// This client's name in ReqIds; another one in each life.
    pub fn id(&self) -> ClientId {
        self.client.id()
    }

    /// As [`crate::Client::submit`].
    pub fn submit<C: TransactionContext>(&self, context: C) -> Submission {
        self.pending(self.client.submit(context))
    }

    /// As [`crate::Client::submit_with`].
    pub fn submit_with<C: TransactionContext>(
        &self,
        context: C,
        options: SubmitOptions,
    ) -> Submission {
        self.pending(self.client.submit_with(context, options))
    }

    /// As [`crate::Client::submit_when_ready`]: waits for room, not for the end.
    pub fn submit_when_ready<C: TransactionContext>(
        &self,
        context: C,
        options: SubmitOptions,
    ) -> Submission {
        self.pending(self.wait(self.client.submit_when_ready(context, options)))
    }

    /// As [`crate::Client::append`].
    pub fn append(&self, partition: PartitionId, request: AppendRequest) -> Append {
        self.pending(self.client.append(partition, request))
    }

    /// As [`crate::Client::append_when_ready`]: waits for room, not for the end.
    pub fn append_when_ready(&self, partition: PartitionId, request: AppendRequest) -> Append {
        self.pending(self.wait(self.client.append_when_ready(partition, request)))
    }

    /// As [`crate::Client::feed`].
    pub fn feed(&self, partition: PartitionId, after: impl Into<Start>) -> Feed {
        self.feed_with(partition, after, FeedOptions::new())
    }

    /// As [`crate::Client::feed_with`].
    pub fn feed_with(
        &self,
        partition: PartitionId,
        after: impl Into<Start>,
        options: FeedOptions,
    ) -> Feed {
        let feed = self.client.feed_with(partition, after, options);
        Feed { feed, runtime: self.runtime.clone() }
    }

    /// As [`crate::Client::outcome_of`].
    ///
    /// # Errors
    /// When nobody can tell, in time or ever.
    pub fn outcome_of(&self, in_doubt: &InDoubt) -> Result<Resolution, ClientError> {
        self.wait(self.client.outcome_of(in_doubt))
    }

    /// As [`crate::Client::flush`].
    ///
    /// # Errors
    /// When a partition can't be reached in time.
    pub fn flush(&self) -> Result<(), ClientError> {
        self.wait(self.client.flush())
    }

    /// What the application has applied of a partition; `None` while that is not known.
    pub fn high_water_mark(&self, partition: PartitionId) -> Option<Mark> {
        self.client.high_water_mark(partition)
    }

    /// Loads one committed transaction with its data.
    ///
    /// # Errors
    /// When it is not committed, or can't be had in time.
    pub fn fetch(
        &self,
        partition: PartitionId,
        id: TransactionId,
    ) -> Result<Transaction, FetchError> {
        self.wait(self.client.fetch(partition, id))
    }

    /// The data of a transaction, loaded now unless it rode along.
    ///
    /// # Errors
    /// When it can't be fetched.
    pub fn bytes(&self, transaction: &Transaction) -> Result<Bytes, FetchError> {
        self.wait(transaction.bytes())
    }

    /// The cluster as this client knows it.
    ///
    /// # Errors
    /// When no node answers in time.
    pub fn cluster(&self) -> Result<ClusterView, ClientError> {
        self.wait(self.client.cluster())
    }

    /// As [`crate::Client::set_partitions`].
    ///
    /// # Errors
    /// When the client was closed.
    pub fn set_partitions(&self, partitions: Partitions) -> Result<(), ClientError> {
        self.wait(self.client.set_partitions(partitions))
    }

    /// As [`crate::Client::close`].
    pub fn close(self) {
        let Self { client, runtime } = self;
        runtime.block_on(client.close());
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn pending<F>(&self, handle: F) -> Pending<F> {
        Pending { handle, runtime: self.runtime.clone() }
    }
}

/// A partition's committed transactions, one after the other; see [`crate::Feed`].
#[derive(Debug)]
pub struct Feed {
    feed: crate::Feed,
    runtime: Arc<Runtime>,
}

impl Feed {
    /// As [`crate::Feed::mark`].
    pub fn mark(&self) -> Option<Mark> {
        self.feed.mark()
    }
}

impl Iterator for Feed {
    type Item = Result<Transaction, FeedError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.block_on(self.feed.next())
    }
}
