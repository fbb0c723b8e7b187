//! What a client asks of its application.

use std::future::Future;

use waltz_core::client::Start;
use waltz_core::id::{Mark, PartitionId};

use crate::error::{CallbackError, FeedError};
use crate::transaction::Transaction;

/// The application's side: its database, driven by the log.
///
/// Calls for one partition come one at a time and in order; partitions run in parallel. The
/// futures run on the runtime's own threads: move work that blocks for long elsewhere.
pub trait ClientCallbacks: Send + Sync + 'static {
    /// What the application has applied of a partition; its feed starts after it.
    fn high_water_mark(
        &self,
        partition: PartitionId,
    ) -> impl Future<Output = Result<Mark, CallbackError>> + Send;

    /// Where the feed of a partition starts. By default after [`Self::high_water_mark`];
    /// applications without a database may want the newest instead.
    fn start(
        &self,
        partition: PartitionId,
    ) -> impl Future<Output = Result<Start, CallbackError>> + Send {
        async move { self.high_water_mark(partition).await.map(Start::After) }
    }

    /// Applies one committed transaction. When it fails, it is reported to
    /// [`Self::uncaught_exception`] and comes again.
    fn apply_transaction(
        &self,
        transaction: &Transaction,
    ) -> impl Future<Output = Result<(), CallbackError>> + Send;

    /// Applies all transactions of a partition that are ready, in order: how many were applied,
    /// and what stopped it before the end. By default one by one; a database wants them in one
    /// of its transactions.
    fn apply_batch(
        &self,
        batch: &[Transaction],
    ) -> impl Future<Output = (usize, Result<(), CallbackError>)> + Send {
        async move {
            for (applied, transaction) in batch.iter().enumerate() {
                if let Err(error) = self.apply_transaction(transaction).await {
                    return (applied, Err(error));
                }
            }
            (batch.len(), Ok(()))
        }
    }

    /// A partition can't be fed any more, nor appended to: its log was trimmed further than the
    /// application has applied, or ends before. By default nothing more than the line in the log.
    fn on_feed_end(&self, partition: PartitionId, error: &FeedError) {
        let _ = (partition, error);
    }

    /// A transaction failed to apply; it will come again. Logged by default.
    fn uncaught_exception(&self, transaction: &Transaction, error: &CallbackError) {
        tracing::error!(
            partition = %transaction.partition(),
            id = %transaction.id(),
            %error,
            "a transaction failed to apply and will be applied again"
        );
    }
}

/// The mark that a feed starts after, where no database tells.
pub(crate) fn mark_before(start: Start) -> Result<Mark, CallbackError> {
    match start {
        Start::After(mark) => Ok(mark),
        Start::Newest => Err("the feed starts at the newest transaction".into()),
    }
}

/// No database at all: for clients that only append.
#[derive(Debug, Clone, Copy)]
pub struct NoDatabase {
    start: Start,
}

impl NoDatabase {
    /// Feeds start at the newest transaction.
    pub fn newest() -> Self {
        Self { start: Start::Newest }
    }

    /// Feeds start after a mark.
    pub fn after(mark: Mark) -> Self {
        Self { start: Start::After(mark) }
    }
}

impl Default for NoDatabase {
    fn default() -> Self {
        Self::newest()
    }
}

impl ClientCallbacks for NoDatabase {
    async fn high_water_mark(&self, _: PartitionId) -> Result<Mark, CallbackError> {
        mark_before(self.start)
    }

    async fn start(&self, _: PartitionId) -> Result<Start, CallbackError> {
        Ok(self.start)
    }

    async fn apply_transaction(&self, _: &Transaction) -> Result<(), CallbackError> {
        Ok(())
    }

    async fn apply_batch(&self, batch: &[Transaction]) -> (usize, Result<(), CallbackError>) {
        (batch.len(), Ok(()))
    }
}
