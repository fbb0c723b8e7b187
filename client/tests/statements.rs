//! Promises to applications that need a whole cluster to be seen; `client/src/tests/mod.rs` lists
//! them all.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use waltz_client::testing::TestCluster;
use waltz_client::{
    AppendError, AppendRequest, CallbackError, ClientCallbacks, Mark, NoDatabase, Outcome,
    PartitionId, PartitionLocalLock, Transaction, TransactionBuilder, TransactionContext,
    TransactionId,
};

const P: PartitionId = PartitionId(0);
const OTHER: PartitionId = PartitionId(1);

#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what.into());
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Fails to apply each transaction once; partition 0 waits until it is released.
struct Database {
    notes: Notes,
    failed: Mutex<Option<TransactionId>>,
    release: Arc<Notify>,
}

impl ClientCallbacks for Database {
    async fn high_water_mark(&self, _: PartitionId) -> Result<Mark, CallbackError> {
        Ok(Mark::NONE)
    }

    async fn apply_transaction(&self, transaction: &Transaction) -> Result<(), CallbackError> {
        if transaction.partition() == P {
            self.release.notified().await;
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if transaction.partition() == P && *failed != Some(transaction.id()) {
            *failed = Some(transaction.id());
            return Err("not yet".into());
        }
        self.notes.note(format!("applied {}", transaction.id()));
        Ok(())
    }

    fn uncaught_exception(&self, transaction: &Transaction, _: &CallbackError) {
        self.notes.note(format!("{} failed", transaction.id()));
    }
}

struct Telling(Notes);

impl TransactionContext for Telling {
    fn partition(&self, _: u32) -> PartitionId {
        P
    }

    async fn execute(&mut self, _: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        Ok(true)
    }

    fn on_completion(&mut self, committed: bool) {
        self.0.note(format!("completed {committed}"));
    }

    fn on_application(&mut self) {
        self.0.note("application");
    }
}

#[tokio::test(start_paused = true)]
async fn a_context_is_told_of_its_application_after_a_later_success() {
    let cluster = TestCluster::start();
    let (notes, release) = (Notes::default(), Arc::new(Notify::new()));
    let database =
        Database { notes: notes.clone(), failed: Mutex::default(), release: release.clone() };
    let client = cluster.client(database).await;
    release.notify_one();
    let outcome = client.submit(Telling(notes.clone())).await;
    assert!(matches!(outcome, Outcome::Committed(TransactionId(0))), "{outcome:?}");
    assert_eq!(client.high_water_mark(P), Some(Mark::NONE));
    assert_eq!(notes.taken(), ["completed true", "0 failed"]);
    release.notify_one();
    client.flush().await.expect("it is applied");
    client.close().await;
    assert_eq!(notes.taken(), ["applied 0", "application"]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_applies_slowly_holds_no_other_up() {
    let cluster = TestCluster::start();
    let (notes, release) = (Notes::default(), Arc::new(Notify::new()));
    let database = Database { notes: notes.clone(), failed: Mutex::default(), release };
    let client = cluster.client(database).await;
    client.append(P, AppendRequest::new("x")).detach();
    assert_eq!(client.append(OTHER, AppendRequest::new("x")).await, Ok(TransactionId(0)));
    assert_eq!(notes.taken(), ["applied 0"], "the other partition's");
}

#[tokio::test(start_paused = true)]
async fn kinds_of_locks_conflict_as_they_should() {
    let cluster = TestCluster::start();
    let client = cluster.client(NoDatabase::newest()).await;
    let lock = PartitionLocalLock::new("parent", 1);
    let mark = |id| Mark::at(TransactionId(id));
    let append = async |request: AppendRequest, at: Mark| client.append(P, request.at(at)).await;
    let reads = || AppendRequest::new("reads").read_lock(lock);
    let writes = || AppendRequest::new("writes").write_lock(lock);
    let appends = || AppendRequest::new("appends").append_lock(lock);
    assert_eq!(append(appends(), Mark::NONE).await, Ok(TransactionId(0)));
    assert_eq!(append(appends(), Mark::NONE).await, Ok(TransactionId(1)), "not with each other");
    for request in [reads(), writes()] {
        let conflict = AppendError::Conflict { id: TransactionId(1), lock: lock.id(), exact: true };
        assert_eq!(append(request, mark(0)).await, Err(conflict), "an append is seen by both");
    }
    assert_eq!(append(reads(), mark(1)).await, Ok(TransactionId(2)), "equal passes");
    assert_eq!(append(writes(), mark(1)).await, Ok(TransactionId(3)), "reading changes nothing");
    assert_eq!(append(appends(), Mark::NONE).await, Ok(TransactionId(4)), "it checks nothing");
    let other = PartitionLocalLock::new("child", 1);
    let request = AppendRequest::new("writes").write_lock(other);
    assert_eq!(append(request, Mark::NONE).await, Ok(TransactionId(5)), "another name");
}

/// Executes only after another one has.
struct After(Option<Arc<Notify>>, Arc<Notify>);

impl TransactionContext for After {
    fn partition(&self, _: u32) -> PartitionId {
        P
    }

    async fn execute(&mut self, _: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        if let Some(first) = &self.0 {
            first.notified().await;
        }
        self.1.notify_one();
        Ok(true)
    }
}

#[tokio::test(start_paused = true)]
async fn a_context_that_waits_holds_no_other_up() {
    let cluster = TestCluster::start();
    let client = cluster.client(NoDatabase::newest()).await;
    let executed: Vec<_> = (0..40).map(|_| Arc::new(Notify::new())).collect();
    let submissions: Vec<_> = (0..40)
        .map(|nth| client.submit(After(executed.get(nth + 1).cloned(), executed[nth].clone())))
        .collect();
    for (nth, submission) in submissions.into_iter().enumerate() {
        let outcome = submission.await;
        // Each waited for the next one.
        let id = TransactionId(39 - nth as u64);
        assert!(matches!(outcome, Outcome::Committed(as_id) if as_id == id), "{outcome:?}");
    }
}
