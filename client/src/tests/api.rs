//! What applications see.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;
use waltz_core::client::{Conflict, InDoubt, Partitions};
use waltz_core::id::{Mark, PartitionId, TransactionId};
use waltz_core::wire::FeedMode;

use super::loopback::{Loopback, P};
use crate::{
    AppendError, AppendRequest, Batch, BatchRecord, Batches, CallbackError, Client,
    ClientCallbacks, ClientConfig, FetchError, NoDatabase, OperateError, OperatorRefusal, Outcome,
    PartitionLocalLock, RawBytes, SubmitError, Transaction, TransactionBuilder, TransactionContext,
    Utf8,
};

/// What happened, in order.
#[derive(Clone, Default)]
pub(super) struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub(super) fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what.into());
    }

    pub(super) fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An application that fails to apply as often as it is told to.
struct Application {
    journal: Journal,
    failures: Mutex<u32>,
    client: Mutex<Option<Client>>,
}

impl Application {
    fn new(journal: &Journal, failures: u32) -> Arc<Self> {
        let (journal, client) = (journal.clone(), Mutex::new(None));
        Arc::new(Self { journal, failures: Mutex::new(failures), client })
    }
}

struct Callbacks(Arc<Application>);

impl ClientCallbacks for Callbacks {
    async fn high_water_mark(&self, _: PartitionId) -> Result<Mark, CallbackError> {
        Ok(Mark::NONE)
    }

    async fn apply_transaction(&self, transaction: &Transaction) -> Result<(), CallbackError> {
        let mut failures = self.0.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if *failures > 0 {
            *failures -= 1;
            return Err("not now".into());
        }
        self.0.journal.note(format!("applied {}", transaction.id()));
        Ok(())
    }

    fn uncaught_exception(&self, transaction: &Transaction, error: &CallbackError) {
        self.0.journal.note(format!("{} failed: {error}", transaction.id()));
    }
}

/// Gives on what is to be applied.
struct Collector(mpsc::UnboundedSender<Transaction>);

impl Collector {
    fn new() -> (Self, mpsc::UnboundedReceiver<Transaction>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }
}

impl ClientCallbacks for Collector {
    async fn high_water_mark(&self, _: PartitionId) -> Result<Mark, CallbackError> {
        Ok(Mark::NONE)
    }

    async fn apply_transaction(&self, transaction: &Transaction) -> Result<(), CallbackError> {
        Ok(self.0.send(transaction.clone())?)
    }
}

/// A context that tells what becomes of it.
pub(super) struct Telling {
    journal: Journal,
    application: Option<Arc<Application>>,
    result: Result<bool, &'static str>,
    lock: u64,
}

impl Telling {
    pub(super) fn new(journal: &Journal) -> Self {
        Self { journal: journal.clone(), application: None, result: Ok(true), lock: 1 }
    }

    fn mark(&self) -> String {
        let Some(application) = &self.application else { return String::new() };
        let client = application.client.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = client.as_ref().and_then(|client| client.high_water_mark(P));
        mark.map_or_else(String::new, |mark| format!(" at {mark}"))
    }
}

impl TransactionContext for Telling {
    fn partition(&self, partitions: u32) -> PartitionId {
        assert_eq!(partitions, 1);
        P
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        self.journal.note(format!("executed at {}", builder.high_water_mark()));
        builder
            .write_lock(PartitionLocalLock::new("row", self.lock))
            .data(&Utf8, &"hello".to_owned())?;
        Ok(self.result?)
    }

    fn on_completion(&mut self, committed: bool) {
        self.journal.note(format!("completed {committed}{}", self.mark()));
    }

    fn on_application(&mut self) {
        self.journal.note(format!("application{}", self.mark()));
    }

    fn on_exception(&mut self, error: &SubmitError) {
        self.journal.note(format!("exception: {error}"));
    }

    fn on_lock_failure(&mut self, conflict: &Conflict) {
        self.journal.note(format!("met {}", conflict.id));
    }

    fn on_in_doubt(&mut self, _: &InDoubt) {
        self.journal.note("in doubt");
    }
}

pub(super) async fn connected(callbacks: impl ClientCallbacks) -> (Loopback, Client) {
    let loopback = Loopback::default();
    let config = ClientConfig::new(["here"]);
    let client = Client::connect_on(loopback.clone(), config, callbacks).await.expect("connects");
    (loopback, client)
}

#[tokio::test]
async fn a_committed_context_is_told_in_order() {
    let journal = Journal::default();
    let application = Application::new(&journal, 0);
    let (_, client) = connected(Callbacks(application.clone())).await;
    *application.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
    let context = Telling { application: Some(application), ..Telling::new(&journal) };
    let outcome = client.submit(context).await;
    assert!(matches!(outcome, Outcome::Committed(TransactionId(0))), "{outcome:?}");
    assert_eq!(
        journal.taken(),
        ["executed at none", "completed true at none", "applied 0", "application at 0",]
    );
}

#[tokio::test]
async fn a_failed_application_is_reported_and_the_commit_told_all_the_same() {
    let journal = Journal::default();
    let (_, client) = connected(Callbacks(Application::new(&journal, 1))).await;
    let outcome = client.submit(Telling::new(&journal)).await;
    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    assert_eq!(client.high_water_mark(P), Some(Mark::NONE), "it is not applied");
    client.close().await;
    assert_eq!(
        journal.taken(),
        ["executed at none", "completed true", "0 failed: not now"],
        "told once"
    );
}

#[tokio::test]
async fn contexts_that_decline_fail_or_panic_end_as_that() {
    let journal = Journal::default();
    let (loopback, client) = connected(NoDatabase::newest()).await;
    let declining = Telling { result: Ok(false), ..Telling::new(&journal) };
    assert!(matches!(client.submit(declining).await, Outcome::Ignored));
    let failing = Telling { result: Err("no money"), ..Telling::new(&journal) };
    let outcome = client.submit(failing).await;
    assert!(matches!(outcome, Outcome::Failed(SubmitError::Context(_))), "{outcome:?}");
    assert_eq!(
        journal.taken(),
        [
            "executed at none",
            "completed false",
            "executed at none",
            "exception: executing the transaction failed: no money",
        ]
    );
    struct Panicking;
    impl TransactionContext for Panicking {
        fn partition(&self, _: u32) -> PartitionId {
            P
        }
        async fn execute(&mut self, _: &mut TransactionBuilder) -> Result<bool, CallbackError> {
            panic!("on purpose");
        }
    }
    let outcome = client.submit(Panicking).await;
    assert!(matches!(outcome, Outcome::Failed(SubmitError::Context(_))), "{outcome:?}");
    assert_eq!(loopback.committed(), 0);
}

#[tokio::test]
async fn a_conflict_is_told_and_the_context_executed_on_what_was_applied() {
    let journal = Journal::default();
    let (_, client) = connected(NoDatabase::newest()).await;
    let first = client.submit(Telling::new(&journal));
    let second = client.submit(Telling::new(&journal));
    let (first, second) = (first.await, second.await);
    assert!(matches!(first, Outcome::Committed(TransactionId(0))), "{first:?}");
    assert!(matches!(second, Outcome::Committed(TransactionId(1))), "{second:?}");
    let told = journal.taken();
    assert!(told.contains(&"met 0".to_owned()), "{told:?}");
    assert!(told.contains(&"executed at 0".to_owned()), "{told:?}");
}

#[tokio::test]
async fn appends_are_sent_in_the_order_of_the_calls() {
    let (loopback, client) = connected(NoDatabase::newest()).await;
    let appends: Vec<_> = (0..100_u32)
        .map(|n| client.append(P, AppendRequest::new(n.to_string()).header(n)))
        .collect();
    for (n, append) in appends.into_iter().enumerate() {
        assert_eq!(append.await, Ok(TransactionId(n as u64)));
    }
    assert_eq!(client.high_water_mark(P), Some(Mark::at(TransactionId(99))), "all are applied");
    let transaction = client.fetch(P, TransactionId(42)).await.expect("it is committed");
    assert_eq!(transaction.header(), 42);
    assert_eq!(transaction.req_id().client, client.id());
    assert_eq!(transaction.data(&RawBytes).await.expect("it is there"), Bytes::from("42"));
    assert_eq!(loopback.committed(), 100);
}

#[tokio::test]
async fn a_batch_has_one_id_and_is_told_with_all_its_records() {
    let (loopback, client) = connected(NoDatabase::newest()).await;
    let mut batch = Batch::new();
    batch.push(1, "debit").push(2, "credit");
    let lock = PartitionLocalLock::new("account", 7);
    let request = AppendRequest::new(batch).header(9).write_lock(lock).at(Mark::NONE);
    assert_eq!(client.append(P, request.clone()).await, Ok(TransactionId(0)));
    let again = client.append(P, request).await;
    assert!(matches!(again, Err(AppendError::Conflict { .. })), "all of it or nothing: {again:?}");
    assert_eq!(loopback.committed(), 1);
    let transaction = client.fetch(P, TransactionId(0)).await.expect("it is committed");
    let record = |header, data: &'static str| BatchRecord { header, data: data.into() };
    let records = transaction.data(&Batches).await.expect("it is a batch");
    assert_eq!(records, [record(1, "debit"), record(2, "credit")]);
    assert_eq!(transaction.header(), 9);
}

#[tokio::test]
async fn an_append_meets_conflicts_as_a_value() {
    let (_, client) = connected(NoDatabase::newest()).await;
    let lock = PartitionLocalLock::new("account", 7);
    let request = AppendRequest::new("x").write_lock(lock);
    assert_eq!(client.append(P, request.clone()).await, Ok(TransactionId(0)));
    assert_eq!(client.append(P, request.clone()).await, Ok(TransactionId(1)), "it was applied");
    assert_eq!(
        client.append(P, request.at(Mark::at(TransactionId(0)))).await,
        Err(AppendError::Conflict { id: TransactionId(1), lock: lock.id(), exact: true })
    );
    let large = AppendRequest::new(vec![0; 2 << 20]);
    assert!(matches!(client.append(P, large).await, Err(AppendError::Refused(_))));
    let elsewhere = client.append(PartitionId(9), AppendRequest::new("x")).await;
    assert_eq!(elsewhere, Err(AppendError::NotMounted(PartitionId(9))));
}

#[tokio::test]
async fn closing_ends_what_is_under_way() {
    let journal = Journal::default();
    let (loopback, client) = connected(NoDatabase::newest()).await;
    assert_eq!(client.append(P, AppendRequest::new("x")).await, Ok(TransactionId(0)));
    loopback.hang();
    let append = client.append(P, AppendRequest::new("x"));
    let submission = client.submit(Telling::new(&journal));
    let other = client.clone();
    other.close().await;
    let in_doubt = append.await;
    assert!(matches!(in_doubt, Err(AppendError::InDoubt(_))), "{in_doubt:?}");
    let outcome = submission.await;
    assert!(
        matches!(outcome, Outcome::InDoubt(_) | Outcome::Failed(SubmitError::Closed)),
        "{outcome:?}"
    );
    assert_eq!(client.append(P, AppendRequest::new("x")).await, Err(AppendError::Closed));
    let outcome = client.submit(Telling::new(&journal)).await;
    assert!(matches!(outcome, Outcome::Failed(SubmitError::Closed)), "{outcome:?}");
    let told = journal.taken();
    assert_eq!(
        told.iter().filter(|one| one.contains("doubt") || one.contains("exception")).count(),
        2,
        "each context ended once: {told:?}"
    );
    assert_eq!(client.fetch(P, TransactionId(0)).await.err(), Some(FetchError::Closed));
}

#[tokio::test]
async fn a_flush_is_done_when_everything_is_applied() {
    let (_, client) = connected(NoDatabase::after(Mark::NONE)).await;
    let append = client.append(P, AppendRequest::new("x"));
    client.flush().await.expect("it answers");
    assert_eq!(client.high_water_mark(P), Some(Mark::at(TransactionId(0))));
    assert_eq!(append.await, Ok(TransactionId(0)));
}

#[tokio::test]
async fn data_that_did_not_ride_along_is_loaded_once_for_all_who_want_it() {
    let loopback = Loopback::default();
    let (collector, mut feed) = Collector::new();
    let config = ClientConfig::new(["here"]).feed(FeedMode::Headers);
    let client = Client::connect_on(loopback.clone(), config, collector).await.expect("connects");
    let append = client.append(P, AppendRequest::new("hello"));
    let transaction = feed.recv().await.expect("it comes");
    assert_eq!(append.await, Ok(TransactionId(0)));
    let same = transaction.clone();
    let (one, other) = tokio::join!(transaction.bytes(), same.data(&Utf8));
    assert_eq!(one, Ok(Bytes::from("hello")));
    assert_eq!(other.expect("it is text"), "hello");
    assert_eq!(loopback.fetches(), 1);
    let loaded = transaction.load().await.expect("it is committed");
    client.close().await;
    assert_eq!(loaded.bytes().await, Ok(Bytes::from("hello")), "it has its data with it");
    assert!(feed.recv().await.is_none(), "nothing more comes");
    assert_eq!(transaction.bytes().await, Err(FetchError::Closed));
}

#[tokio::test]
async fn partitions_are_left_and_taken_up_again() {
    let (_, client) = connected(NoDatabase::newest()).await;
    assert_eq!(client.append(P, AppendRequest::new("x")).await, Ok(TransactionId(0)));
    client.set_partitions(Partitions::none()).await.expect("it is open");
    let left = client.append(P, AppendRequest::new("x")).await;
    assert_eq!(left, Err(AppendError::NotMounted(P)));
    client.set_partitions(Partitions::All).await.expect("it is open");
    assert_eq!(client.append(P, AppendRequest::new("x")).await, Ok(TransactionId(1)));
    assert_eq!(client.cluster().await.expect("known").partitions.len(), 1);
    assert!(client.status(None).await.expect("it answers").coordinator);
}

#[tokio::test]
async fn consumers_are_registered_and_removed() {
    let (loopback, client) = connected(NoDatabase::newest()).await;
    let mark = Mark::at(TransactionId(7));
    assert_eq!(client.advance_consumer(P, "audit", mark).await, Ok(()));
    assert_eq!(loopback.consumers(), [("audit".to_owned(), mark)].into());
    assert_eq!(client.remove_consumer(P, "audit").await, Ok(()));
    let unknown = OperatorRefusal::UnknownConsumer { name: "audit".to_owned() };
    let removed = client.remove_consumer(P, "audit").await;
    assert_eq!(removed, Err(OperateError::Refused(unknown)));
    let partition = PartitionId(9);
    let elsewhere = client.advance_consumer(partition, "audit", mark).await;
    let unknown = OperatorRefusal::UnknownPartition { partition };
    assert_eq!(elsewhere, Err(OperateError::Refused(unknown)));
}

#[tokio::test]
async fn callbacks_that_panic_close_the_client() {
    struct Broken;
    impl ClientCallbacks for Broken {
        async fn high_water_mark(&self, _: PartitionId) -> Result<Mark, CallbackError> {
            Ok(Mark::NONE)
        }
        async fn apply_transaction(&self, _: &Transaction) -> Result<(), CallbackError> {
            panic!("on purpose");
        }
    }
    let (_, client) = connected(Broken).await;
    let append = client.append(P, AppendRequest::new("x")).await;
    assert_eq!(append, Ok(TransactionId(0)), "the commit is told all the same");
    assert_eq!(client.flush().await, Err(crate::ClientError::Closed));
}

#[tokio::test]
async fn too_many_pending_calls_are_refused() {
    let loopback = Loopback::default();
    let config = ClientConfig { max_pending: 1, ..ClientConfig::new(["here"]) };
    let client =
        Client::connect_on(loopback.clone(), config, NoDatabase::newest()).await.expect("connects");
    loopback.hang();
    let first = client.append(P, AppendRequest::new("x"));
    let second = client.append(P, AppendRequest::new("x")).await;
    assert!(matches!(second, Err(AppendError::Refused(_))), "{second:?}");
    let journal = Journal::default();
    let outcome = client.submit(Telling::new(&journal)).await;
    assert!(matches!(outcome, Outcome::Failed(SubmitError::TooManyPending(1))), "{outcome:?}");
    assert_eq!(journal.taken().len(), 1, "the context is told");
    client.close().await;
    let first = first.await;
    assert!(matches!(first, Err(AppendError::InDoubt(_))), "{first:?}");
}
