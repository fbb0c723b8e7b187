//! Versioned values and compare-and-set.

use bytes::Bytes;
use waltz_core::io::CoordinatorEvent;
use waltz_core::wire::{CoordinatorRefusal, FromCoordinator, ToCoordinator};

use super::{Node, Subject, key};

pub(super) async fn a_key_changes_only_as_expected(subject: &mut impl Subject) {
    let (mut one, mut other) = (Node::open(subject).await, Node::open(subject).await);
    let key = key("changes", "a");
    assert_eq!(one.get(&key).await, None);
    let first = one.set(&key, None, Some("first"), None).await.expect("there is none");
    let read = other.get(&key).await.expect("it is there");
    assert_eq!((read.revision, &read.value[..], read.lease), (first, &b"first"[..], None));
    let conflict = other.set(&key, None, Some("second"), None).await;
    assert_eq!(conflict, Err(Some(read.clone())), "it is there already");
    let second = other.set(&key, Some(first), Some("second"), None).await.expect("as expected");
    assert!(second > first, "revisions grow");
    let conflict = one.set(&key, Some(first), Some("third"), None).await;
    let current = conflict.expect_err("it was changed").expect("it is there");
    assert_eq!((current.revision, &current.value[..]), (second, &b"second"[..]));
    assert_eq!(one.set(&key, Some(first), None, None).await, Err(Some(current)), "nor deleted");
    one.set(&key, Some(second), None, None).await.expect("as expected");
    assert_eq!(other.get(&key).await, None);
    one.set(&key, None, None, None).await.expect("deleting what is not there changes nothing");
    assert_eq!(other.set(&key, Some(second), Some("x"), None).await, Err(None), "it is gone");
}

pub(super) async fn of_two_who_create_a_key_one_wins(subject: &mut impl Subject) {
    let (mut one, mut other) = (Node::open(subject).await, Node::open(subject).await);
    for round in 0..20 {
        let key = key("races", round);
        let asked = (
            one.ask_to_set(&key, None, Some("one"), None),
            other.ask_to_set(&key, None, Some("other"), None),
        );
        let (by_one, by_other) = (one.answer(asked.0).await, other.answer(asked.1).await);
        let current = one.get(&key).await;
        let (revision, value) = match (by_one, by_other) {
            (Ok(revision), Err(told)) if told == current => (revision, "one"),
            (Err(told), Ok(revision)) if told == current => (revision, "other"),
            answers => panic!("one has to win: {answers:?}"),
        };
        let current = current.expect("it is there");
        assert_eq!((current.revision, &current.value[..]), (revision, value.as_bytes()));
    }
}

pub(super) async fn a_deleted_key_is_not_the_one_before(subject: &mut impl Subject) {
    let mut node = Node::open(subject).await;
    let key = key("deleted", "a");
    let mut former = Vec::new();
    for _ in 0..3 {
        let revision = node.set(&key, None, Some("same"), None).await.expect("there is none");
        for former in &former {
            assert!(*former < revision, "revisions grow");
            let conflict = node.set(&key, Some(*former), Some("x"), None).await;
            let current = conflict.expect_err("another key").expect("it is there");
            assert_eq!((current.revision, &current.value[..]), (revision, &b"same"[..]));
        }
        node.set(&key, Some(revision), None, None).await.expect("as expected");
        former.push(revision);
    }
}

pub(super) async fn what_is_too_long_is_refused(subject: &mut impl Subject) {
    let mut node = Node::open(subject).await;
    let (long, short) = ("x".repeat(129), key("limits", "a"));
    let large = Bytes::from(vec![7; (128 << 10) + 1]);
    let set = |request, key: &str, value: &Bytes| ToCoordinator::CompareAndSet {
        request,
        key: key.to_owned(),
        expected: None,
        value: Some(value.clone()),
        lease: None,
    };
    let requests = [
        (set(901, &long, &Bytes::new()), Some(901), CoordinatorRefusal::KeyLength { limit: 128 }),
        (set(902, &short, &large), Some(902), CoordinatorRefusal::ValueLength { limit: 128 << 10 }),
        (
            ToCoordinator::Watch { prefix: long.clone() },
            None,
            CoordinatorRefusal::KeyLength { limit: 128 },
        ),
    ];
    for (request, number, reason) in requests {
        node.ask(request);
        let refused = FromCoordinator::Refused { request: number, reason };
        let refused = CoordinatorEvent::Message(refused);
        node.take("a refusal", |event| *event == refused).await;
    }
    let largest = "x".repeat(128 << 10);
    node.set(&short, None, Some(&largest), None).await.expect("it is not too long");
    let read = node.get(&short).await.expect("it is there");
    assert_eq!(read.value, largest.as_bytes());
}

pub(super) async fn many_requests_are_all_answered(subject: &mut impl Subject) {
    let mut node = Node::open(subject).await;
    let keys: Vec<_> = (0..500).map(|number| key("many", number)).collect();
    let asked: Vec<_> =
        keys.iter().map(|key| node.ask_to_set(key, None, Some("x"), None)).collect();
    for request in asked {
        node.answer(request).await.expect("each is another key");
    }
    // What is asked about one key is done in order.
    let revision = node.get(&keys[0]).await.expect("it is there").revision;
    let deleted = node.ask_to_set(&keys[0], Some(revision), None, None);
    let created = node.ask_to_set(&keys[0], None, Some("again"), None);
    assert!(node.answer(deleted).await.is_ok() && node.answer(created).await.is_ok());
    node.finish().await;
}
