//! A node's loop in a world where nothing happens but what its journal does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::mpsc::{Receiver, channel};
use std::task::Waker;

use waltz_core::id::{ClusterKey, NodeId, StorageId};
use waltz_core::io::{Address, ConnectionId, Ticket};
use waltz_core::journal::{Entry, Place};
use waltz_core::limits::Limits;
use waltz_core::node::{CoordinatorAt, NodeConfig, Recovered};
use waltz_core::planted::Planted;
use waltz_core::recorder::{DEFAULT_GENERATION_BYTES, Played, Recording};
use waltz_core::wire::Frame;

use super::*;
use crate::node::{World, run_recorded_node};
use crate::world::{JournalEvent, JournalPort, Net, NetEvent, Timer};

struct Silence;

impl Net for Silence {
    fn connect(&mut self, _: ConnectionId, _: &Address) {}
    fn send(&mut self, _: ConnectionId, _: Frame) {}
    fn close(&mut self, _: ConnectionId) {}
    fn flush(&mut self) {}
    fn poll(&mut self, _: &mut Context<'_>, _: &mut Vec<NetEvent>) -> Poll<()> {
        Poll::Pending
    }
}

/// A clock that stands still, and an alarm that rings once.
struct Still {
    rung: bool,
}

impl Timer for Still {
    fn now(&self) -> Time {
        Time(1)
    }
    fn poll_until(&mut self, _: &mut Context<'_>, _: Option<Time>) -> Poll<()> {
        match std::mem::replace(&mut self.rung, true) {
            false => Poll::Ready(()),
            true => Poll::Pending,
        }
    }
}

/// A journal that does what it does in the second turn, and nothing else.
struct Doomed<F> {
    polls: u32,
    act: F,
}

impl<F: FnMut(&mut Vec<JournalEvent>) -> Poll<()> + Send + 'static> JournalPort for Doomed<F> {
    fn append(&mut self, _: Entry, _: Ticket) {}
    fn release(&mut self, _: u32) {}
    fn replay_from(&mut self, _: u32) {}
    fn read(&mut self, _: Ticket, _: Vec<Place>) {}
    fn flush(&mut self) {}
    fn poll(&mut self, _: &mut Context<'_>, events: &mut Vec<JournalEvent>) -> Poll<()> {
        self.polls += 1;
        match self.polls {
            2 => (self.act)(events),
            _ => Poll::Pending,
        }
    }
}

/// Runs a node whose recording is asked for so many times as long as there is something to do.
/// Returns whether the loop panicked, and what was written out.
fn run(
    mut requests: usize,
    act: impl FnMut(&mut Vec<JournalEvent>) -> Poll<()> + Send + 'static,
) -> (bool, Receiver<(Occasion, Vec<u8>)>) {
    let coordinator = CoordinatorAt::Remote(Address("elsewhere".into()));
    let address = Address("here".into());
    let config = NodeConfig::new(NodeId(1), ClusterKey(7), address, coordinator);
    let recovered = Recovered::new(Limits::default(), Planted::NONE);
    let node = Node::new(config, recovered, StorageId(1), 1);
    let (sender, written) = channel();
    let save = move |occasion, bytes| sender.send((occasion, bytes)).expect("the test listens");
    let asked = move |_: &mut Context<'_>| match requests.checked_sub(1) {
        None => Poll::Pending,
        Some(left) => {
            requests = left;
            Poll::Ready(())
        }
    };
    let recorder = Recorder::new(&node, DEFAULT_GENERATION_BYTES);
    let recorder = FlightRecorder::new(recorder, Box::new(save), Box::new(asked));
    let (journal, timer) = (Doomed { polls: 0, act }, Still { rung: false });
    let world =
        World { net: Silence, journal, timer, coordinator: None, archive: None, observer: None };
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let never = std::future::pending();
        let node = run_recorded_node(node, Some(recorder), world, Box::new(|_| {}), never);
        let _ = pin!(node).poll(&mut Context::from_waker(Waker::noop()));
    }));
    (outcome.is_err(), written)
}

/// Asserts that a recording replays as it was recorded, and returns its inputs.
fn replayed(bytes: &[u8]) -> Vec<Input> {
    let played: Vec<_> = Recording::decode(bytes).unwrap().replay().collect();
    assert!(!played.iter().any(Played::differs), "{played:?}");
    let inputs = played.into_iter().filter_map(|played| match played {
        Played::Input(step) => Some(step.input),
        Played::State { .. } => None,
    });
    inputs.collect()
}

#[test]
fn each_request_is_answered_and_none_is_written_when_the_node_is_dropped() {
    let (panicked, written) = run(2, |_| Poll::Pending);
    assert!(!panicked);
    let written: Vec<_> = written.iter().collect();
    assert_eq!(written.len(), 2);
    for (occasion, bytes) in written {
        assert_eq!(
            (occasion, replayed(&bytes)),
            (Occasion::Asked, vec![]),
            "before the first turn"
        );
    }
}

#[test]
fn a_node_that_has_to_stop_leaves_a_recording() {
    let (panicked, written) = run(0, |events| {
        events.push(JournalEvent::Failed { error: "no space".into() });
        Poll::Ready(())
    });
    assert!(!panicked);
    let (occasion, bytes) = written.recv().unwrap();
    assert_eq!(occasion, Occasion::Stopped);
    let failed = Input::JournalFailed { error: "no space".into() };
    assert_eq!(replayed(&bytes), [Input::Timer, Input::EndOfTurn, failed, Input::EndOfTurn]);
    assert!(written.recv().is_err(), "it is written once");
}

#[test]
fn a_panic_of_the_loop_leaves_a_recording() {
    let (panicked, written) = run(0, |_| panic!("on purpose"));
    assert!(panicked);
    let (occasion, bytes) = written.recv().unwrap();
    assert_eq!(occasion, Occasion::Panicked);
    assert_eq!(replayed(&bytes), [Input::Timer, Input::EndOfTurn]);
    assert!(written.recv().is_err(), "it is written once");
}
