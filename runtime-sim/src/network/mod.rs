//! The network between simulated hosts.
//!
//! A connection looks to its processes like TCP: bytes in order, until it ends. Below, packets
//! are lost, delayed, duplicated and overtake each other, each direction of each pair of hosts
//! for itself; a lost one is sent again after a growing time-out, as is one whose acknowledgement
//! is lost. So a process sees delays, stalls, resets with a lost tail, and half-open connections:
//!
//! - A cut is silence. What is sent into it stalls until the cut heals, or until the sender runs
//!   out of patience and closes its own end. The other end learns nothing: it stays open until it
//!   sends something itself and is answered by a reset.
//! - A one-way cut also swallows acknowledgements: the peer has received what the sender takes
//!   for lost.
//! - A dial into a cut hangs and times out; one to a host where nothing listens is refused.
//! - A killed process resets its connections, a host that lost power is silent until it is back;
//!   either may take what was under way along.
//! - A close delivers what was sent before it, unless the peer is still sending: then a reset may
//!   overtake it.
//!
//! Frames pass as bytes, cut anywhere, through the codec that real connections use. There is no
//! flow control, which a process could observe only as delay.

mod calls;
mod connection;
mod engine;
mod link;
mod net;
mod stream;

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use waltz_core::io::Address;
use waltz_core::time::Random;

use crate::alarm::VirtualTime;
use crate::fault::{Chance, Crash};
use crate::trace::Trace;
use engine::Engine;

pub use link::Quality;
pub use net::SimNet;

/// A host, by the order in which it was first named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct HostId(usize);

/// One process' set of connections; a restarted process has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct NetId(u64);

/// The network and its faults; clones share it.
#[derive(Clone)]
pub struct Network(Arc<Mutex<Engine>>);

impl Network {
    /// A network without faults. Its packets are moved by a task of the simulation's main node,
    /// which no kill reaches.
    pub(crate) fn new(time: VirtualTime, random: Random, trace: Trace) -> Self {
        let network = Self(Arc::new(Mutex::new(Engine::new(time, random, trace))));
        let engine = Arc::downgrade(&network.0);
        madsim::task::spawn(poll_fn(move |cx| match engine.upgrade() {
            Some(engine) => {
                lock(&engine).drive(cx);
                Poll::Pending
            }
            None => Poll::Ready(()),
        }));
        network
    }

    /// The connections of a process that listens at its host's address. One that listened there
    /// before no longer does.
    pub(crate) fn listen(&self, host: &Address) -> SimNet {
        SimNet::new(self.clone(), self.lock().open_net(host, true))
    }

    /// The connections of a process that only dials.
    pub(crate) fn dialer(&self, host: &Address) -> SimNet {
        SimNet::new(self.clone(), self.lock().open_net(host, false))
    }

    /// A host answers again: with refusals, until a process listens.
    pub(crate) fn boot(&self, host: &Address) {
        self.lock().boot(host);
    }

    pub(crate) fn crash(&self, host: &Address, crash: Crash) {
        self.lock().crash(host, crash);
    }

    /// Nothing gets from one host to the other; the other way is as it was.
    pub fn cut(&self, from: &Address, to: &Address) {
        let mut engine = self.lock();
        let way = engine.way(from, to);
        engine.links.cut(way);
    }

    /// The way from one host to the other is open for `up`, cut for `down`, and so on.
    pub fn flap(&self, from: &Address, to: &Address, up: Duration, down: Duration) {
        let mut engine = self.lock();
        let way = engine.way(from, to);
        engine.links.flap(way, up, down);
    }

    /// The way from one host to the other is open.
    pub fn heal(&self, from: &Address, to: &Address) {
        let mut engine = self.lock();
        let way = engine.way(from, to);
        engine.links.heal(way);
    }

    /// Hosts of different groups can't reach each other, in either direction. Hosts in no group
    /// keep their links.
    pub fn partition(&self, groups: &[&[Address]]) {
        for (index, group) in groups.iter().enumerate() {
            let others = groups.iter().enumerate().filter(|(other, _)| *other != index);
            for (from, to) in others
                .flat_map(|(_, others)| others.iter())
                .flat_map(|to| group.iter().map(move |from| (from, to)))
            {
                self.cut(from, to);
            }
        }
    }

    /// Every way is open; how well packets travel stays as it is.
    pub fn heal_all(&self) {
        self.lock().links.heal_all();
    }

    /// How well packets travel from one host to the other.
    pub fn set_quality(&self, from: &Address, to: &Address, quality: Quality) {
        let mut engine = self.lock();
        let way = engine.way(from, to);
        engine.links.set(way, quality);
    }

    /// How well packets travel from one host to the other now.
    pub fn quality(&self, from: &Address, to: &Address) -> Quality {
        let mut engine = self.lock();
        let way = engine.way(from, to);
        engine.links.quality(way)
    }

    /// How well packets travel everywhere.
    pub fn set_usual_quality(&self, quality: Quality) {
        self.lock().links.set_usual(quality);
    }

    /// Every way is open and as good as it was at first.
    pub fn calm(&self) {
        self.heal_all();
        self.set_usual_quality(Quality::default());
    }

    /// Resets each connection between two hosts with this chance. Both ends learn of it, each at
    /// its own time; one that a cut keeps from it does when it next sends.
    pub fn reset(&self, one: &Address, other: &Address, chance: Chance) {
        self.lock().reset(one, other, chance);
    }

    /// The most bytes that any end of a connection has sent and the other has not taken in, and
    /// from where to where.
    pub fn most_under_way(&self) -> Option<(u64, Address, Address)> {
        self.lock().most_under_way()
    }

    /// How many connections somebody still takes for open.
    pub fn open_connections(&self) -> usize {
        self.lock().open_connections()
    }

    fn lock(&self) -> MutexGuard<'_, Engine> {
        lock(&self.0)
    }
}

/// A panic elsewhere in the run must not turn into another one while it unwinds.
fn lock(engine: &Mutex<Engine>) -> MutexGuard<'_, Engine> {
    engine.lock().unwrap_or_else(PoisonError::into_inner)
}
