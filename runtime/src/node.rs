//! The loop that drives a node's machine.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use waltz_core::io::{Effect, Input, Level, Report};
use waltz_core::node::Node;
use waltz_core::time::Time;

use crate::recorder::{FlightRecorder, RecordedNode};
use crate::world::{
    ArchiveEvent, ArchivePort, CoordinatorPort, JournalEvent, JournalPort, Net, NetEvent, Observer,
    Timer,
};

/// Everything a node's loop touches.
#[derive(Debug)]
pub struct World<N, J, T> {
    /// Its connections.
    pub net: N,
    /// Its journal.
    pub journal: J,
    /// Its clock and alarm.
    pub timer: T,
    /// Its coordinator, if that is outside of the cluster.
    pub coordinator: Option<Box<dyn CoordinatorPort>>,
    /// The archive of what was trimmed, if there is one.
    pub archive: Option<Box<dyn ArchivePort>>,
    /// Who watches it, if anybody does.
    pub observer: Option<Box<dyn Observer>>,
}

/// Who hears a node's reports.
pub type Reporter = Box<dyn FnMut(Report) + Send>;

/// How long a node that was asked to stop waits for its coordinator to hear of it.
const FAREWELL: Duration = Duration::from_secs(1);

/// How many inputs are taken before effects are carried out: bounds a turn.
const TURN_INPUTS: usize = 4096;

/// Drives a node until it stops, and says why: `shutdown` was ready, or it can't go on. Dropping
/// the future is a crash.
///
/// One turn takes everything that is there, steps the machine through it, and then carries out
/// all effects: one write a connection, one batch for the journal.
pub async fn run_node<N: Net, J: JournalPort, T: Timer>(
    node: Node,
    world: World<N, J, T>,
    report: Reporter,
    shutdown: impl Future<Output = ()>,
) -> String {
    run_recorded_node(node, None, world, report, shutdown).await
}

/// Like [`run_node`], with a flight recorder if there is one.
pub async fn run_recorded_node<N: Net, J: JournalPort, T: Timer>(
    node: Node,
    recorder: Option<FlightRecorder>,
    mut world: World<N, J, T>,
    mut report: Reporter,
    shutdown: impl Future<Output = ()>,
) -> String {
    let mut node = RecordedNode { node, recorder };
    let mut shutdown = pin!(shutdown);
    let mut asked_to_stop = false;
    let (mut inputs, mut effects) = (Vec::new(), Vec::new());
    let (mut net_events, mut journal_events) = (Vec::new(), Vec::new());
    let (mut coordinator_events, mut archive_events) = (Vec::new(), Vec::new());
    let mut deadline: Option<Time> = Some(Time::ZERO);
    loop {
        poll_fn(|cx| {
            node.poll_asked(cx);
            if let Some(observer) = &mut world.observer {
                observer.poll(cx, &|| node.node.measure());
            }
            let net = world.net.poll(cx, &mut net_events);
            let journal = world.journal.poll(cx, &mut journal_events);
            inputs.extend(journal_events.drain(..).map(from_journal));
            inputs.extend(net_events.drain(..).map(from_net));
            if let Some(coordinator) = &mut world.coordinator
                && coordinator.poll(cx, &mut coordinator_events).is_ready()
            {
                inputs.extend(coordinator_events.drain(..).map(Input::Coordinator));
            }
            if let Some(archive) = &mut world.archive
                && archive.poll(cx, &mut archive_events).is_ready()
            {
                inputs.extend(archive_events.drain(..).map(from_archive));
            }
            if world.timer.poll_until(cx, deadline).is_ready() && deadline.take().is_some() {
                inputs.push(Input::Timer);
            }
            if !asked_to_stop && shutdown.as_mut().poll(cx).is_ready() {
                asked_to_stop = true;
                inputs.push(Input::Shutdown);
            }
            match (net, journal) {
                (Poll::Pending, Poll::Pending) if inputs.is_empty() => Poll::Pending,
                _ => Poll::Ready(()),
            }
        })
        .await;
        inputs.push(Input::EndOfTurn);
        let now = world.timer.now();
        for input in inputs.drain(..) {
            node.step(now, input, &mut effects);
            if effects.len() >= TURN_INPUTS {
                node.step(now, Input::EndOfTurn, &mut effects);
                if let Some(reason) = perform(&mut world, &mut effects, &mut deadline, &mut report)
                {
                    return stopped(&mut node, reason, asked_to_stop, &mut report);
                }
            }
        }
        if let Some(reason) = perform(&mut world, &mut effects, &mut deadline, &mut report) {
            if asked_to_stop {
                take_leave(&mut world).await;
            }
            return stopped(&mut node, reason, asked_to_stop, &mut report);
        }
    }
}

/// Waits until the coordinator knows that the node stops, or for as long as that is worth it.
async fn take_leave<N, J, T: Timer>(world: &mut World<N, J, T>) {
    let Some(coordinator) = &mut world.coordinator else { return };
    let timer = &mut world.timer;
    let deadline = Some(timer.now() + FAREWELL);
    poll_fn(|cx| match coordinator.poll_finished(cx) {
        Poll::Pending => timer.poll_until(cx, deadline),
        Poll::Ready(()) => Poll::Ready(()),
    })
    .await;
}

/// Reports the end: an error, unless somebody wanted it.
fn stopped(
    node: &mut RecordedNode,
    reason: String,
    asked_to_stop: bool,
    report: &mut Reporter,
) -> String {
    let level = if asked_to_stop { Level::Info } else { Level::Error };
    if !asked_to_stop {
        node.failed();
    }
    report(Report { level, partition: None, peer: None, text: reason.clone() });
    reason
}

fn perform<N: Net, J: JournalPort, T: Timer>(
    world: &mut World<N, J, T>,
    effects: &mut Vec<Effect>,
    deadline: &mut Option<Time>,
    report: &mut Reporter,
) -> Option<String> {
    let mut stop = None;
    for effect in effects.drain(..) {
        match effect {
            Effect::Connect { conn, address } => world.net.connect(conn, &address),
            Effect::Send { conn, frame } => world.net.send(conn, frame),
            Effect::Close { conn, .. } => world.net.close(conn),
            Effect::Append { entry, ticket } => world.journal.append(entry, ticket),
            Effect::Read { ticket, places } => world.journal.read(ticket, places),
            Effect::Release { below } => world.journal.release(below),
            Effect::ReplayFrom { segment } => world.journal.replay_from(segment),
            Effect::WakeAt(time) => *deadline = Some(time),
            Effect::Report(line) => report(line),
            Effect::Stop { reason } => stop = Some(reason),
            Effect::Coordinate(request) => {
                let coordinator = world.coordinator.as_mut();
                coordinator.expect("a node with a coordinator outside has a port").ask(request);
            }
            Effect::ReadArchive { ticket, read } => {
                let archive = world.archive.as_mut();
                archive.expect("a node that reads an archive has a port").read(ticket, read);
            }
            Effect::LiftBounds { conn } => world.net.lift_bounds(conn),
        }
    }
    // The journal first: its thread can write while this one is busy with sockets.
    world.journal.flush();
    world.net.flush();
    stop
}

fn from_net(event: NetEvent) -> Input {
    match event {
        NetEvent::Opened { conn, identity } => Input::Opened { conn, identity },
        NetEvent::Received { conn, frame } => Input::Received { conn, frame },
        NetEvent::Closed { conn, reason } => Input::Closed { conn, reason },
    }
}

fn from_archive(ArchiveEvent { ticket, result }: ArchiveEvent) -> Input {
    Input::ArchiveRead { ticket, result }
}

fn from_journal(event: JournalEvent) -> Input {
    match event {
        JournalEvent::Durable { up_to, places } => Input::Durable { up_to, places },
        JournalEvent::Failed { error } => Input::JournalFailed { error },
        JournalEvent::Read { ticket, result } => Input::Read { ticket, result },
        JournalEvent::Space { is_full } => Input::Space { is_full },
    }
}
