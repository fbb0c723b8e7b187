//! Replays a cluster's log from id 0 with a client of its own.

use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;
use waltz_client::{
    CallbackError, Client, ClientCallbacks, ClientConfig, ClientError, ConnectError, FeedMode,
    Mark, PartitionId, Transaction,
};
use waltz_runtime::Runtime;

use crate::replay::{Replay, ReplayError};
use crate::service::read_operations;

/// Why a log could not be replayed.
#[derive(Debug, Error)]
pub enum ReadError {
    /// No cluster was found.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The end of the log was not reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The log is not sound.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The log has something that is not the bank's.
    #[error("{0}")]
    Foreign(String),
}

impl Replay {
    /// Reads everything that is committed now, from the first id of every partition on.
    ///
    /// # Errors
    /// When it can't be read to its end, or is not sound.
    pub async fn read<R: Runtime>(
        runtime: R,
        config: ClientConfig,
        opening_cents: i64,
    ) -> Result<Self, ReadError> {
        let progress = Arc::new(Mutex::new(Ok(Self::new(opening_cents))));
        let reader = Reader { progress: progress.clone() };
        let client = Client::connect_on(runtime, config.feed(FeedMode::Records), reader).await?;
        let end = client.flush().await;
        client.close().await;
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        let replay = std::mem::replace(&mut *progress, Ok(Self::default()))?;
        end?;
        Ok(replay)
    }
}

/// Folds the feed into a replay until something is wrong with it.
#[derive(Debug)]
struct Reader {
    progress: Arc<Mutex<Result<Replay, ReadError>>>,
}

impl ClientCallbacks for Reader {
    async fn high_water_mark(&self, _: PartitionId) -> Result<Mark, CallbackError> {
        Ok(Mark::NONE)
    }

    async fn apply_transaction(&self, transaction: &Transaction) -> Result<(), CallbackError> {
        self.apply_batch(std::slice::from_ref(transaction)).await.1
    }

    /// A log that is not sound is read on, so that reading ends; its first fault is kept.
    async fn apply_batch(&self, batch: &[Transaction]) -> (usize, Result<(), CallbackError>) {
        let (operations, rest) = read_operations(batch).await;
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Ok(replay), Some(first)) = (&mut *progress, batch.first()) {
            let applied = operations
                .iter()
                .try_for_each(|(id, operation)| replay.apply(first.partition(), *id, operation));
            match (applied, rest) {
                (Err(error), _) => *progress = Err(error.into()),
                (Ok(()), Err(error)) => *progress = Err(ReadError::Foreign(error.to_string())),
                (Ok(()), Ok(())) => {}
            }
        }
        (batch.len(), Ok(()))
    }
}
