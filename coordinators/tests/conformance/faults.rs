//! What servers and nodes come to, and what becomes of leases then.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use waltz_coordinators::{CoordinatorAddress, Engine};
use waltz_core::coordinator::LeaseId;
use waltz_databases::{CoordinatorKind, CoordinatorServer};

use crate::node::Node;
use crate::proxy::Proxy;

const LEASE: LeaseId = LeaseId(0xfeed_0000_0000_0001);
const TTL: Duration = Duration::from_secs(3);
/// A lease that outlives what happens here.
const LONG_TTL: Duration = Duration::from_secs(15);
/// How much later than its time a lease may end.
const LATE: Duration = Duration::from_secs(2);

fn start(kind: CoordinatorKind) -> (CoordinatorServer, CoordinatorAddress) {
    let server = CoordinatorServer::start(kind).expect("a server");
    let address = server.address().parse().expect("it has an address");
    (server, address)
}

fn through(proxy: &Proxy, kind: CoordinatorKind) -> CoordinatorAddress {
    let engine = match kind {
        CoordinatorKind::Etcd => Engine::Etcd,
        CoordinatorKind::ZooKeeper => Engine::ZooKeeper,
    };
    CoordinatorAddress::new(engine, [proxy.address()]).expect("a proxy is a member")
}

async fn a_killed_server_comes_back_with_everything(kind: CoordinatorKind) {
    let (server, address) = start(kind);
    let mut node = Node::open(&address).await;
    node.keep_alive(LEASE, TTL).await;
    let leased = node.set("leased", None, Some(LEASE)).await.expect("it lives");
    let permanent = node.set("permanent", None, None).await.expect("there is none");
    server.kill().expect("it dies");
    node.lost_while_kept_alive(LEASE, TTL).await;
    // However long it is away: without it no time is over for a lease.
    sleep(TTL + LATE).await;
    server.restart().expect("it comes back");
    node.connected().await;
    node.keep_alive(LEASE, TTL).await;
    assert_eq!(node.revision("leased").await, Some(leased));
    assert_eq!(node.revision("permanent").await, Some(permanent));
    node.set("leased", Some(leased), Some(LEASE)).await.expect("its holder holds it");
}

async fn a_halted_server_ends_no_lease_before_its_time(kind: CoordinatorKind) {
    let (server, address) = start(kind);
    let mut node = Node::open(&address).await;
    node.keep_alive(LEASE, LONG_TTL).await;
    let leased = node.set("leased", None, Some(LEASE)).await.expect("it lives");
    server.pause().expect("it halts");
    node.lost_while_kept_alive(LEASE, LONG_TTL).await;
    server.resume().expect("it goes on");
    node.connected().await;
    node.keep_alive(LEASE, LONG_TTL).await;
    assert_eq!(node.revision("leased").await, Some(leased));
    node.set("leased", Some(leased), Some(LEASE)).await.expect("its holder holds it");
}

async fn a_node_finds_its_way_back_after_its_lease_ended(kind: CoordinatorKind) {
    let (server, address) = start(kind);
    let mut node = Node::open(&address).await;
    node.keep_alive(LEASE, TTL).await;
    node.set("leased", None, Some(LEASE)).await.expect("it lives");
    server.pause().expect("it halts");
    node.lost_while_kept_alive(LEASE, TTL).await;
    sleep(TTL + LATE).await;
    server.resume().expect("it goes on");
    node.connected().await;
    node.keep_alive(LEASE, TTL).await;
    // Engines differ in whether a lease outlives a halt of their own.
    let current = node.revision("leased").await;
    node.set("leased", current, Some(LEASE)).await.expect("as expected, and the lease lives");
}

async fn a_cut_shorter_than_a_lease_does_not_end_it(kind: CoordinatorKind) {
    let (server, _) = start(kind);
    let proxy = Proxy::start(format!("127.0.0.1:{}", server.port())).await;
    let mut node = Node::open(&through(&proxy, kind)).await;
    let ttl = 2 * TTL;
    node.keep_alive(LEASE, ttl).await;
    let leased = node.set("leased", None, Some(LEASE)).await.expect("it lives");
    node.keep_alive(LEASE, ttl).await;
    proxy.cut(true);
    // So long that whoever tries again less and less often would come too late.
    let end = Instant::now() + 13 * ttl / 20;
    node.lost_while_kept_alive(LEASE, ttl).await;
    sleep(end.duration_since(Instant::now())).await;
    proxy.cut(false);
    node.connected().await;
    let end = Instant::now() + ttl;
    while Instant::now() < end {
        node.keep_alive(LEASE, ttl).await;
        assert_eq!(node.revision("leased").await, Some(leased), "the lease lives on");
        sleep(ttl / 6).await;
    }
}

async fn a_node_that_just_stops_loses_its_lease_in_time(kind: CoordinatorKind) {
    let (_server, address) = start(kind);
    let (mut node, mut other) = (Node::open(&address).await, Node::open(&address).await);
    node.keep_alive(LEASE, TTL).await;
    node.set("leased", None, Some(LEASE)).await.expect("it lives");
    assert!(other.watch("leased").await);
    let asked = Instant::now();
    node.keep_alive(LEASE, TTL).await;
    let kept = Instant::now();
    drop(node);
    other.gone("leased").await;
    assert!(asked.elapsed() >= TTL, "it ended after {:?} already", asked.elapsed());
    assert!(kept.elapsed() <= TTL + LATE, "it ended after {:?} only", kept.elapsed());
}

async fn a_lease_is_kept_by_whoever_prolongs_it(kind: CoordinatorKind) {
    let (_server, address) = start(kind);
    let (mut node, mut other) = (Node::open(&address).await, Node::open(&address).await);
    node.keep_alive(LEASE, TTL).await;
    let leased = node.set("leased", None, Some(LEASE)).await.expect("it lives");
    other.keep_alive(LEASE, TTL).await;
    drop(node);
    let end = Instant::now() + TTL + LATE;
    while Instant::now() < end {
        sleep(TTL / 6).await;
        other.keep_alive(LEASE, TTL).await;
        assert_eq!(other.revision("leased").await, Some(leased), "the lease lives on");
    }
    other.set("leased", Some(leased), Some(LEASE)).await.expect("who prolongs it holds it");
}

macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod etcd {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(waltz_databases::CoordinatorKind::Etcd).await;
                }
            )*
        }

        mod zookeeper {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(waltz_databases::CoordinatorKind::ZooKeeper).await;
                }
            )*
        }
    };
}

on_both!(
    a_killed_server_comes_back_with_everything,
    a_halted_server_ends_no_lease_before_its_time,
    a_node_finds_its_way_back_after_its_lease_ended,
    a_cut_shorter_than_a_lease_does_not_end_it,
    a_node_that_just_stops_loses_its_lease_in_time,
    a_lease_is_kept_by_whoever_prolongs_it,
);
