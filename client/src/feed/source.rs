//! Where a pulled feed comes from: callbacks that hand what they are given to a channel.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use waltz_core::client::{Answer, Start};
use waltz_core::id::{Mark, PartitionId};

use crate::call::{Call, Question, ask};
use crate::callbacks::{ClientCallbacks, mark_before};
use crate::error::{CallbackError, FeedError};
use crate::transaction::Transaction;

/// How many batches wait to be read. The machine holds more, as its credit allows.
const BATCHES: usize = 2;

/// What a feed and the callbacks that fill it share.
#[derive(Debug)]
pub(crate) struct Source {
    start: Start,
    /// `None` once nothing more will come.
    batches: Mutex<Option<mpsc::Sender<Vec<Transaction>>>>,
    error: Mutex<Option<FeedError>>,
}

impl Source {
    pub(super) fn new(start: Start) -> (Arc<Self>, mpsc::Receiver<Vec<Transaction>>) {
        let (batches, receiver) = mpsc::channel(BATCHES);
        let (batches, error) = (Mutex::new(Some(batches)), Mutex::new(None));
        (Arc::new(Self { start, batches, error }), receiver)
    }

    /// Ends the feed, after what was handed over.
    pub(crate) fn end(&self, error: Option<FeedError>) {
        if let Some(error) = error {
            lock(&self.error).get_or_insert(error);
        }
        lock(&self.batches).take();
    }

    /// Why the feed ended, once.
    pub(super) fn error(&self) -> Option<FeedError> {
        lock(&self.error).take()
    }

    /// Finds out whether there is such a partition and, if wanted, where the log ends now.
    pub(crate) async fn watch(
        self: Arc<Self>,
        calls: mpsc::WeakUnboundedSender<Call>,
        partition: PartitionId,
        until_now: bool,
    ) {
        let question = async |question| match calls.upgrade() {
            Some(calls) => {
                ask(&calls, question).await.map_err(|why| FeedError::new(partition, why))
            }
            None => Err(FeedError::Closed),
        };
        match question(Question::Describe { formed: true }).await {
            Ok(Answer::Cluster(view)) => {
                if view.partitions.iter().all(|known| known.partition != partition) {
                    return self.end(Some(FeedError::UnknownPartition(partition)));
                }
            }
            Ok(other) => unreachable!("a description is a cluster, not {other:?}"),
            Err(error) => return self.end(Some(error)),
        }
        if until_now {
            // Applied is handed over here.
            let flushed = question(Question::Flush).await;
            self.end(flushed.err());
        }
    }
}

/// The callbacks of a feed's own machine.
pub(crate) struct Handover(pub(crate) Arc<Source>);

impl ClientCallbacks for Handover {
    async fn high_water_mark(&self, _: PartitionId) -> Result<Mark, CallbackError> {
        mark_before(self.0.start)
    }

    async fn start(&self, _: PartitionId) -> Result<Start, CallbackError> {
        Ok(self.0.start)
    }

    async fn apply_transaction(&self, transaction: &Transaction) -> Result<(), CallbackError> {
        self.apply_batch(std::slice::from_ref(transaction)).await.1
    }

    async fn apply_batch(&self, batch: &[Transaction]) -> (usize, Result<(), CallbackError>) {
        let batches = lock(&self.0.batches).clone();
        if let Some(batches) = batches {
            // A feed that was dropped wants nothing more.
            let _ = batches.send(batch.to_vec()).await;
        }
        (batch.len(), Ok(()))
    }

    fn on_feed_end(&self, _: PartitionId, error: &FeedError) {
        self.0.end(Some(error.clone()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
