//! How a service is tested: on a cluster in this process, which fails when it is told to.
//!
//! The clock is paused: it jumps to the next event whenever nothing else is to be done, so that
//! waits and deadlines take no time.

use std::time::Duration;

use waltz_client::testing::{TestCluster, TestClusterConfig};
use waltz_client::{Client, Outcome, SubmitError, SubmitOptions};
use waltz_examples::reservations::{Reserve, Seating};

/// An instance of the service.
async fn instance(cluster: &TestCluster) -> (Client, Seating) {
    let seating = Seating::default();
    (cluster.client(seating.clone()).await, seating)
}

/// Submits a context that must be committed.
async fn commit(client: &Client, reserve: Reserve) {
    let outcome = client.submit(reserve).await;
    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_seat_is_reserved_although_appends_get_lost() {
    let cluster = TestCluster::start();
    let (client, seating) = instance(&cluster).await;
    cluster.lose_appends(3);
    commit(&client, seating.reserve(7, "Ada")).await;
    assert_eq!(seating.guest(7).as_deref(), Some("Ada"));
}

#[tokio::test(start_paused = true)]
async fn of_two_guests_who_want_a_seat_one_gets_it() {
    let cluster = TestCluster::start();
    let (one, ones) = instance(&cluster).await;
    let (other, others) = instance(&cluster).await;
    // Neither instance knows of the other's guest when it decides.
    cluster.suspend_feeds();
    let ada = one.submit(ones.reserve(7, "Ada"));
    let grace = other.submit(others.reserve(7, "Grace"));
    cluster.resume_feeds();
    let outcomes = (ada.await, grace.await);
    let guest = match outcomes {
        (Outcome::Committed(_), Outcome::Ignored) => "Ada",
        (Outcome::Ignored, Outcome::Committed(_)) => "Grace",
        other => panic!("one has the seat: {other:?}"),
    };
    assert_eq!(ones.guest(7).as_deref(), Some(guest));
    assert_eq!(others.guest(7).as_deref(), Some(guest));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_reported_when_executing_again_is_not_allowed() {
    let cluster = TestCluster::start();
    let (client, seating) = instance(&cluster).await;
    // Only what was computed on some transaction of its partition can conflict.
    commit(&client, seating.reserve(7, "Ada")).await;
    let same_partition = (8..).find(|seat| partition(*seat) == partition(7)).expect("there is one");
    cluster.fail_locks(2);
    let reserve = seating.reserve(same_partition, "Grace");
    let outcome = client.submit_with(reserve, SubmitOptions::default().retries(1)).await;
    assert!(matches!(outcome, Outcome::Failed(SubmitError::Conflict(_))), "{outcome:?}");
    assert_eq!(seating.guest(same_partition), None, "it is certain that nobody has it");
}

fn partition(seat: u64) -> waltz_client::PartitionId {
    use waltz_client::TransactionContext;
    Seating::default().reserve(seat, "").partition(TestClusterConfig::default().partitions)
}

#[tokio::test(start_paused = true)]
async fn who_gave_up_waiting_may_ask_again() {
    let cluster = TestCluster::start();
    let (client, seating) = instance(&cluster).await;
    client.flush().await.expect("the cluster answers");
    cluster.suspend_feeds();
    let patience = SubmitOptions::default().timeout(Duration::from_secs(2));
    let outcome = client.submit_with(seating.reserve(7, "Ada"), patience).await;
    assert!(matches!(outcome, Outcome::InDoubt(_)), "it was sent and nothing told: {outcome:?}");
    assert_eq!(seating.guest(7), None);
    cluster.resume_feeds();
    // It had been committed. The context looks, finds the seat taken and appends nothing.
    client.flush().await.expect("the cluster answers");
    let outcome = client.submit(seating.reserve(7, "Ada")).await;
    assert!(matches!(outcome, Outcome::Ignored), "{outcome:?}");
    assert_eq!(seating.guest(7).as_deref(), Some("Ada"));
}

#[tokio::test(start_paused = true)]
async fn a_new_instance_learns_everything_from_the_log() {
    let cluster = TestCluster::start();
    let (client, seating) = instance(&cluster).await;
    for seat in 0..20 {
        commit(&client, seating.reserve(seat, format!("guest {seat}"))).await;
    }
    client.close().await;
    cluster.restart().await;
    let (client, rebuilt) = instance(&cluster).await;
    client.flush().await.expect("the cluster answers");
    assert_eq!(rebuilt.guests(), seating.guests());
}

#[tokio::test(start_paused = true)]
async fn each_seat_is_sold_once_whatever_fails() {
    let config = TestClusterConfig { nodes: 3, replicas: 3, ..TestClusterConfig::default() };
    let cluster = TestCluster::start_with(config).expect("three nodes can keep three replicas");
    let instances = [instance(&cluster).await, instance(&cluster).await];
    cluster.set_failure_rate(0.2);
    cluster.set_latency(Duration::from_millis(2));
    let mut submissions = Vec::new();
    for seat in 0..30 {
        for (name, (client, seating)) in ["one", "other"].into_iter().zip(&instances) {
            submissions.push(client.submit(seating.reserve(seat, name)));
        }
    }
    cluster.drop_connections();
    let mut sold = 0;
    for submission in submissions {
        match submission.await {
            Outcome::Committed(_) => sold += 1,
            Outcome::Ignored => {}
            other => panic!("contexts are executed until they have an answer: {other:?}"),
        }
    }
    assert_eq!(sold, 30);
    for (client, _) in &instances {
        client.flush().await.expect("the cluster answers");
    }
    let [(_, one), (_, other)] = &instances;
    assert_eq!(one.guests().len(), 30);
    assert_eq!(one.guests(), other.guests());
}
