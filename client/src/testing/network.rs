//! Connections within the process. Frames keep their order and are lost only with their connection.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use waltz_core::io::{Address, ConnectionId};
use waltz_core::time::Random;
use waltz_core::wire::Frame;
use waltz_runtime::{Net, NetEvent};

use super::faults::{Faults, Passed};

/// A process of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Process(u64);

/// One end of a connection.
pub(super) type End = (Process, ConnectionId);

/// All connections; clones share them.
#[derive(Clone)]
pub(super) struct Network(Arc<Mutex<State>>);

struct State {
    random: Random,
    latency: Duration,
    listeners: BTreeMap<Address, Process>,
    inboxes: BTreeMap<Process, Inbox>,
    /// The other end of each, while there is one.
    ends: BTreeMap<End, Option<End>>,
    faults: Faults,
    processes: u64,
    accepted: u64,
}

/// What is on its way to a process, by when it comes.
#[derive(Default)]
struct Inbox {
    events: VecDeque<(Instant, NetEvent)>,
    waker: Option<Waker>,
}

impl Network {
    pub(super) fn new(seed: u64, latency: Duration) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: Random::new(seed),
            latency,
            listeners: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            ends: BTreeMap::new(),
            faults: Faults::default(),
            processes: 0,
            accepted: 0,
        })))
    }

    /// The connections of a new process that only dials.
    pub(super) fn dialer(&self) -> TestNet {
        let mut state = self.lock();
        state.processes += 1;
        let process = Process(state.processes);
        state.inboxes.insert(process, Inbox::default());
        TestNet { network: self.clone(), process, alarm: None }
    }

    /// The connections of a new process that listens as well.
    pub(super) fn listener(&self, address: Address) -> TestNet {
        let net = self.dialer();
        self.lock().listeners.insert(address, net.process);
        net
    }

    pub(super) fn random(&self) -> u64 {
        self.lock().random.bits()
    }

    pub(super) fn set_latency(&self, latency: Duration) {
        self.lock().latency = latency;
    }

    /// Changes what goes wrong.
    pub(super) fn with_faults<T>(&self, change: impl FnOnce(&mut Faults) -> T) -> T {
        change(&mut self.lock().faults)
    }

    /// Sends on what was held back of the feeds.
    pub(super) fn resume_feeds(&self) {
        let state = &mut *self.lock();
        for (end, frames) in state.faults.resume() {
            for frame in frames {
                state.receive(end, frame);
            }
        }
    }

    /// Breaks all connections that clients have.
    pub(super) fn drop_clients(&self) {
        let state = &mut *self.lock();
        let clients = state.ends.keys().filter(|end| state.is_client(**end)).copied();
        for end in clients.collect::<Vec<_>>() {
            state.close(end, "dropped by the test");
            state.deliver(end.0, closed(end.1, "dropped by the test"));
            state.ends.insert(end, None);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl State {
    fn is_client(&self, (process, _): End) -> bool {
        !self.listeners.values().any(|listener| *listener == process)
    }

    fn connect(&mut self, end: End, address: &Address) {
        let Some(listener) = self.listeners.get(address).copied() else {
            self.ends.insert(end, None);
            return self.deliver(end.0, closed(end.1, "connection refused"));
        };
        self.accepted += 1;
        let other = (listener, ConnectionId::accepted(self.accepted));
        self.ends.extend([(end, Some(other)), (other, Some(end))]);
        for (process, conn) in [end, other] {
            self.deliver(process, NetEvent::Opened { conn, identity: None });
        }
    }

    fn send(&mut self, from: End, frame: Frame) {
        let Some(to) = self.ends.get(&from).copied().flatten() else { return };
        if self.is_client(from) {
            let Passed { frame, replies } = self.faults.on_request(frame, &mut self.random);
            for reply in replies {
                self.receive(from, reply);
            }
            if let Some(frame) = frame {
                self.receive(to, frame);
            }
        } else if let Some(frame) = self.faults.on_reply(to, frame) {
            self.receive(to, frame);
        }
    }

    fn receive(&mut self, (process, conn): End, frame: Frame) {
        self.deliver(process, NetEvent::Received { conn, frame });
    }

    /// One end is gone, and the other one hears of it.
    fn close(&mut self, end: End, reason: &str) {
        self.faults.closed(end);
        let other = self.ends.remove(&end).flatten();
        if let Some(other) = other {
            self.faults.closed(other);
            self.ends.insert(other, None);
            self.deliver(other.0, closed(other.1, reason));
        }
    }

    fn deliver(&mut self, to: Process, event: NetEvent) {
        let Some(inbox) = self.inboxes.get_mut(&to) else { return };
        let last = inbox.events.back().map(|(due, _)| *due);
        let due = Instant::now() + self.latency;
        inbox.events.push_back((last.map_or(due, |last| last.max(due)), event));
        if let Some(waker) = inbox.waker.take() {
            waker.wake();
        }
    }

    /// Moves what has come out of an inbox. When the next is due, if there is one.
    fn take(&mut self, process: Process, events: &mut Vec<NetEvent>) -> Option<Instant> {
        let inbox = self.inboxes.get_mut(&process)?;
        let now = Instant::now();
        while let Some((_, event)) = inbox.events.pop_front_if(|(due, _)| *due <= now) {
            let is_known = match &event {
                NetEvent::Opened { conn, .. } | NetEvent::Received { conn, .. } => {
                    self.ends.contains_key(&(process, *conn))
                }
                NetEvent::Closed { conn, .. } => self.ends.remove(&(process, *conn)).is_some(),
            };
            events.extend(is_known.then_some(event));
        }
        inbox.events.front().map(|(due, _)| *due)
    }
}

fn closed(conn: ConnectionId, reason: &str) -> NetEvent {
    NetEvent::Closed { conn, reason: reason.to_owned() }
}

/// The connections of one process. They end when it is dropped.
#[derive(Debug)]
pub(super) struct TestNet {
    network: Network,
    process: Process,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Net for TestNet {
    fn connect(&mut self, conn: ConnectionId, address: &Address) {
        self.network.lock().connect((self.process, conn), address);
    }

    fn send(&mut self, conn: ConnectionId, frame: Frame) {
        self.network.lock().send((self.process, conn), frame);
    }

    fn close(&mut self, conn: ConnectionId) {
        self.network.lock().close((self.process, conn), "closed by the peer");
    }

    fn flush(&mut self) {}

    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<NetEvent>) -> Poll<()> {
        loop {
            let (told, mut state) = (events.len(), self.network.lock());
            let next = state.take(self.process, events);
            if events.len() > told {
                return Poll::Ready(());
            }
            if let Some(inbox) = state.inboxes.get_mut(&self.process) {
                inbox.waker = Some(cx.waker().clone());
            }
            drop(state);
            let Some(due) = next else {
                self.alarm = None;
                return Poll::Pending;
            };
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if alarm.deadline() != due {
                alarm.as_mut().reset(due);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for TestNet {
    fn drop(&mut self) {
        let state = &mut *self.network.lock();
        state.inboxes.remove(&self.process);
        let own = state.ends.keys().filter(|(process, _)| *process == self.process);
        let own: Vec<_> = own.copied().collect();
        for end in own {
            state.close(end, "connection reset");
        }
        state.listeners.retain(|_, listener| *listener != self.process);
    }
}
