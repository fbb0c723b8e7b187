//! A service instance of the bank: a client whose callbacks keep the database, and whose contexts
//! are the bank's operations.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use waltz_client::{
    CallbackError, Client, ClientCallbacks, ClientConfig, Conflict, ConnectError, InDoubt, Mark,
    Outcome, PartitionId, PartitionLocalLock, SubmitError, Transaction, TransactionBuilder,
    TransactionContext, TransactionId,
};
use waltz_runtime::{Runtime, Timer};

use crate::account::AccountId;
use crate::database::Database;
use crate::operation::Operation;
use crate::tally::{Callback, Ending, Tally};

/// Operations that must be done one after the other.
pub type Job = Vec<Operation>;

/// Jobs that the workers of any number of services take from.
#[derive(Debug, Clone)]
pub struct Jobs {
    receiver: Arc<Mutex<mpsc::Receiver<Job>>>,
}

impl Jobs {
    /// A queue of at most `capacity` jobs; it ends when its sender is dropped.
    pub fn queue(capacity: usize) -> (mpsc::Sender<Job>, Self) {
        let (sender, receiver) = mpsc::channel(capacity);
        (sender, Self { receiver: Arc::new(Mutex::new(receiver)) })
    }

    async fn take(&self) -> Option<Job> {
        self.receiver.lock().await.recv().await
    }
}

/// An operation that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub number: u64,
    /// How.
    pub ending: Ending,
    /// How long after it was submitted.
    pub latency: Duration,
}

/// One instance: its client, and the database that it may share with others.
#[derive(Debug, Clone)]
pub struct Service<R> {
    runtime: R,
    client: Client,
    partitions: u32,
    database: Database,
    tally: Tally,
}

impl<R: Runtime> Service<R> {
    /// Connects; from now on the database follows the log. `partitions` is how many the cluster had
    /// when the bank was founded: accounts stay in these when it grows.
    ///
    /// # Errors
    /// When no cluster is found.
    pub async fn connect(
        runtime: R,
        config: ClientConfig,
        partitions: u32,
        database: Database,
        tally: Tally,
    ) -> Result<Self, ConnectError> {
        let callbacks = Bookkeeper { runtime: runtime.clone(), database: database.clone() };
        let client = Client::connect_on(runtime.clone(), config, callbacks).await?;
        Ok(Self { runtime, client, partitions, database, tally })
    }

    /// Its client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Submits one operation and waits for its end.
    pub async fn perform(&self, operation: Operation) -> Ended {
        let number = operation.number();
        self.tally.submitted(number);
        let clock = self.runtime.timer();
        let start = clock.now();
        let context = OperationContext { service: self.parts(), operation };
        let ending = match self.client.submit(context).await {
            Outcome::Committed(id) => Ending::Committed(id),
            Outcome::Ignored => Ending::Ignored,
            Outcome::Failed(error) => Ending::Failed(error.to_string()),
            Outcome::InDoubt(_) | Outcome::Abandoned => Ending::InDoubt,
        };
        self.tally.ended(number, ending.clone());
        Ended { number, ending, latency: clock.now().since(start) }
    }

    /// Starts workers that do jobs until there are none, each one job at a time, and tells every
    /// end. The channel closes when the last worker is done.
    pub fn work(&self, jobs: &Jobs, workers: usize, ends: &mpsc::UnboundedSender<Ended>) {
        for _ in 0..workers {
            let (service, jobs, ends) = (self.clone(), jobs.clone(), ends.clone());
            self.runtime.spawn(async move {
                while let Some(job) = jobs.take().await {
                    for operation in job {
                        let ended = service.perform(operation).await;
                        // Whoever stopped listening reads the tally.
                        let _ = ends.send(ended);
                    }
                }
            });
        }
    }

    fn parts(&self) -> Parts<R> {
        let Self { runtime, partitions, database, tally, .. } = self.clone();
        Parts { runtime, partitions, database, tally }
    }
}

/// What a context needs of its service. No client among it: a context must not keep it open.
#[derive(Debug)]
struct Parts<R> {
    runtime: R,
    partitions: u32,
    database: Database,
    tally: Tally,
}

impl<R: Runtime> Parts<R> {
    async fn balance(&self, account: AccountId) -> Result<i64, CallbackError> {
        let database = self.database.clone();
        Ok(self.runtime.blocking(move || database.balance(account)).await?)
    }
}

/// An operation on its way into the log.
#[derive(Debug)]
struct OperationContext<R> {
    service: Parts<R>,
    operation: Operation,
}

impl<R> OperationContext<R> {
    fn told(&self, callback: Callback) {
        self.service.tally.told(self.operation.number(), callback);
    }
}

impl<R: Runtime> TransactionContext for OperationContext<R> {
    /// Accounts stay where they are when the cluster grows.
    fn partition(&self, _: u32) -> PartitionId {
        self.operation.account().partition(self.service.partitions)
    }

    /// The database may be ahead of this client's mark, never behind it: what it read and another
    /// instance changed since is what the locks are for.
    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        self.service.tally.executed(self.operation.number());
        if let Some(payment) = self.operation.payer()
            && self.service.balance(payment.account).await? < payment.cents
        {
            return Ok(false);
        }
        builder.header(self.operation.header()).data_bytes(self.operation.encode());
        for posting in self.operation.postings() {
            builder.write_lock(PartitionLocalLock::new(AccountId::LOCK, posting.account.0));
        }
        Ok(true)
    }

    fn on_completion(&mut self, committed: bool) {
        self.told(if committed { Callback::Committed } else { Callback::Ignored });
    }

    fn on_exception(&mut self, _: &SubmitError) {
        self.told(Callback::Failed);
    }

    fn on_in_doubt(&mut self, _: &InDoubt) {
        self.told(Callback::InDoubt);
    }

    fn on_lock_failure(&mut self, _: &Conflict) {
        self.service.tally.conflicted(self.operation.number());
    }
}

/// Folds the feed into a database, a batch at a time.
#[derive(Debug)]
struct Bookkeeper<R> {
    runtime: R,
    database: Database,
}

impl<R: Runtime> ClientCallbacks for Bookkeeper<R> {
    async fn high_water_mark(&self, partition: PartitionId) -> Result<Mark, CallbackError> {
        let database = self.database.clone();
        Ok(self.runtime.blocking(move || database.mark(partition)).await?)
    }

    async fn apply_transaction(&self, transaction: &Transaction) -> Result<(), CallbackError> {
        self.apply_batch(std::slice::from_ref(transaction)).await.1
    }

    async fn apply_batch(&self, batch: &[Transaction]) -> (usize, Result<(), CallbackError>) {
        let (operations, rest) = read_operations(batch).await;
        let Some(first) = batch.first() else { return (0, Ok(())) };
        let (partition, count) = (first.partition(), operations.len());
        let database = self.database.clone();
        let applied = self.runtime.blocking(move || database.apply(partition, &operations)).await;
        match applied {
            Ok(_) => (count, rest),
            Err(error) => (0, Err(error.into())),
        }
    }
}

/// The operations of a batch, up to the first that can't be read.
pub(crate) async fn read_operations(
    batch: &[Transaction],
) -> (Vec<(TransactionId, Operation)>, Result<(), CallbackError>) {
    let mut operations = Vec::with_capacity(batch.len());
    for transaction in batch {
        match read_operation(transaction).await {
            Ok(operation) => operations.push((transaction.id(), operation)),
            Err(error) => return (operations, Err(error)),
        }
    }
    (operations, Ok(()))
}

async fn read_operation(transaction: &Transaction) -> Result<Operation, CallbackError> {
    Ok(Operation::decode(transaction.header(), &transaction.bytes().await?)?)
}
