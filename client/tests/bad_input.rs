//! What applications do wrong has a named outcome, and nothing is lost or applied twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use waltz_client::testing::TestCluster;
use waltz_client::{
    AppendError, AppendRequest, CallbackError, ClientCallbacks, ClientConfig, ClientError,
    Conflict, DataError, FeedError, FormatError, Json, Mark, NoDatabase, Outcome, PartitionId,
    PartitionLocalLock, RefusedAppend, SubmitError, SubmitOptions, Transaction, TransactionBuilder,
    TransactionContext, TransactionId,
};

const P: PartitionId = PartitionId(3);

/// An application that applies as it is told, and notes what happens to it.
#[derive(Clone)]
struct Application {
    start: Mark,
    failures: Arc<Mutex<u32>>,
    notes: Arc<Mutex<Vec<String>>>,
}

impl Application {
    fn new(start: Mark, failures: u32) -> Self {
        let failures = Arc::new(Mutex::new(failures));
        Self { start, failures, notes: Arc::default() }
    }

    fn note(&self, what: String) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientCallbacks for Application {
    async fn high_water_mark(&self, partition: PartitionId) -> Result<Mark, CallbackError> {
        Ok(if partition == P { self.start } else { Mark::NONE })
    }

    async fn apply_transaction(&self, transaction: &Transaction) -> Result<(), CallbackError> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = failures.checked_sub(1) {
            *failures = left;
            return Err("the database is away".into());
        }
        self.note(format!("applied {}", transaction.id()));
        Ok(())
    }

    fn on_feed_end(&self, partition: PartitionId, error: &FeedError) {
        assert!(matches!(error, FeedError::AheadOfLog { .. }), "{error:?}");
        self.note(format!("{partition} ended"));
    }

    fn uncaught_exception(&self, transaction: &Transaction, error: &CallbackError) {
        self.note(format!("{} failed: {error}", transaction.id()));
    }
}

/// A context that panics whenever it is called back.
struct Panicking;

impl TransactionContext for Panicking {
    fn partition(&self, _: u32) -> PartitionId {
        P
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        builder.write_lock(PartitionLocalLock::new("row", 1));
        Ok(true)
    }

    fn on_completion(&mut self, _: bool) {
        panic!("on purpose");
    }

    fn on_application(&mut self) {
        panic!("on purpose");
    }

    fn on_exception(&mut self, _: &SubmitError) {
        panic!("on purpose");
    }

    fn on_lock_failure(&mut self, _: &Conflict) {
        panic!("on purpose");
    }
}

#[tokio::test(start_paused = true)]
async fn a_context_that_panics_when_it_is_called_back_changes_nothing() {
    let cluster = TestCluster::start();
    let client = cluster.client(NoDatabase::newest()).await;
    assert!(client.append(P, AppendRequest::new("first")).await.is_ok());
    cluster.fail_locks(1);
    let outcome = client.submit(Panicking).await;
    assert!(matches!(outcome, Outcome::Committed(TransactionId(1))), "{outcome:?}");
    let over = SubmitOptions::default().timeout(Duration::ZERO);
    let outcome = client.submit_with(Panicking, over).await;
    assert!(matches!(outcome, Outcome::Failed(SubmitError::Deadline)), "{outcome:?}");
    assert_eq!(client.append(P, AppendRequest::new("third")).await, Ok(TransactionId(2)));
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_away_for_long_gets_each_transaction_once() {
    let cluster = TestCluster::start();
    let application = Application::new(Mark::NONE, 20);
    let client = cluster.client(application.clone()).await;
    assert_eq!(client.append(P, AppendRequest::new("first")).await, Ok(TransactionId(0)));
    assert_eq!(client.high_water_mark(P), Some(Mark::NONE), "it is not applied");
    assert_eq!(client.append(P, AppendRequest::new("second")).await, Ok(TransactionId(1)));
    client.flush().await.expect("it comes back");
    let notes = application.notes();
    assert_eq!(notes[19..], ["0 failed: the database is away", "applied 0", "applied 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_ahead_of_the_log_is_told_so() {
    let cluster = TestCluster::start();
    let application = Application::new(Mark::at(TransactionId(7)), 0);
    let client = cluster.client(application.clone()).await;
    let append = client.append(P, AppendRequest::new("x")).await;
    let (partition, mark, log) = (P, Mark::at(TransactionId(7)), Mark::NONE);
    assert_eq!(append, Err(AppendError::AheadOfLog { partition, client: mark, log }));
    let flushed = client.flush().await;
    assert_eq!(flushed, Err(ClientError::AheadOfLog { partition, client: mark, log }));
    assert_eq!(application.notes(), ["p3 ended"]);
    let elsewhere = client.append(PartitionId(0), AppendRequest::new("x")).await;
    assert_eq!(elsewhere, Ok(TransactionId(0)), "other partitions go on");
}

/// A context whose value has no form in JSON.
struct Unwritable;

impl TransactionContext for Unwritable {
    fn partition(&self, _: u32) -> PartitionId {
        P
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        builder.data(&Json, &BTreeMap::from([((1_u8, 2_u8), 3_u8)]))?;
        Ok(true)
    }
}

#[tokio::test(start_paused = true)]
async fn serializers_fail_with_what_they_are_about() {
    let cluster = TestCluster::start();
    let client = cluster.client(NoDatabase::newest()).await;
    let error = match client.submit(Unwritable).await {
        Outcome::Failed(SubmitError::Context(error)) => error,
        other => panic!("nothing can be appended: {other:?}"),
    };
    assert!(matches!(error.downcast_ref(), Some(FormatError::Write { format: "JSON", .. })));
    let id = client.append(P, AppendRequest::new("{")).await.expect("bytes are bytes");
    let transaction = client.fetch(P, id).await.expect("it is committed");
    match transaction.data::<u32, _>(&Json).await {
        Err(DataError::Serializer { id: of, error }) => {
            assert_eq!(of, id);
            assert!(matches!(error.downcast_ref(), Some(FormatError::Read { .. })));
        }
        other => panic!("it is no number: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_can_not_be_are_refused_for_certain() {
    let cluster = TestCluster::start();
    let config = ClientConfig { max_pending_bytes: 4 << 20, ..cluster.client_config() };
    let client = cluster.connect(config, NoDatabase::newest()).await.expect("it runs");
    let nowhere = PartitionId(77);
    let unknown = client.append(nowhere, AppendRequest::new("x")).await;
    assert_eq!(unknown, Err(AppendError::NotMounted(nowhere)));
    let large = client.append(P, AppendRequest::new(vec![0; 2 << 20])).await;
    assert!(matches!(large, Err(AppendError::Refused(RefusedAppend::Record(_)))), "{large:?}");
    let never = client.append_when_ready(P, AppendRequest::new(vec![0; 5 << 20])).await.await;
    let never_room = matches!(never, Err(AppendError::Refused(RefusedAppend::TooManyPending(_))));
    assert!(never_room, "{never:?}");
    let over = AppendRequest::new("x").timeout(Duration::ZERO);
    let over = client.append(P, over).await;
    assert!(matches!(over, Err(AppendError::TimedOut { .. })), "{over:?}");
    assert_eq!(client.append(P, AppendRequest::new("x")).await, Ok(TransactionId(0)));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_is_not_refused() {
    let cluster = TestCluster::start();
    let config = ClientConfig { max_pending: 2, ..cluster.client_config() };
    let client = cluster.connect(config, NoDatabase::newest()).await.expect("it runs");
    let appends = (0..50).map(|_| {
        let client = client.clone();
        tokio::spawn(
            async move { client.append_when_ready(P, AppendRequest::new("x")).await.await },
        )
    });
    for append in appends.collect::<Vec<_>>() {
        assert!(append.await.expect("it does not panic").is_ok());
    }
    let waiting = client.append_when_ready(P, AppendRequest::new("x")).await;
    client.close().await;
    let ended = waiting.await;
    assert!(
        matches!(ended, Ok(_) | Err(AppendError::InDoubt(_) | AppendError::Closed)),
        "{ended:?}"
    );
}
