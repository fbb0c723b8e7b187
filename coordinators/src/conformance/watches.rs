//! Watches.

use std::time::Duration;

use waltz_core::coordinator::Revision;
use waltz_core::io::CoordinatorEvent;
use waltz_core::wire::{FromCoordinator, ToCoordinator};

use super::{Node, Subject, key};

/// Long enough for what must not come.
const A_WHILE: Duration = Duration::from_millis(300);

pub(super) async fn a_watch_begins_with_what_there_is(subject: &mut impl Subject) {
    let mut node = Node::open(subject).await;
    let mut expected = Vec::new();
    for name in ["in/a", "in/b", "out/c", "in"] {
        let key = key("snapshots", name);
        let revision = node.set(&key, None, Some(name), None).await.expect("there is none");
        expected.push((key, revision));
    }
    let all = node.watch(&key("snapshots", "in/")).await;
    let found: Vec<_> = all.iter().map(|(key, found)| (key.clone(), found.revision)).collect();
    assert_eq!(found, expected[..2], "what is under the prefix, and nothing else");
    assert_eq!(&all[1].1.value[..], b"in/b");
    assert!(node.watch(&key("snapshots", "none/")).await.is_empty());
}

pub(super) async fn changes_are_told_once_and_in_order(subject: &mut impl Subject) {
    let (mut writer, mut watcher) = (Node::open(subject).await, Node::open(subject).await);
    let (inside, outside) = (key("changes-told", "in/a"), key("changes-told", "out"));
    assert!(watcher.watch(&key("changes-told", "in/")).await.is_empty());
    let mut written: Vec<(Option<Revision>, Option<String>)> = Vec::new();
    let mut last = None;
    for number in 0..30 {
        writer.set(&outside, None, None, None).await.expect("it is not there");
        let value = (number % 5 != 3).then(|| number.to_string());
        let revision = writer.set(&inside, last, value.as_deref(), None).await;
        let revision = revision.expect("as expected");
        last = value.as_ref().map(|_| revision);
        written.push((last, value));
    }
    let outside = writer.set(&outside, None, Some("x"), None).await;
    outside.expect("nobody watches it");
    // A coordinator may leave out what was changed again before it was told: the last one counts.
    let mut told = Vec::new();
    while told.last() != written.last() {
        let (key, current) = watcher.changed().await;
        assert_eq!(key, inside, "what is watched, and nothing else");
        let value = current.as_ref().map(|current| {
            String::from_utf8(current.value.to_vec()).expect("what was written is text")
        });
        told.push((current.map(|current| current.revision), value));
    }
    let mut rest = written.iter();
    for change in &told {
        assert!(rest.any(|written| written == change), "{change:?} is out of order: {told:?}");
    }
    assert_eq!(watcher.changed_within(A_WHILE).await, None, "each is told once");
}

pub(super) async fn a_writer_sees_its_change_before_the_answer(subject: &mut impl Subject) {
    let mut node = Node::open(subject).await;
    let prefix = key("own", "");
    assert!(node.watch(&prefix).await.is_empty());
    for number in 0..20 {
        let key = key("own", number);
        let request = node.ask_to_set(&key, None, Some("x"), None);
        let revision = node.answer(request).await.expect("there is none");
        let before = node.rest();
        let saw = before.iter().any(|event| {
            matches!(event, CoordinatorEvent::Message(FromCoordinator::Changed { key: of, current })
                if *of == key && current.as_ref().map(|now| now.revision) == Some(revision))
        });
        assert!(saw, "the change of {key} comes before its answer: {before:?}");
    }
}

pub(super) async fn a_new_connection_starts_over(subject: &mut impl Subject) {
    let mut node = Node::open(subject).await;
    let key = key("again", "a");
    let first = node.set(&key, None, Some("first"), None).await.expect("there is none");
    assert_eq!(node.watch(&key).await.len(), 1);
    subject.cut(true).await;
    node.lost().await;
    // What is asked now is not answered, later neither.
    let unheard = node.ask_to_set(&key, Some(first), Some("unheard"), None);
    subject.cut(false).await;
    node.connected().await;
    let second = node.set(&key, Some(first), Some("second"), None).await.expect("as expected");
    assert_eq!(node.changed_within(A_WHILE).await, None, "the watch ended with its connection");
    let unheard = node.rest().into_iter().any(|event| {
        matches!(event, CoordinatorEvent::Message(FromCoordinator::Set { request, .. })
            if request == unheard)
    });
    assert!(!unheard, "what was asked without a connection is not done later");
    node.ask(ToCoordinator::Watch { prefix: key.clone() });
    let begins = |event: &CoordinatorEvent| {
        matches!(event, CoordinatorEvent::Message(FromCoordinator::Snapshot { entries, .. })
            if entries.iter().map(|(_, entry)| entry.revision).eq([second]))
    };
    node.take("a snapshot of what is now", begins).await;
}
