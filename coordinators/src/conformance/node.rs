//! What a node does with its port.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use waltz_core::coordinator::{Key, LeaseId, Revision, Versioned};
use waltz_core::io::CoordinatorEvent;
use waltz_core::time::Time;
use waltz_core::wire::{FromCoordinator, ToCoordinator};
use waltz_runtime::{CoordinatorPort, Timer};

use super::Subject;

/// How long anything may take that takes no time by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node that asks one thing after the other.
pub(super) struct Node<T> {
    port: Box<dyn CoordinatorPort>,
    timer: T,
    /// What came and was not looked at.
    events: VecDeque<CoordinatorEvent>,
    last_request: u64,
}

impl<T: Timer> Node<T> {
    pub(super) async fn open<S: Subject<Timer = T>>(subject: &mut S) -> Self {
        let (port, timer) = (subject.open(), subject.timer());
        let mut node = Self { port, timer, events: VecDeque::new(), last_request: 0 };
        node.connected().await;
        node
    }

    pub(super) fn now(&self) -> Time {
        self.timer.now()
    }

    /// Waits until it is connected.
    pub(super) async fn connected(&mut self) {
        self.take("to be connected", |event| matches!(event, CoordinatorEvent::Connected)).await;
    }

    /// Waits until the connection is lost.
    pub(super) async fn lost(&mut self) {
        let lost = |event: &CoordinatorEvent| matches!(event, CoordinatorEvent::Lost { .. });
        self.take("to lose the connection", lost).await;
    }

    pub(super) fn ask(&mut self, request: ToCoordinator) {
        self.port.ask(request);
    }

    /// Asks for a change, and does not wait.
    pub(super) fn ask_to_set(
        &mut self,
        key: &Key,
        expected: Option<Revision>,
        value: Option<&str>,
        lease: Option<LeaseId>,
    ) -> u64 {
        self.last_request += 1;
        self.ask(ToCoordinator::CompareAndSet {
            request: self.last_request,
            key: key.clone(),
            expected,
            value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
            lease,
        });
        self.last_request
    }

    /// The answer to a request; `Err`: a conflict with this.
    pub(super) async fn answer(&mut self, number: u64) -> Result<Revision, Option<Versioned>> {
        let answers = |event: &CoordinatorEvent| {
            matches!(event, CoordinatorEvent::Message(
                FromCoordinator::Set { request, .. } | FromCoordinator::Conflict { request, .. },
            ) if *request == number)
        };
        match self.take("an answer", answers).await {
            CoordinatorEvent::Message(FromCoordinator::Set { revision, .. }) => Ok(revision),
            CoordinatorEvent::Message(FromCoordinator::Conflict { current, .. }) => Err(current),
            other => unreachable!("no answer: {other:?}"),
        }
    }

    pub(super) async fn set(
        &mut self,
        key: &Key,
        expected: Option<Revision>,
        value: Option<&str>,
        lease: Option<LeaseId>,
    ) -> Result<Revision, Option<Versioned>> {
        let request = self.ask_to_set(key, expected, value, lease);
        self.answer(request).await
    }

    pub(super) async fn get(&mut self, key: &Key) -> Option<Versioned> {
        self.last_request += 1;
        let number = self.last_request;
        self.ask(ToCoordinator::Get { request: number, key: key.clone() });
        let answers = |event: &CoordinatorEvent| {
            matches!(event, CoordinatorEvent::Message(FromCoordinator::Value { request, .. })
                if *request == number)
        };
        match self.take("a value", answers).await {
            CoordinatorEvent::Message(FromCoordinator::Value { current, .. }) => current,
            other => unreachable!("no value: {other:?}"),
        }
    }

    /// Watches; what there is, by key.
    pub(super) async fn watch(&mut self, prefix: &Key) -> Vec<(Key, Versioned)> {
        self.ask(ToCoordinator::Watch { prefix: prefix.clone() });
        let begins = |event: &CoordinatorEvent| {
            matches!(event, CoordinatorEvent::Message(FromCoordinator::Snapshot { prefix: of, .. })
                if of == prefix)
        };
        match self.take("a snapshot", begins).await {
            CoordinatorEvent::Message(FromCoordinator::Snapshot { mut entries, .. }) => {
                entries.sort_by(|(one, _), (other, _)| one.cmp(other));
                entries
            }
            other => unreachable!("no snapshot: {other:?}"),
        }
    }

    /// Keeps a lease alive, and waits until it is.
    pub(super) async fn keep_alive(&mut self, lease: LeaseId, ttl: Duration) {
        self.ask(ToCoordinator::KeepAlive { lease, ttl_ms: ttl.as_millis() as u32 });
        let alive = |event: &CoordinatorEvent| {
            matches!(event, CoordinatorEvent::Message(FromCoordinator::Alive { lease: of })
                if *of == lease)
        };
        self.take("a lease", alive).await;
    }

    /// The next change that is told.
    pub(super) async fn changed(&mut self) -> (Key, Option<Versioned>) {
        self.changed_within(PATIENCE).await.expect("a change is told")
    }

    /// The next change that is told within a time.
    pub(super) async fn changed_within(
        &mut self,
        patience: Duration,
    ) -> Option<(Key, Option<Versioned>)> {
        let change = |event: &CoordinatorEvent| {
            matches!(event, CoordinatorEvent::Message(FromCoordinator::Changed { .. }))
        };
        match self.take_within(patience, change).await? {
            CoordinatorEvent::Message(FromCoordinator::Changed { key, current }) => {
                Some((key, current))
            }
            other => unreachable!("no change: {other:?}"),
        }
    }

    /// Everything that was told and not looked at, in order.
    pub(super) fn rest(&mut self) -> Vec<CoordinatorEvent> {
        std::mem::take(&mut self.events).into()
    }

    /// Waits until everything asked has ended.
    pub(super) async fn finish(&mut self) {
        poll_fn(|cx| self.port.poll_finished(cx)).await;
    }

    pub(super) async fn pause(&mut self, duration: Duration) {
        let never = |_: &CoordinatorEvent| false;
        assert!(self.take_within(duration, never).await.is_none());
    }

    pub(super) async fn take(
        &mut self,
        what: &str,
        wanted: impl Fn(&CoordinatorEvent) -> bool,
    ) -> CoordinatorEvent {
        match self.take_within(PATIENCE, wanted).await {
            Some(event) => event,
            None => panic!("waited in vain for {what}; came instead: {:?}", self.events),
        }
    }

    /// Takes the first event that is wanted out of those that came.
    async fn take_within(
        &mut self,
        patience: Duration,
        wanted: impl Fn(&CoordinatorEvent) -> bool,
    ) -> Option<CoordinatorEvent> {
        let deadline = Some(self.timer.now() + patience);
        let mut fresh = Vec::new();
        poll_fn(|cx| {
            loop {
                if let Some(place) = self.events.iter().position(&wanted) {
                    return Poll::Ready(self.events.remove(place));
                }
                if self.port.poll(cx, &mut fresh).is_pending() {
                    return self.timer.poll_until(cx, deadline).map(|()| None);
                }
                self.events.extend(fresh.drain(..));
            }
        })
        .await
    }
}
