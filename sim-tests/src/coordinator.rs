//! A coordinator outside of the cluster: as far from each node as another host is, and never down.
//!
//! It is the embedded coordinator's machine, by the true clock. What passes between it and a node
//! takes its time; connections are cut.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use waltz_coordinators::{MemoryCoordinator, MemoryPort};
use waltz_core::io::{ConnectionId, CoordinatorEvent};
use waltz_core::time::{Random, Time};
use waltz_core::wire::ToCoordinator;
use waltz_runtime::{CoordinatorPort, Timer};
use waltz_runtime_sim::{SimWorld, TrueTimer};

/// How long a message takes, in microseconds: usually, and one in so many.
const USUAL: (u64, u64) = (50, 2_000);
const SLOW: (u64, u64) = (2_000, 400_000);
const SLOW_ONES: u64 = 40;

/// The coordinator; clones share it.
#[derive(Clone)]
pub(crate) struct Outside {
    world: SimWorld,
    machine: MemoryCoordinator,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Default)]
struct Lines {
    /// The newest port of each node.
    ports: BTreeMap<u32, ConnectionId>,
    cut: BTreeSet<u32>,
}

impl Outside {
    /// A coordinator that knows nothing, in a simulation that runs.
    pub(crate) fn start(world: SimWorld) -> Self {
        let machine = MemoryCoordinator::new();
        let (mut port, mut events) = (machine.open(world.timer()), Vec::new());
        // It looks after its leases whoever is alive.
        drop(madsim::task::spawn(async move {
            loop {
                poll_fn(|cx| port.poll(cx, &mut events)).await;
                events.clear();
            }
        }));
        Self { world, machine, lines: Arc::default() }
    }

    /// The way of a node that is booted.
    pub(crate) fn port(&self, index: u32) -> SimPort {
        let port = self.machine.open(self.world.timer());
        let mut lines = self.lock();
        lines.ports.insert(index, port.id());
        if lines.cut.contains(&index) {
            self.machine.cut(port.id(), true);
        }
        let (random, timer) = (self.world.random(), self.world.timer());
        SimPort { port, random, timer, up: Way::default(), down: Way::default() }
    }

    /// Cuts a node's connection, or lets it connect again.
    pub(crate) fn cut(&self, index: u32, is_cut: bool) {
        let mut lines = self.lock();
        let changes = if is_cut { lines.cut.insert(index) } else { lines.cut.remove(&index) };
        if let Some(port) = lines.ports.get(&index).filter(|_| changes) {
            self.machine.cut(*port, is_cut);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node's way to the coordinator.
pub(crate) struct SimPort {
    port: MemoryPort<TrueTimer>,
    random: Random,
    timer: TrueTimer,
    up: Way<ToCoordinator>,
    down: Way<CoordinatorEvent>,
}

/// What is under way in one direction, in order, each with its arrival.
struct Way<M>(VecDeque<(Time, M)>);

impl<M> Default for Way<M> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<M> Way<M> {
    fn send(&mut self, at: Time, message: M) {
        let last = self.0.back().map_or(Time::ZERO, |(last, _)| *last);
        self.0.push_back((at.max(last), message));
    }

    fn arrived(&mut self, now: Time) -> Option<M> {
        Some(self.0.pop_front_if(|(at, _)| *at <= now)?.1)
    }

    fn next(&self) -> Option<Time> {
        Some(self.0.front()?.0)
    }
}

impl SimPort {
    fn arrival(&mut self) -> Time {
        let is_slow = self.random.bits().is_multiple_of(SLOW_ONES);
        let (low, high) = if is_slow { SLOW } else { USUAL };
        let (low, high) = (Duration::from_micros(low), Duration::from_micros(high));
        self.timer.now() + self.random.between(low, high)
    }
}

impl fmt::Debug for SimPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimPort").field("port", &self.port).finish_non_exhaustive()
    }
}

impl CoordinatorPort for SimPort {
    fn ask(&mut self, request: ToCoordinator) {
        let at = self.arrival();
        self.up.send(at, request);
    }

    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<CoordinatorEvent>) -> Poll<()> {
        let mut fresh = Vec::new();
        loop {
            let now = self.timer.now();
            while let Some(request) = self.up.arrived(now) {
                self.port.ask(request);
            }
            while self.port.poll(cx, &mut fresh).is_ready() {}
            for event in fresh.drain(..) {
                if !matches!(event, CoordinatorEvent::Message(_)) {
                    // What was under way on a connection is lost with it.
                    self.up = Way::default();
                }
                let at = self.arrival();
                self.down.send(at, event);
            }
            while let Some(event) = self.down.arrived(now) {
                events.push(event);
            }
            if !events.is_empty() {
                return Poll::Ready(());
            }
            let next = self.up.next().into_iter().chain(self.down.next()).min();
            if next.is_none() || self.timer.poll_until(cx, next).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn poll_finished(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Nobody takes what is still told.
        while self.poll(cx, &mut Vec::new()).is_ready() {}
        if self.up.0.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use waltz_coordinators::conformance::{self, Subject};
    use waltz_runtime_sim::simulate;

    use super::*;

    struct Simulated {
        outside: Outside,
        opened: u32,
    }

    impl Subject for Simulated {
        type Timer = TrueTimer;

        fn open(&mut self) -> Box<dyn CoordinatorPort> {
            self.opened += 1;
            Box::new(self.outside.port(self.opened))
        }

        fn timer(&self) -> TrueTimer {
            self.outside.world.timer()
        }

        async fn cut(&mut self, is_cut: bool) {
            (1..=self.opened).for_each(|index| self.outside.cut(index, is_cut));
        }
    }

    #[test]
    fn the_simulated_coordinator_conforms() {
        for seed in 0..20 {
            simulate(seed, Duration::from_secs(600), |world| async move {
                let mut subject = Simulated { outside: Outside::start(world), opened: 0 };
                conformance::run(&mut subject, |_| {}).await;
            });
        }
    }
}
