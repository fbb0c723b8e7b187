//! The handle that applications hold.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot};
use waltz_core::client::{
    Answer, ClientConfig, ClientMachine, InDoubt, Partitions, Resolution, Start, Unanswered,
};
use waltz_core::id::{ClientId, Mark, NodeId, PartitionId, TransactionId};
use waltz_core::wire::{ClusterView, NodeInspection, NodeStatus, OperatorRequest};
use waltz_runtime::Runtime;

use crate::call::{self, Appended, Call, Permit, Question, Shared, Submitted, ask};
use crate::callbacks::ClientCallbacks;
use crate::context::{AppendRequest, SubmitOptions, TransactionContext};
use crate::driver;
use crate::error::{
    AppendError, ClientError, ConnectError, FeedError, FetchError, OperateError, Outcome,
    RefusedAppend, SubmitError,
};
use crate::feed::{Feed, FeedOptions};
use crate::submission::{Append, Submission};
use crate::telemetry::{Count, Telemetry, append_span, submission_span};
use crate::transaction::Transaction;

/// A client of a Waltz cluster. Clones share it; it closes with the last of them.
///
/// ```no_run
/// use waltz_client::{
///     CallbackError, Client, ClientConfig, NoDatabase, Outcome, PartitionId, PartitionLocalLock,
///     TransactionBuilder, TransactionContext,
/// };
///
/// struct Rename {
///     user: u64,
///     name: &'static str,
/// }
///
/// impl TransactionContext for Rename {
///     fn partition(&self, partitions: u32) -> PartitionId {
///         PartitionId((self.user % u64::from(partitions)) as u32)
///     }
///
///     async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
///         builder.write_lock(PartitionLocalLock::new("user", self.user)).data_bytes(self.name);
///         Ok(true)
///     }
/// }
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::connect(ClientConfig::new(["127.0.0.1:7400"]), NoDatabase::newest()).await?;
/// match client.submit(Rename { user: 7, name: "Ada" }).await {
///     Outcome::Committed(id) => println!("committed as {id}"),
///     other => println!("not committed: {other:?}"),
/// }
/// client.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    id: ClientId,
    calls: mpsc::UnboundedSender<Call>,
    shared: Arc<Shared>,
}

impl Client {
    /// Connects on the tokio runtime this is called in, and begins to mount.
    ///
    /// # Errors
    /// When no cluster is found in time, or it refuses this client.
    #[cfg(feature = "tokio")]
    pub async fn connect(
        config: ClientConfig,
        callbacks: impl ClientCallbacks,
    ) -> Result<Self, ConnectError> {
        let runtime = waltz_runtime_tokio::TokioRuntime::current();
        Self::connect_on(runtime, config, callbacks).await
    }

    /// Connects on a runtime of the caller's choice, and begins to mount.
    ///
    /// # Errors
    /// When no cluster is found in time, or it refuses this client.
    pub async fn connect_on<R: Runtime>(
        runtime: R,
        config: ClientConfig,
        callbacks: impl ClientCallbacks,
    ) -> Result<Self, ConnectError> {
        if config.bootstrap.is_empty() {
            return Err(ConnectError::NoAddress);
        }
        let runtime = match &config.tls {
            Some(files) => runtime.secured(files).map_err(ConnectError::Tls)?,
            None => runtime,
        };
        let addresses = config.bootstrap.clone();
        // A client that mounts nothing may look at a cluster that is still being formed.
        let formed = config.partitions != Partitions::none();
        let (calls, receiver) = mpsc::unbounded_channel();
        let telemetry = Telemetry::register();
        let shared = Shared::new(config.max_pending, config.max_pending_bytes, telemetry);
        let id = ClientId(runtime.random());
        let client = Self { id, calls, shared };
        let handles = driver::Handles {
            calls: receiver,
            weak: client.calls.downgrade(),
            shared: client.shared.clone(),
        };
        let machine = ClientMachine::new(id, config.clone(), runtime.random());
        driver::start(runtime, machine, config, Arc::new(callbacks), handles);
        match ask(&client.calls, Question::Describe { formed }).await {
            Ok(_) => Ok(client),
            Err(Unanswered::Hello(refusal)) => Err(ConnectError::Refused(refusal)),
            Err(Unanswered::TimedOut(reason)) => {
                Err(ConnectError::Unreachable { addresses, reason })
            }
            Err(other) => Err(ConnectError::Unreachable { addresses, reason: other.to_string() }),
        }
    }

    /// This client's name in ReqIds; another one in each life.
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// Executes a context until its transaction is committed, it declines, or it fails. Dropping
    /// the submission withdraws the context; [`Submission::detach`] lets it run on.
    pub fn submit<C: TransactionContext>(&self, context: C) -> Submission {
        self.submit_with(context, SubmitOptions::default())
    }

    /// As [`Self::submit`], with a deadline or a bound on executions.
    pub fn submit_with<C: TransactionContext>(
        &self,
        context: C,
        options: SubmitOptions,
    ) -> Submission {
        self.submit_within(self.shared.permit(0), context, options)
    }

    /// As [`Self::submit_with`], once fewer than [`ClientConfig::max_pending`] calls are pending,
    /// where the others fail at once. Who waits is served in turn.
    ///
    /// ```
    /// # use waltz_client::{Client, SubmitOptions, TransactionContext};
    /// # async fn example<C: TransactionContext>(client: Client, contexts: Vec<C>) {
    /// for context in contexts {
    ///     client.submit_when_ready(context, SubmitOptions::default()).await.detach();
    /// }
    /// # }
    /// ```
    pub async fn submit_when_ready<C: TransactionContext>(
        &self,
        context: C,
        options: SubmitOptions,
    ) -> Submission {
        self.submit_within(self.shared.room(0).await, context, options)
    }

    fn submit_within<C: TransactionContext>(
        &self,
        permit: Result<Permit, usize>,
        mut context: C,
        options: SubmitOptions,
    ) -> Submission {
        let permit = match permit {
            Ok(permit) => permit,
            Err(pending) => {
                self.shared.telemetry.turned_away(Count::Submissions);
                let error = SubmitError::TooManyPending(pending);
                context.on_exception(&error);
                return Submission::ended(Outcome::Failed(error));
            }
        };
        let partition = context.partition(self.shared.partitions.load(Ordering::Acquire));
        let (done, end) = oneshot::channel();
        let (call, patience) = (self.shared.next_call(), options.patience);
        let span = submission_span(partition, call);
        let submission = Submitted { context: Box::new(context), done, permit, span };
        if let Err(mpsc::error::SendError(Call::Submit { mut submission, .. })) =
            self.calls.send(Call::Submit { call, partition, patience, submission })
        {
            submission.context.on_exception(&SubmitError::Closed);
            return Submission::ended(Outcome::Failed(SubmitError::Closed));
        }
        Submission::waiting(end, call, self.calls.downgrade())
    }

    /// Appends one record, once; appends of one partition are sent in the order of the calls, so
    /// many can be called before the first is awaited. Dropping the append withdraws it;
    /// [`Append::detach`] lets it go on.
    pub fn append(&self, partition: PartitionId, request: AppendRequest) -> Append {
        self.append_within(self.shared.permit(request.draft.data.len()), partition, request)
    }

    /// As [`Self::append`], once there is room within [`ClientConfig::max_pending`] and
    /// [`ClientConfig::max_pending_bytes`], where the other fails at once. The record's mark is what
    /// the client has applied when this is called, unless the record names one.
    pub async fn append_when_ready(
        &self,
        partition: PartitionId,
        mut request: AppendRequest,
    ) -> Append {
        // What the caller has seen counts, not what is applied while it waits.
        request.at = request.at.or_else(|| self.high_water_mark(partition));
        let permit = self.shared.room(request.draft.data.len()).await;
        self.append_within(permit, partition, request)
    }

    fn append_within(
        &self,
        permit: Result<Permit, usize>,
        partition: PartitionId,
        request: AppendRequest,
    ) -> Append {
        let permit = match permit {
            Ok(permit) => permit,
            Err(pending) => {
                self.shared.telemetry.turned_away(Count::Appends);
                let refused = RefusedAppend::TooManyPending(pending);
                return Append::ended(AppendError::Refused(refused));
            }
        };
        let (done, end) = oneshot::channel();
        // The mark is taken now: a later one could hide a change the caller has not seen.
        let at = request.at.or_else(|| self.high_water_mark(partition));
        let AppendRequest { draft, patience, .. } = request;
        let call = self.shared.next_call();
        let append = Appended { done, permit, span: append_span(partition, call) };
        match self.calls.send(Call::Append { call, partition, draft, at, patience, append }) {
            Ok(()) => Append::waiting(end, call, self.calls.downgrade()),
            Err(_) => Append::ended(AppendError::Closed),
        }
    }

    /// What became of an attempt that ended in doubt: one of this client, of another, or of one of an
    /// earlier process, with what was kept of its [`InDoubt`]. It waits until that is decided; the
    /// answer is certain.
    ///
    /// Asking for another client ends its mount of the partition. If it still runs, it mounts again,
    /// and what it had outstanding is lost, or committed, as after any lost connection.
    ///
    /// # Errors
    /// When nobody can tell in time, so that it has to be asked again; or ever, where the log was
    /// trimmed since. [`ClientError::OtherCluster`] when the attempt was sent to another cluster.
    ///
    /// ```
    /// # use waltz_client::{AppendError, AppendRequest, Client, ClientError, PartitionId, Resolution};
    /// # async fn example(client: Client, other: Client) -> Result<(), ClientError> {
    /// let append = client.append(PartitionId(0), AppendRequest::new("data"));
    /// client.close().await;
    /// if let Err(AppendError::InDoubt(in_doubt)) = append.await {
    ///     match other.outcome_of(&in_doubt).await? {
    ///         Resolution::Committed(id) => println!("committed as {id}"),
    ///         Resolution::NotCommitted => println!("to be appended again"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn outcome_of(&self, in_doubt: &InDoubt) -> Result<Resolution, ClientError> {
        let answer = match ask(&self.calls, Question::Resolve(*in_doubt)).await {
            Err(Unanswered::Forgotten) => ask(&self.calls, Question::Seek(*in_doubt)).await,
            known => known,
        };
        match answer? {
            Answer::Resolved(resolution) => Ok(resolution),
            other => unreachable!("what became of an attempt is not {other:?}"),
        }
    }

    /// Reads a partition's log as a stream: everything after a mark, or from the newest transaction
    /// on ([`Start::Newest`]). The feed has a connection of its own: one that is read slowly holds
    /// nobody back.
    pub fn feed(&self, partition: PartitionId, after: impl Into<Start>) -> Feed {
        self.feed_with(partition, after, FeedOptions::new())
    }

    /// As [`Self::feed`]; filtered by header before any data is loaded, without data, or up to what
    /// is committed now.
    pub fn feed_with(
        &self,
        partition: PartitionId,
        after: impl Into<Start>,
        options: FeedOptions,
    ) -> Feed {
        let (feed, begun) = Feed::new(partition, after.into(), options);
        if self.calls.send(Call::Feed(begun)).is_err() {
            feed.end(FeedError::Closed);
        }
        feed
    }

    /// Waits until everything called before is decided, and everything committed by then is
    /// applied, in all mounted partitions.
    ///
    /// # Errors
    /// When a partition can't be reached in time.
    pub async fn flush(&self) -> Result<(), ClientError> {
        ask(&self.calls, Question::Flush).await?;
        Ok(())
    }

    /// What the application has applied of a partition; `None` while that is not known.
    pub fn high_water_mark(&self, partition: PartitionId) -> Option<Mark> {
        self.shared.marks.of(partition)
    }

    /// Loads one committed transaction with its data.
    ///
    /// # Errors
    /// When it is not committed, or can't be had in time.
    pub async fn fetch(
        &self,
        partition: PartitionId,
        id: TransactionId,
    ) -> Result<Transaction, FetchError> {
        Transaction::of_record(call::fetch(&self.calls, partition, id).await?)
    }

    /// The cluster as this client knows it.
    ///
    /// # Errors
    /// When no node answers in time.
    pub async fn cluster(&self) -> Result<ClusterView, ClientError> {
        match ask(&self.calls, Question::Describe { formed: false }).await? {
            Answer::Cluster(view) => Ok(view),
            other => unreachable!("a description is a cluster, not {other:?}"),
        }
    }

    /// How a node is; without a name, whichever answers.
    ///
    /// # Errors
    /// When there is no such node, or it does not answer in time.
    pub async fn status(&self, node: Option<NodeId>) -> Result<NodeStatus, ClientError> {
        match ask(&self.calls, Question::Status { node }).await? {
            Answer::Status(status) => Ok(status),
            other => unreachable!("a status is one, not {other:?}"),
        }
    }

    /// What a node knows of the cluster's record, and the replicas that it keeps; without a name,
    /// whichever answers. For operators' tools: it is as large as the cluster.
    ///
    /// # Errors
    /// When there is no such node, it does not answer in time, or it is of a release that can't
    /// tell.
    pub async fn inspect(&self, node: Option<NodeId>) -> Result<NodeInspection, ClientError> {
        match ask(&self.calls, Question::Inspect { node }).await? {
            Answer::Inspection(inspection) => Ok(*inspection),
            other => unreachable!("an inspection is one, not {other:?}"),
        }
    }

    /// Asks for something as an operator does: other replicas, trimming, a recovery, a node to be
    /// drained, more partitions. The answer says that it is recorded; [`Self::status`] and
    /// [`Self::inspect`] show how far it is.
    ///
    /// # Errors
    /// When the cluster refuses, or does not answer in time, or the node that is asked is of a
    /// release that can't do it.
    pub async fn operate(&self, request: OperatorRequest) -> Result<(), OperateError> {
        ask(&self.calls, Question::Operate(request)).await?;
        Ok(())
    }

    /// Tells the cluster that a consumer has applied a partition's log up to `mark`; a new one is
    /// registered. What a registered consumer has not applied is not trimmed by age or size. The
    /// mark is kept by the coordinator: advance it now and then, not with every transaction.
    ///
    /// # Errors
    /// When the cluster refuses, or does not answer in time.
    pub async fn advance_consumer(
        &self,
        partition: PartitionId,
        consumer: impl Into<String>,
        mark: Mark,
    ) -> Result<(), OperateError> {
        let consumer = consumer.into();
        self.operate(OperatorRequest::AdvanceConsumer { partition, consumer, mark }).await
    }

    /// Removes a registered consumer: nothing is kept for it any more.
    ///
    /// # Errors
    /// When there is no such consumer, or the cluster does not answer in time.
    pub async fn remove_consumer(
        &self,
        partition: PartitionId,
        consumer: impl Into<String>,
    ) -> Result<(), OperateError> {
        let consumer = consumer.into();
        self.operate(OperatorRequest::RemoveConsumer { partition, consumer }).await
    }

    /// Mounts these partitions from now on. What is under way in others ends: in doubt where it
    /// was sent, failed where not.
    ///
    /// # Errors
    /// When the client was closed.
    pub async fn set_partitions(&self, partitions: Partitions) -> Result<(), ClientError> {
        ask(&self.calls, Question::Choose(partitions)).await?;
        Ok(())
    }

    /// Closes the client, for all of its clones. Every pending call ends: in doubt where it was
    /// sent and not decided, failed where it was not sent. [`Self::flush`] first to have all
    /// decided.
    pub fn close(self) -> impl Future<Output = ()> + Send + 'static {
        let (done, closed) = oneshot::channel();
        let sent = self.calls.send(Call::Close { done });
        async move {
            if sent.is_ok() {
                // A driver that is gone has closed already.
                let _ = closed.await;
            }
        }
    }
}
