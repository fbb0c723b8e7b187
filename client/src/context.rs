//! What an application submits: a context that computes a transaction, as often as it takes.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use waltz_core::client::{Conflict, Draft, InDoubt, Patience};
use waltz_core::id::{Mark, PartitionId};
use waltz_core::lock::LockId;

use crate::error::{CallbackError, SubmitError};
use crate::serializer::Serializer;

/// One thing to be done to the application's state.
///
/// The client executes it, appends what it built, and executes it again whenever the append met
/// a conflict or was lost, until it is committed. Of `on_completion(true)`, `on_completion(false)`,
/// `on_exception` and `on_in_doubt` exactly one is called, once. A panic in `execute` fails the
/// context; one in a callback is logged and changes nothing.
pub trait TransactionContext: Send + 'static {
    /// Where the transaction belongs, of so many partitions.
    fn partition(&self, partitions: u32) -> PartitionId;

    /// Computes the transaction from the application's state. `false`: there is nothing to
    /// append, and the context ends as ignored.
    ///
    /// # Errors
    /// The context ends as failed.
    fn execute(
        &mut self,
        builder: &mut TransactionBuilder,
    ) -> impl Future<Output = Result<bool, CallbackError>> + Send;

    /// The transaction is in the log and not yet applied (`true`), or was ignored (`false`).
    fn on_completion(&mut self, committed: bool) {
        let _ = committed;
    }

    /// The transaction was applied.
    fn on_application(&mut self) {}

    /// The context failed, or was withdrawn before its transaction was sent: nothing of it is in
    /// the log, or ever will be.
    fn on_exception(&mut self, error: &SubmitError) {
        let _ = error;
    }

    /// A lock stood against the transaction; it will be executed again once the client has
    /// applied what changed the lock.
    fn on_lock_failure(&mut self, conflict: &Conflict) {
        let _ = conflict;
    }

    /// The application gave up while it was not known whether the transaction is in the log.
    fn on_in_doubt(&mut self, in_doubt: &InDoubt) {
        let _ = in_doubt;
    }
}

/// How long and how often a context may try. By default, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SubmitOptions {
    pub(crate) patience: Patience,
}

impl SubmitOptions {
    /// Gives up after this long.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.patience.timeout = Some(timeout);
        self
    }

    /// Executes a context at most so many times again.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.patience.retries = Some(retries);
        self
    }
}

/// Takes what a context computes.
#[derive(Debug)]
pub struct TransactionBuilder {
    high_water_mark: Mark,
    draft: Draft,
}

impl TransactionBuilder {
    pub(crate) fn new(high_water_mark: Mark) -> Self {
        Self { high_water_mark, draft: Draft::default() }
    }

    pub(crate) fn into_draft(self) -> Draft {
        self.draft
    }

    /// What the client had applied before the context was executed; the transaction's locks are
    /// checked against it.
    pub fn high_water_mark(&self) -> Mark {
        self.high_water_mark
    }

    /// Sets the application's 32 bits.
    pub fn header(&mut self, header: u32) -> &mut Self {
        self.draft.header = header;
        self
    }

    /// Conflicts with every change of this lock since the high-water mark, and changes it.
    pub fn write_lock(&mut self, lock: impl Into<LockId>) -> &mut Self {
        self.draft.writes.push(lock.into());
        self
    }

    /// Conflicts with every change of this lock since the high-water mark.
    pub fn read_lock(&mut self, lock: impl Into<LockId>) -> &mut Self {
        self.draft.reads.push(lock.into());
        self
    }

    /// Changes this lock without conflicting with other changes.
    pub fn append_lock(&mut self, lock: impl Into<LockId>) -> &mut Self {
        self.draft.appends.push(lock.into());
        self
    }

    /// Sets the data to a serialized value.
    ///
    /// # Errors
    /// What the serializer fails with.
    pub fn data<T, S: Serializer<T>>(
        &mut self,
        serializer: &S,
        value: &T,
    ) -> Result<&mut Self, CallbackError> {
        self.draft.data = serializer.serialize(value)?;
        Ok(self)
    }

    /// Sets the data to bytes.
    pub fn data_bytes(&mut self, data: impl Into<Bytes>) -> &mut Self {
        self.draft.data = data.into();
        self
    }
}

/// One record to append, once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AppendRequest {
    pub(crate) draft: Draft,
    pub(crate) at: Option<Mark>,
    pub(crate) patience: Patience,
}

impl AppendRequest {
    /// A record with this data.
    pub fn new(data: impl Into<Bytes>) -> Self {
        let draft = Draft { data: data.into(), ..Draft::default() };
        Self { draft, ..Self::default() }
    }

    /// Sets the application's 32 bits.
    #[must_use]
    pub fn header(mut self, header: u32) -> Self {
        self.draft.header = header;
        self
    }

    /// Checks and changes a lock.
    #[must_use]
    pub fn write_lock(mut self, lock: impl Into<LockId>) -> Self {
        self.draft.writes.push(lock.into());
        self
    }

    /// Checks a lock.
    #[must_use]
    pub fn read_lock(mut self, lock: impl Into<LockId>) -> Self {
        self.draft.reads.push(lock.into());
        self
    }

    /// Changes a lock.
    #[must_use]
    pub fn append_lock(mut self, lock: impl Into<LockId>) -> Self {
        self.draft.appends.push(lock.into());
        self
    }

    /// The mark the record was computed at. Without it, what the client has applied when the
    /// append is called.
    #[must_use]
    pub fn at(mut self, mark: Mark) -> Self {
        self.at = Some(mark);
        self
    }

    /// Gives up after this long.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.patience.timeout = Some(timeout);
        self
    }
}
