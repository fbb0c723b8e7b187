//! What a client counts and measures, and that the page about it lists it all.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use waltz_client::testing::TestCluster;
use waltz_client::{
    AppendError, AppendRequest, CallbackError, Client, ClientCallbacks, Mark, NoDatabase, Outcome,
    PartitionId, PartitionLocalLock, SubmitOptions, Transaction, TransactionBuilder,
    TransactionContext, TransactionId,
};

const P: PartitionId = PartitionId(2);
const PAGE: &str = include_str!("../../docs/client-metrics.md");

/// Keeps what it is told.
#[derive(Default)]
struct Recorded {
    /// Name, kind, unit and meaning, as the page has them.
    described: Mutex<Vec<String>>,
    numbers: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    measured: Mutex<BTreeMap<String, Arc<Measured>>>,
}

#[derive(Default)]
struct Measured(Mutex<Vec<f64>>);

impl HistogramFn for Measured {
    fn record(&self, value: f64) {
        lock(&self.0).push(value);
    }
}

impl Recorded {
    fn describe(&self, kind: &str, name: &KeyName, unit: Option<Unit>, meaning: &str) {
        let unit = unit.map_or("", |unit| unit.as_str());
        let row = format!("| `{}` | {kind} | {unit} | {meaning} |", name.as_str());
        lock(&self.described).push(row);
    }

    fn number(&self, key: &Key) -> Arc<AtomicU64> {
        lock(&self.numbers).entry(key.name().to_owned()).or_default().clone()
    }

    /// A counter by its name without what all names share.
    fn count(&self, name: &str) -> u64 {
        let name = format!("waltz_client_{name}_total");
        lock(&self.numbers).get(&name).expect("it is registered").load(Ordering::Relaxed)
    }

    fn counts<const N: usize>(&self, names: [&str; N]) -> [u64; N] {
        names.map(|name| self.count(name))
    }

    fn pending(&self) -> f64 {
        let bits = lock(&self.numbers)["waltz_client_pending_calls"].load(Ordering::Relaxed);
        f64::from_bits(bits)
    }

    fn durations(&self, name: &str) -> Vec<f64> {
        let name = format!("waltz_client_{name}_duration_seconds");
        lock(&lock(&self.measured).get(&name).expect("it is registered").0).clone()
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.describe("counter", &key, unit, &meaning);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.describe("gauge", &key, unit, &meaning);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.describe("histogram", &key, unit, &meaning);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.number(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.number(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut measured = lock(&self.measured);
        Histogram::from_arc(measured.entry(key.name().to_owned()).or_default().clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs with a clock that stands still and a recorder of its own.
fn recorded<F: Future<Output = ()>>(run: impl FnOnce(Arc<Recorded>) -> F) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime can be built");
    let recorder = Arc::new(Recorded::default());
    with_local_recorder(&recorder.clone(), || runtime.block_on(run(recorder)));
}

/// Writes under one lock; takes a second of virtual time, or declines.
struct Write {
    decline: bool,
}

impl TransactionContext for Write {
    fn partition(&self, _: u32) -> PartitionId {
        P
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        builder.write_lock(PartitionLocalLock::new("counter", 1)).data_bytes("data");
        Ok(!self.decline)
    }
}

async fn submit(client: &Client) {
    let outcome = client.submit(Write { decline: false }).await;
    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
}

async fn append(client: &Client, request: AppendRequest) -> Result<TransactionId, AppendError> {
    client.append(P, request).await
}

#[test]
fn the_page_lists_what_there_is() {
    recorded(async |recorder| {
        let cluster = TestCluster::start();
        let client = cluster.client(NoDatabase::newest()).await;
        client.close().await;
        let listed: Vec<_> =
            PAGE.lines().filter(|line| line.starts_with("| `waltz_client_")).collect();
        assert_eq!(*lock(&recorder.described), listed, "the rows of docs/client-metrics.md");
        let registered = lock(&recorder.numbers).len() + lock(&recorder.measured).len();
        assert_eq!(registered, listed.len());
        for name in lock(&recorder.numbers).keys().chain(lock(&recorder.measured).keys()) {
            assert!(PAGE.contains(&format!("| `{name}` |")), "{name} is registered and not listed");
        }
    });
}

#[test]
fn calls_are_counted_by_how_they_end() {
    recorded(async |recorder| {
        let cluster = TestCluster::start();
        let client = cluster.client(NoDatabase::newest()).await;
        submit(&client).await;
        let outcome = client.submit(Write { decline: true }).await;
        assert!(matches!(outcome, Outcome::Ignored), "{outcome:?}");
        let large = append(&client, AppendRequest::new(vec![0; 64 << 20])).await;
        assert!(matches!(large, Err(AppendError::Refused(_))), "{large:?}");
        cluster.suspend_feeds();
        let timeout = Duration::from_secs(1);
        let given_up = client.append(P, AppendRequest::new("x").timeout(timeout));
        assert_eq!(recorder.pending(), 1.0);
        let given_up = given_up.await;
        assert!(matches!(given_up, Err(AppendError::InDoubt(_))), "{given_up:?}");
        cluster.resume_feeds();
        client.close().await;
        assert_eq!(recorder.pending(), 0.0);
        let calls = recorder.counts(["submissions", "appends", "executions"]);
        assert_eq!(calls, [2, 2, 2]);
        let ends = recorder.counts(["commits", "declined", "failed", "in_doubt", "refusals"]);
        assert_eq!(ends, [1, 1, 1, 1, 1]);
        assert_eq!(recorder.counts(["conflicts", "lost_attempts"]), [0, 0]);
        assert_eq!(recorder.durations("submission"), [1.0]);
        assert_eq!(recorder.durations("execution"), [1.0, 1.0]);
        assert!(recorder.durations("append").is_empty(), "none is committed");
    });
}

#[test]
fn attempts_are_counted_by_what_failed_them() {
    recorded(async |recorder| {
        let cluster = TestCluster::start();
        let client = cluster.client(NoDatabase::newest()).await;
        submit(&client).await;
        cluster.fail_locks(2);
        submit(&client).await;
        assert_eq!(recorder.counts(["executions", "conflicts", "lost_attempts"]), [4, 2, 0]);
        cluster.lose_appends(3);
        submit(&client).await;
        assert_eq!(recorder.counts(["executions", "conflicts", "lost_attempts"]), [8, 2, 3]);
        cluster.fail_locks(1);
        let never = SubmitOptions::default().retries(0);
        let outcome = client.submit_with(Write { decline: false }, never).await;
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
        cluster.fail_locks(1);
        let conflict = append(&client, AppendRequest::new("x")).await;
        assert!(matches!(conflict, Err(AppendError::Conflict { .. })), "{conflict:?}");
        cluster.lose_appends(1);
        assert_eq!(append(&client, AppendRequest::new("x")).await, Err(AppendError::Failed(P)));
        assert_eq!(recorder.counts(["executions", "conflicts", "lost_attempts"]), [9, 4, 4]);
        assert_eq!(recorder.counts(["commits", "failed"]), [3, 3]);
        let opened = recorder.count("connections_opened");
        cluster.drop_connections();
        client.flush().await.expect("it connects again");
        assert!(recorder.count("connections_opened") > opened);
        assert!(recorder.count("connections_failed") > 0);
    });
}

#[test]
fn a_call_without_room_is_refused() {
    recorded(async |recorder| {
        let cluster = TestCluster::start();
        let mut config = cluster.client_config();
        config.max_pending = 1;
        let client = cluster.connect(config, NoDatabase::newest()).await.expect("it is there");
        let first = client.submit(Write { decline: false });
        let second = client.submit(Write { decline: false }).await;
        assert!(matches!(second, Outcome::Failed(_)), "{second:?}");
        let third = append(&client, AppendRequest::new("x")).await;
        assert!(matches!(third, Err(AppendError::Refused(_))), "{third:?}");
        first.await;
        let counts = recorder.counts(["submissions", "appends", "refusals", "failed", "commits"]);
        assert_eq!(counts, [2, 1, 2, 2, 1]);
    });
}

/// Takes a second for each batch; the first fails.
#[derive(Default)]
struct Database {
    failed: Mutex<bool>,
}

impl ClientCallbacks for Database {
    async fn high_water_mark(&self, _: PartitionId) -> Result<Mark, CallbackError> {
        Ok(Mark::NONE)
    }

    async fn apply_transaction(&self, _: &Transaction) -> Result<(), CallbackError> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let failed = std::mem::replace(&mut *lock(&self.failed), true);
        if failed { Ok(()) } else { Err("not yet".into()) }
    }
}

#[test]
fn what_is_applied_is_counted_once_and_feeds_are_not() {
    recorded(async |recorder| {
        let cluster = TestCluster::start();
        let client = cluster.client(Database::default()).await;
        assert_eq!(append(&client, AppendRequest::new("data")).await, Ok(TransactionId(0)));
        assert_eq!(
            recorder.counts(["commits", "applied_transactions", "apply_failures"]),
            [1, 0, 1]
        );
        client.flush().await.expect("it is applied");
        let mut feed = client.feed(P, Mark::NONE);
        let fed = feed.next().await.expect("it is there").expect("it can be read");
        assert_eq!(fed.id(), TransactionId(0));
        assert_eq!(
            recorder.counts(["commits", "applied_transactions", "apply_failures"]),
            [1, 1, 1]
        );
        let record = recorder.count("applied_bytes");
        assert!(record > 4, "the record with its data: {record}");
        assert_eq!(recorder.durations("apply"), [1.0, 1.0]);
        assert_eq!(recorder.durations("append"), [1.0]);
        submit(&client).await;
        assert_eq!(recorder.durations("submission"), [2.0], "executed, then applied");
    });
}
