//! Following the log without a database: transactions come out of a channel.

use tokio::sync::mpsc;
use waltz_core::client::Start;
use waltz_core::id::{Mark, PartitionId};

use crate::callbacks::{ClientCallbacks, mark_before};
use crate::error::CallbackError;
use crate::transaction::Transaction;

/// Callbacks that hand every transaction to a [`Feed`]. A feed that is not read holds the
/// client back; nothing is dropped.
#[derive(Debug)]
pub struct Follower {
    start: Start,
    batches: mpsc::Sender<Vec<Transaction>>,
}

/// The transactions that a [`Follower`] receives.
#[derive(Debug)]
pub struct Feed {
    batches: mpsc::Receiver<Vec<Transaction>>,
    batch: std::vec::IntoIter<Transaction>,
}

impl Follower {
    /// Follows every mounted partition from `start` on.
    pub fn new(start: impl Into<Start>) -> (Self, Feed) {
        let (batches, receiver) = mpsc::channel(4);
        let feed = Feed { batches: receiver, batch: Vec::new().into_iter() };
        (Self { start: start.into(), batches }, feed)
    }
}

impl ClientCallbacks for Follower {
    async fn high_water_mark(&self, _: PartitionId) -> Result<Mark, CallbackError> {
        mark_before(self.start)
    }

    async fn start(&self, _: PartitionId) -> Result<Start, CallbackError> {
        Ok(self.start)
    }

    async fn apply_transaction(&self, transaction: &Transaction) -> Result<(), CallbackError> {
        self.apply_batch(std::slice::from_ref(transaction)).await.1
    }

    async fn apply_batch(&self, batch: &[Transaction]) -> (usize, Result<(), CallbackError>) {
        // A feed that was dropped wants nothing more: the client may still append.
        let _ = self.batches.send(batch.to_vec()).await;
        (batch.len(), Ok(()))
    }
}

impl Feed {
    /// The next transaction; `None` once the client was closed. Those of one partition come in
    /// order.
    pub async fn next(&mut self) -> Option<Transaction> {
        loop {
            if let Some(transaction) = self.batch.next() {
                return Some(transaction);
            }
            self.batch = self.batches.recv().await?.into_iter();
        }
    }

    /// The next transactions of one partition, at least one; `None` once the client was closed.
    pub async fn next_batch(&mut self) -> Option<Vec<Transaction>> {
        if self.batch.len() > 0 {
            return Some(std::mem::take(&mut self.batch).collect());
        }
        self.batches.recv().await
    }
}
