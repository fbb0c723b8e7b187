//! The span of a submission or an append: there from the call until its transaction is applied.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Instrument, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use waltz_client::testing::TestCluster;
use waltz_client::{
    AppendError, AppendRequest, CallbackError, ClientCallbacks, Mark, Outcome, PartitionId,
    PartitionLocalLock, Transaction, TransactionBuilder, TransactionContext, TransactionId,
};

const P: PartitionId = PartitionId(2);

/// Writes down what happens in the client's spans, and in the test's own.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn push(&self, line: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The fields of a span or event, in their order.
#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = match field.name() {
            "message" => format!(" {value:?}"),
            name => format!(" {name}={value:?}"),
        };
        self.0.push_str(&text);
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let parent = context.span(id).and_then(|span| span.parent()).map(|parent| parent.name());
        let name = attributes.metadata().name();
        self.push(format!("{} > {name}{}", parent.unwrap_or("none"), fields.0));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if let Some(span) = context.event_span(event) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            self.push(format!("{}:{}", span.name(), fields.0));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if let Some(span) = context.span(&id) {
            self.push(format!("{} closed", span.name()));
        }
    }
}

struct Write;

impl TransactionContext for Write {
    fn partition(&self, _: u32) -> PartitionId {
        P
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        tracing::info!("executing");
        builder.write_lock(PartitionLocalLock::new("counter", 1));
        Ok(true)
    }
}

struct Database(Lines);

impl ClientCallbacks for Database {
    async fn high_water_mark(&self, _: PartitionId) -> Result<Mark, CallbackError> {
        Ok(Mark::NONE)
    }

    async fn apply_transaction(&self, transaction: &Transaction) -> Result<(), CallbackError> {
        self.0.push(format!("applying {}", transaction.id()));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_submission_has_a_span_until_it_is_applied() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let cluster = TestCluster::start();
    let client = cluster.client(Database(lines.clone())).await;
    let first = client.submit(Write).await;
    assert!(matches!(first, Outcome::Committed(TransactionId(0))), "{first:?}");
    client.flush().await.expect("it is applied");
    lines.taken();

    cluster.fail_locks(1);
    let request = tracing::info_span!("request");
    let outcome = async { client.submit(Write).await }.instrument(request.clone()).await;
    assert!(matches!(outcome, Outcome::Committed(TransactionId(1))), "{outcome:?}");
    drop(request);
    client.flush().await.expect("it is applied");
    let lock = PartitionLocalLock::new("counter", 1).id();
    let conflict = format!("lock {lock} was changed by transaction 0");
    let expected = [
        "none > request",
        "request > waltz.submit partition=p2 call=3",
        "waltz.submit > waltz.execute at=0",
        "waltz.execute: executing",
        "waltz.execute closed",
        &format!("waltz.submit: conflict conflict={conflict}"),
        "waltz.submit > waltz.execute at=0",
        "waltz.execute: executing",
        "waltz.execute closed",
        "waltz.submit: committed id=1",
        "applying 1",
        "waltz.submit: applied id=1",
        "waltz.submit closed",
        "request closed",
    ];
    assert_eq!(lines.taken(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_append_has_a_span_until_it_is_applied() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let cluster = TestCluster::start();
    let client = cluster.client(Database(lines.clone())).await;
    let append = async || client.append(P, AppendRequest::new("data")).await;
    assert_eq!(append().await, Ok(TransactionId(0)));
    lines.taken();

    let request = tracing::info_span!("request");
    assert_eq!(append().instrument(request.clone()).await, Ok(TransactionId(1)));
    drop(request);
    let expected = [
        "none > request",
        "request > waltz.append partition=p2 call=2",
        "waltz.append: committed id=1",
        "applying 1",
        "waltz.append: applied id=1",
        "waltz.append closed",
        "request closed",
    ];
    assert_eq!(lines.taken(), expected);

    cluster.lose_appends(1);
    let lost = append().await.expect_err("it got lost");
    assert_eq!(lost, AppendError::Failed(P));
    let expected = [
        "none > waltz.append partition=p2 call=3",
        &format!("waltz.append: failed error={lost}"),
        "waltz.append closed",
    ];
    assert_eq!(lines.taken(), expected);
}
