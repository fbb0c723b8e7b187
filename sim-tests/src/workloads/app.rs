//! An application instance: what it knows from the log, its client, and what it asks of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use madsim::time::sleep;
use waltz_client::{CallbackError, ClientCallbacks, Mark, PartitionId, Transaction};
use waltz_core::io::Address;

use crate::witness::Witness;

/// What an application computes from the log of one partition.
pub(crate) trait State: Default + Clone + Send + 'static {
    /// Takes in the next record.
    ///
    /// # Errors
    /// When the record can't follow what came before, in words.
    fn apply(&mut self, record: &Applied<'_>) -> Result<(), String>;
}

/// A record without the number of its operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applied<'a> {
    pub(crate) header: u32,
    pub(crate) body: &'a [u8],
}

/// For applications that only look.
impl State for () {
    fn apply(&mut self, _: &Applied<'_>) -> Result<(), String> {
        Ok(())
    }
}

#[derive(Debug, Clone, Default)]
struct Part<S> {
    mark: Mark,
    state: S,
}

/// The memory of one instance. It outlives the instance's process, as a database does.
pub(crate) struct App<S> {
    host: Address,
    witness: Witness,
    /// How long a transaction takes to apply.
    pace: Duration,
    parts: Mutex<BTreeMap<PartitionId, Part<S>>>,
}

impl<S: State> App<S> {
    pub(crate) fn new(host: Address, witness: Witness, pace: Duration) -> Arc<Self> {
        Arc::new(Self { host, witness, pace, parts: Mutex::default() })
    }

    /// An instance that starts with a copy of what this one knows.
    pub(crate) fn copy(&self, host: Address) -> Arc<Self> {
        let parts = Mutex::new(self.lock().clone());
        Arc::new(Self { host, witness: self.witness.clone(), pace: Duration::ZERO, parts })
    }

    /// What is applied of a partition.
    pub(crate) fn mark(&self, partition: PartitionId) -> Mark {
        self.lock().get(&partition).map_or(Mark::NONE, |part| part.mark)
    }

    /// Where it runs.
    pub(crate) fn host(&self) -> &Address {
        &self.host
    }

    /// Looks at what is computed from a partition so far.
    pub(crate) fn with<T>(&self, partition: PartitionId, look: impl FnOnce(&S) -> T) -> T {
        look(&self.lock().entry(partition).or_default().state)
    }

    /// Something about what was told to this instance is not as it must be.
    pub(crate) fn object(&self, text: String) {
        self.witness.object(format!("{}: {text}", self.host));
    }

    fn take_in(&self, transaction: &Transaction, data: &Bytes) {
        let (partition, id) = (transaction.partition(), transaction.id());
        self.witness.see(&self.host, transaction, data);
        let mut parts = self.lock();
        let part = parts.entry(partition).or_default();
        if id != part.mark.next() {
            self.object(format!(
                "promise 3: {partition} is applied up to {} and {id} comes",
                part.mark
            ));
        }
        part.mark = Mark::at(id);
        let body = data.get(8..).unwrap_or_default();
        let record = Applied { header: transaction.header(), body };
        if let Err(text) = part.state.apply(&record) {
            self.object(format!("{partition} {id}: {text}"));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PartitionId, Part<S>>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The callbacks of one life of an instance.
pub(crate) struct Callbacks<S>(pub(crate) Arc<App<S>>);

impl<S: State> ClientCallbacks for Callbacks<S> {
    async fn high_water_mark(&self, partition: PartitionId) -> Result<Mark, CallbackError> {
        Ok(self.0.mark(partition))
    }

    async fn apply_transaction(&self, transaction: &Transaction) -> Result<(), CallbackError> {
        let data = transaction.bytes().await?;
        if !self.0.pace.is_zero() {
            sleep(self.0.pace).await;
        }
        self.0.take_in(transaction, &data);
        Ok(())
    }
}
