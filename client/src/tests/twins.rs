//! Two clients with one id, as a copied process or a broken source of random numbers makes them:
//! both make progress, and neither takes the other's transactions for its own.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use waltz_core::id::{Mark, PartitionId, ReqId, TransactionId};
use waltz_runtime::Runtime;

use crate::testing::{TestCluster, TestClusterConfig};
use crate::{
    AppendError, AppendRequest, CallbackError, Client, FeedOptions, NoDatabase, Outcome,
    TransactionBuilder, TransactionContext, Utf8,
};

const P: PartitionId = PartitionId(0);
const TICK: Duration = Duration::from_millis(1);

/// A runtime whose random numbers are all the same.
#[derive(Clone)]
struct Broken<R>(R);

impl<R: Runtime> Runtime for Broken<R> {
    type Net = R::Net;
    type Timer = R::Timer;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }

    fn net(&self) -> Self::Net {
        self.0.net()
    }

    fn timer(&self) -> Self::Timer {
        self.0.timer()
    }

    fn random(&self) -> u64 {
        4
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.0.blocking(work).await
    }
}

fn cluster() -> TestCluster {
    let config = TestClusterConfig { latency: TICK, ..TestClusterConfig::default() };
    TestCluster::start_with(config).expect("one node can keep four partitions")
}

async fn twin(cluster: &TestCluster) -> Client {
    let runtime = Broken(cluster.runtime());
    let connected = Client::connect_on(runtime, cluster.client_config(), NoDatabase::newest());
    connected.await.expect("a cluster that runs can be reached")
}

/// What the log holds, by id.
async fn log(cluster: &TestCluster) -> BTreeMap<TransactionId, (ReqId, String)> {
    let reader = cluster.client(NoDatabase::newest()).await;
    let mut feed = reader.feed_with(P, Mark::NONE, FeedOptions::new().until_now());
    let mut log = BTreeMap::new();
    while let Some(transaction) = feed.next().await {
        let transaction = transaction.expect("the feed goes on");
        let data = transaction.data(&Utf8).await.expect("it is text");
        log.insert(transaction.id(), (transaction.req_id(), data));
    }
    log
}

struct Write(String);

impl TransactionContext for Write {
    fn partition(&self, _: u32) -> PartitionId {
        P
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        builder.data(&Utf8, &self.0)?;
        Ok(true)
    }
}

/// Appends and submits by turns; what was told of each.
async fn work(client: &Client, name: &str) -> Vec<(String, Option<TransactionId>)> {
    let mut told = Vec::new();
    for n in 0..100 {
        let data = format!("{name} {n}");
        let committed = if n % 2 == 0 {
            match client.append(P, AppendRequest::new(data.clone())).await {
                Ok(id) => Some(id),
                Err(AppendError::Failed(_)) => None,
                Err(other) => panic!("{data}: {other}"),
            }
        } else {
            match client.submit(Write(data.clone())).await {
                Outcome::Committed(id) => Some(id),
                other => panic!("{data}: {other:?}"),
            }
        };
        told.push((data, committed));
        tokio::time::sleep(TICK).await;
    }
    told
}

#[tokio::test(start_paused = true)]
async fn a_lost_append_is_not_the_twins_that_was_committed() {
    let cluster = cluster();
    let one = twin(&cluster).await;
    assert_eq!(one.append(P, AppendRequest::new("first")).await, Ok(TransactionId(0)));
    cluster.drop_connections();
    let lost = one.append(P, AppendRequest::new("lost"));
    let other = twin(&cluster).await;
    assert_eq!(one.id(), other.id());
    let second = AppendRequest::new("second");
    assert_eq!(other.append(P, second.clone()).await, Ok(TransactionId(1)));
    assert_eq!(other.append(P, second.clone()).await, Ok(TransactionId(2)));
    assert_eq!(lost.await, Err(AppendError::Failed(P)));
    assert_eq!(one.append(P, second).await, Ok(TransactionId(3)));
}

#[tokio::test(start_paused = true)]
async fn two_clients_with_one_id_work_side_by_side() {
    let cluster = cluster();
    let (one, other) = (twin(&cluster).await, twin(&cluster).await);
    let breaking = async {
        loop {
            tokio::time::sleep(200 * TICK).await;
            cluster.drop_connections();
        }
    };
    let told = tokio::select! {
        (one, other) = async { tokio::join!(work(&one, "one"), work(&other, "other")) } => [one, other].concat(),
        () = breaking => unreachable!("it does not end"),
    };
    let log = log(&cluster).await;
    let names: BTreeSet<_> = log.values().map(|(req_id, _)| *req_id).collect();
    assert_eq!(names.len(), log.len(), "a ReqId names one transaction");
    let expected: BTreeMap<_, _> =
        told.into_iter().filter_map(|(data, id)| Some((id?, data))).collect();
    let held: BTreeMap<_, _> = log.into_iter().map(|(id, (_, data))| (id, data)).collect();
    assert_eq!(held, expected, "the log has what was told committed, once, and nothing else");
    assert!(expected.len() >= 100, "every submission is committed");
}
