//! Leases and the keys that live with them.

use std::time::Duration;

use waltz_core::coordinator::LeaseId;
use waltz_core::wire::ToCoordinator;

use super::{Node, Subject, key};

const TTL: Duration = Duration::from_secs(3);
/// How much later than its time a lease may end.
const LATE: Duration = Duration::from_secs(3);

/// Leases are drawn at random from all 64 bits.
fn lease(number: u64) -> LeaseId {
    LeaseId((1 << 63 | number) ^ 0x5eed_0000_0000)
}

pub(super) async fn a_lease_keeps_its_keys_while_it_is_kept_alive(subject: &mut impl Subject) {
    let (mut node, mut watcher) = (Node::open(subject).await, Node::open(subject).await);
    let (key, lease) = (key("kept", "a"), lease(1));
    assert!(watcher.watch(&key).await.is_empty());
    node.keep_alive(lease, TTL).await;
    node.set(&key, None, Some("x"), Some(lease)).await.expect("the lease is alive");
    let (_, current) = watcher.changed().await;
    assert_eq!(current.expect("it is there").lease, Some(lease));
    for _ in 0..5 {
        node.pause(TTL / 3).await;
        node.keep_alive(lease, TTL).await;
    }
    let kept = node.now();
    assert_eq!(watcher.changed_within(Duration::ZERO).await, None, "it lives");
    let gone = watcher.changed_within(TTL + LATE).await;
    assert_eq!(gone, Some((key.clone(), None)), "it ends without being kept alive");
    let lived = watcher.now() - kept;
    assert!(lived + Duration::from_millis(200) >= TTL, "it ended after {lived:?} already");
    assert_eq!(node.get(&key).await, None);
}

pub(super) async fn a_lease_that_is_given_back_ends_at_once(subject: &mut impl Subject) {
    let (mut node, mut watcher) = (Node::open(subject).await, Node::open(subject).await);
    let (keys, lease) = ([key("released", "a"), key("released", "b")], lease(2));
    node.keep_alive(lease, 20 * TTL).await;
    for key in &keys {
        node.set(key, None, Some("x"), Some(lease)).await.expect("the lease is alive");
    }
    assert_eq!(watcher.watch(&key("released", "")).await.len(), 2);
    node.ask(ToCoordinator::Release { lease });
    node.finish().await;
    let mut gone = Vec::new();
    for _ in &keys {
        let (key, current) = watcher.changed_within(TTL).await.expect("both end");
        assert_eq!(current, None);
        gone.push(key);
    }
    gone.sort();
    assert_eq!(gone, keys);
}

pub(super) async fn a_dead_lease_holds_no_key(subject: &mut impl Subject) {
    let (mut node, mut other) = (Node::open(subject).await, Node::open(subject).await);
    let (key, lease) = (key("dead", "a"), lease(3));
    let never = node.set(&key, None, Some("x"), Some(lease)).await;
    assert_eq!(never, Err(None), "it never lived");
    node.keep_alive(lease, TTL).await;
    let first = node.set(&key, None, Some("x"), Some(lease)).await.expect("it lives");
    node.ask(ToCoordinator::Release { lease });
    let dead = node.set(&key, None, Some("y"), Some(lease)).await;
    assert_eq!(dead, Err(None), "it is dead, and its key gone");
    let second = other.set(&key, None, Some("z"), None).await.expect("the key is gone");
    assert!(second > first);
}

pub(super) async fn a_dead_lease_comes_back_without_its_keys(subject: &mut impl Subject) {
    let (mut node, mut watcher) = (Node::open(subject).await, Node::open(subject).await);
    let (key, lease) = (key("back", "a"), lease(4));
    assert!(watcher.watch(&key).await.is_empty());
    node.keep_alive(lease, TTL).await;
    node.set(&key, None, Some("x"), Some(lease)).await.expect("it lives");
    assert!(watcher.changed().await.1.is_some());
    let gone = watcher.changed_within(TTL + LATE).await;
    assert_eq!(gone, Some((key.clone(), None)), "it ends");
    node.keep_alive(lease, TTL).await;
    assert_eq!(node.get(&key).await, None, "its key was not kept for it");
    let again = node.set(&key, None, Some("y"), Some(lease)).await.expect("it lives again");
    let (_, current) = watcher.changed().await;
    assert_eq!(current.expect("it is there").revision, again);
}

pub(super) async fn a_lost_connection_ends_no_lease(subject: &mut impl Subject) {
    let (mut node, mut watcher) = (Node::open(subject).await, Node::open(subject).await);
    let (key, lease, ttl) = (key("cut", "a"), lease(5), 3 * TTL);
    node.keep_alive(lease, ttl).await;
    let revision = node.set(&key, None, Some("x"), Some(lease)).await.expect("it lives");
    // Nodes watch: it is how they notice that they are alone.
    assert_eq!((node.watch(&key).await.len(), watcher.watch(&key).await.len()), (1, 1));
    subject.cut(true).await;
    node.lost().await;
    watcher.lost().await;
    node.pause(ttl / 6).await;
    subject.cut(false).await;
    node.connected().await;
    watcher.connected().await;
    node.keep_alive(lease, ttl).await;
    let found = watcher.watch(&key).await;
    assert_eq!(found.len(), 1, "the lease lives");
    assert_eq!((found[0].1.revision, found[0].1.lease), (revision, Some(lease)));
    let second = node.set(&key, Some(revision), Some("y"), Some(lease)).await;
    let second = second.expect("its holder still holds it");
    let (_, current) = watcher.changed().await;
    assert_eq!(current.expect("it is there").revision, second);
    node.ask(ToCoordinator::Release { lease });
    assert_eq!(watcher.changed().await, (key, None));
}

pub(super) async fn a_lease_lives_through_many_requests(subject: &mut impl Subject) {
    let (mut node, mut watcher) = (Node::open(subject).await, Node::open(subject).await);
    let (held, lease) = (key("busy", "held"), lease(6));
    node.keep_alive(lease, TTL).await;
    node.set(&held, None, Some("x"), Some(lease)).await.expect("it lives");
    assert_eq!(watcher.watch(&held).await.len(), 1);
    let mut asked = Vec::new();
    for number in 0..2000 {
        let key = key("busy", number);
        asked.push(node.ask_to_set(&key, None, Some("x"), None));
    }
    let mut kept = node.now();
    for request in asked {
        node.answer(request).await.expect("each is another key");
        if node.now() - kept >= TTL / 3 {
            kept = node.now();
            node.keep_alive(lease, TTL).await;
        }
    }
    assert_eq!(watcher.changed_within(Duration::ZERO).await, None, "it lives");
    node.ask(ToCoordinator::Release { lease });
    assert_eq!(watcher.changed().await, (held, None));
}
