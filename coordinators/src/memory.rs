//! The embedded coordinator's machine outside of any node, in memory: for tests and simulations of
//! nodes whose coordinator is outside. What it decides is durable at once, and gone with it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use waltz_core::coordinator::Coordinator;
use waltz_core::io::{self, Caller, ConnectionId, CoordinatorEvent, Tickets};
use waltz_core::time::{Random, Time};
use waltz_core::wire::{FromCoordinator, ToCoordinator};
use waltz_runtime::{CoordinatorPort, Timer};

/// A coordinator in memory; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryCoordinator(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    machine: Coordinator,
    tickets: Tickets,
    ports: BTreeMap<ConnectionId, Line>,
    opened: u64,
}

/// The way to one port.
#[derive(Debug, Default)]
struct Line {
    events: VecDeque<CoordinatorEvent>,
    is_cut: bool,
    waker: Option<Waker>,
}

/// A node's end of the way to a coordinator in memory.
pub struct MemoryPort<T: Timer> {
    coordinator: MemoryCoordinator,
    conn: ConnectionId,
    timer: T,
}

impl MemoryCoordinator {
    /// A coordinator that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another node's way to it. All timers have to be of one clock.
    pub fn open<T: Timer>(&self, timer: T) -> MemoryPort<T> {
        let mut state = self.lock();
        let conn = ConnectionId::accepted(state.opened);
        state.opened += 1;
        let events = VecDeque::from([CoordinatorEvent::Connected]);
        state.ports.insert(conn, Line { events, ..Line::default() });
        MemoryPort { coordinator: self.clone(), conn, timer }
    }

    /// Cuts a port's connection, or lets it connect again. Leases know nothing of it.
    pub fn cut(&self, port: ConnectionId, is_cut: bool) {
        self.lock().cut(port, is_cut);
    }

    /// Cuts the connections of all ports that there are, or lets them connect again.
    pub fn cut_all(&self, is_cut: bool) {
        let mut state = self.lock();
        let ports: Vec<_> = state.ports.keys().copied().collect();
        ports.into_iter().for_each(|port| state.cut(port, is_cut));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn cut(&mut self, conn: ConnectionId, is_cut: bool) {
        let Some(line) = self.ports.get_mut(&conn) else { return };
        if std::mem::replace(&mut line.is_cut, is_cut) == is_cut {
            return;
        }
        line.tell(match is_cut {
            true => CoordinatorEvent::Lost { reason: "the connection was cut".to_owned() },
            false => CoordinatorEvent::Connected,
        });
        if is_cut {
            self.machine.on_closed(Caller::Peer(conn));
        }
    }

    fn step(
        &mut self,
        now: Time,
        act: impl FnOnce(&mut Coordinator, &mut io::Context<'_>, &mut Vec<(Caller, FromCoordinator)>),
    ) {
        // The machine draws nothing.
        let (mut random, mut effects, mut replies) = (Random::new(0), Vec::new(), Vec::new());
        let tickets = &mut self.tickets;
        let mut cx = io::Context { now, random: &mut random, tickets, effects: &mut effects };
        act(&mut self.machine, &mut cx, &mut replies);
        self.machine.on_durable(self.tickets.appended, &mut replies);
        for (to, message) in replies {
            if let Caller::Peer(conn) = to
                && let Some(line) = self.ports.get_mut(&conn).filter(|line| !line.is_cut)
            {
                line.tell(CoordinatorEvent::Message(message));
            }
        }
        // Whoever looks after the next lease that is due may have to look sooner.
        self.ports.values_mut().for_each(Line::wake);
    }
}

impl Line {
    fn tell(&mut self, event: CoordinatorEvent) {
        self.events.push_back(event);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl<T: Timer> MemoryPort<T> {
    /// Its name at the coordinator.
    pub fn id(&self) -> ConnectionId {
        self.conn
    }
}

impl<T: Timer> CoordinatorPort for MemoryPort<T> {
    fn ask(&mut self, request: ToCoordinator) {
        let mut state = self.coordinator.lock();
        if state.ports.get(&self.conn).is_some_and(|line| !line.is_cut) {
            let (now, caller) = (self.timer.now(), Caller::Peer(self.conn));
            state.step(now, |machine, cx, out| machine.on_request(cx, caller, request, out));
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<CoordinatorEvent>) -> Poll<()> {
        let mut state = self.coordinator.lock();
        loop {
            let deadline = state.machine.deadline();
            let Some(line) = state.ports.get_mut(&self.conn) else { return Poll::Pending };
            if !line.events.is_empty() {
                events.extend(line.events.drain(..));
                return Poll::Ready(());
            }
            line.waker = Some(cx.waker().clone());
            if deadline.is_none() || self.timer.poll_until(cx, deadline).is_pending() {
                return Poll::Pending;
            }
            let now = self.timer.now();
            state.step(now, Coordinator::on_timer);
        }
    }

    fn poll_finished(&mut self, _: &mut Context<'_>) -> Poll<()> {
        // It answers within the call.
        Poll::Ready(())
    }
}

impl<T: Timer> fmt::Debug for MemoryPort<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryPort").field("conn", &self.conn).finish_non_exhaustive()
    }
}

impl<T: Timer> Drop for MemoryPort<T> {
    fn drop(&mut self) {
        let mut state = self.coordinator.lock();
        state.ports.remove(&self.conn);
        state.machine.on_closed(Caller::Peer(self.conn));
    }
}
