//! Drives the client's machine: one task takes in what happened, steps the machine, and performs
//! its effects. Application code runs in other tasks: one for each partition that applies, and
//! one for each context that executes.
//!
//! It decides nothing about the protocol.

mod execution;
mod seat;
mod seeker;
mod worker;

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, WeakUnboundedSender};
use tokio::sync::oneshot;
use waltz_core::client::{
    Answer, Attachment, CallId, ClientConfig, ClientEffect, ClientInput, ClientMachine, Ending,
    Failure, InDoubt, Start, Unanswered,
};
use waltz_core::id::{ClientId, Mark, PartitionId, TransactionId};
use waltz_core::io::{Level, Report};
use waltz_core::record::Run;
use waltz_core::time::Time;
use waltz_core::wire::FeedMode;
use waltz_runtime::{Net, NetEvent, Runtime, Timer};

use crate::call::{AnyContext, Appended, Call, Question, Shared};
use crate::callbacks::ClientCallbacks;
use crate::error::{AppendError, CallbackError, FeedError};
use crate::feed::{Begun, Handover};
use crate::telemetry::{Count, Tally, Telemetry};
use crate::transaction::Loader;
use execution::{Due, Executed};
use seat::Seat;
use worker::{Owned, Work, Worker};

/// How many calls are taken in at once.
const CALLS_PER_TURN: usize = 4096;

/// The driver's ends of what it shares with handles.
pub(crate) struct Handles {
    pub(crate) calls: UnboundedReceiver<Call>,
    pub(crate) weak: WeakUnboundedSender<Call>,
    pub(crate) shared: Arc<Shared>,
}

/// Starts a client's driver.
pub(crate) fn start<R: Runtime, C: ClientCallbacks>(
    runtime: R,
    machine: ClientMachine,
    config: ClientConfig,
    callbacks: Arc<C>,
    handles: Handles,
) {
    let loader = match config.feed {
        FeedMode::Records => None,
        FeedMode::Headers => Some(Loader(handles.weak)),
    };
    let (sender, events) = mpsc::unbounded_channel();
    let driver = Driver {
        machine,
        config,
        net: runtime.net(),
        timer: runtime.timer(),
        wake: None,
        calls: Some(handles.calls),
        events,
        sender: Some(sender),
        slots: HashMap::new(),
        workers: BTreeMap::new(),
        shared: handles.shared,
        callbacks,
        loader,
        closers: Vec::new(),
        due: Vec::new(),
        tally: Tally::default(),
        runtime: runtime.clone(),
    };
    runtime.spawn(driver.run());
}

/// What tasks with application code tell the driver.
pub(crate) enum Event {
    Began { attachment: Attachment, start: Result<Start, String> },
    Applied { attachment: Attachment, mark: Mark, failed: bool },
    Executed(Vec<Executed>),
    Back { call: CallId, context: Box<dyn AnyContext> },
    CallbacksPanicked { partition: PartitionId },
}

/// A call that has not ended.
enum Slot {
    Context(Box<Seat>),
    Append { partition: PartitionId, since: Time, append: Appended },
    Ask(oneshot::Sender<Result<Answer, Unanswered>>),
}

struct Driver<R: Runtime, C> {
    runtime: R,
    callbacks: Arc<C>,
    machine: ClientMachine,
    config: ClientConfig,
    net: R::Net,
    timer: R::Timer,
    wake: Option<Time>,
    /// `None` once closing.
    calls: Option<UnboundedReceiver<Call>>,
    events: UnboundedReceiver<Event>,
    /// `None` once closed and every call has ended: when the last task has dropped its own, all of
    /// them have been told.
    sender: Option<UnboundedSender<Event>>,
    slots: HashMap<CallId, Slot>,
    workers: BTreeMap<PartitionId, UnboundedSender<Work>>,
    shared: Arc<Shared>,
    loader: Option<Loader>,
    closers: Vec<oneshot::Sender<()>>,
    /// Contexts to be executed at the end of the turn.
    due: Vec<Due>,
    /// What the turn adds to the counters.
    tally: Tally,
}

/// What one turn takes in.
#[derive(Default)]
struct Turn {
    net: Vec<NetEvent>,
    calls: Vec<Call>,
    events: Vec<Event>,
    timer: bool,
    /// Every handle was dropped.
    abandoned: bool,
    /// Closing, and every task has ended.
    ended: bool,
}

impl<R: Runtime, C: ClientCallbacks> Driver<R, C> {
    async fn run(mut self) {
        let mut turn = Turn::default();
        let mut effects = Vec::new();
        loop {
            poll_fn(|cx| self.poll_turn(cx, &mut turn)).await;
            self.step(&mut turn, &mut effects);
            self.perform(&mut effects);
            self.net.flush();
            self.shared.telemetry.tell(&mut self.tally);
            if turn.ended {
                break;
            }
        }
        debug_assert!(self.slots.is_empty(), "every call ends before its client does");
        for closer in self.closers {
            // Whoever asked may not wait any more.
            let _ = closer.send(());
        }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Poll<()> {
        let mut ready = self.net.poll(cx, &mut turn.net).is_ready();
        if let Some(calls) = &mut self.calls
            && let Poll::Ready(count) = calls.poll_recv_many(cx, &mut turn.calls, CALLS_PER_TURN)
        {
            turn.abandoned = count == 0;
            ready = true;
        }
        if let Poll::Ready(count) = self.events.poll_recv_many(cx, &mut turn.events, CALLS_PER_TURN)
        {
            turn.ended = count == 0;
            ready = true;
        }
        if self.timer.poll_until(cx, self.wake).is_ready() {
            self.wake = None;
            turn.timer = true;
            ready = true;
        }
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }

    fn step(&mut self, turn: &mut Turn, effects: &mut Vec<ClientEffect>) {
        let now = self.timer.now();
        for event in turn.net.drain(..) {
            let input = match event {
                NetEvent::Opened { conn, .. } => {
                    self.tally.add(Count::ConnectionsOpened, 1);
                    ClientInput::Opened { conn }
                }
                NetEvent::Received { conn, frame } => ClientInput::Received { conn, frame },
                NetEvent::Closed { conn, reason } => {
                    self.tally.add(Count::ConnectionsFailed, 1);
                    ClientInput::Closed { conn, reason }
                }
            };
            self.machine.step(now, input, effects);
        }
        for event in turn.events.drain(..) {
            match event {
                Event::Began { attachment, start } => {
                    self.machine.step(now, ClientInput::Began { attachment, start }, effects);
                }
                Event::Applied { attachment, mark, failed } => {
                    let input = ClientInput::Applied { attachment, mark, failed };
                    self.machine.step(now, input, effects);
                }
                Event::Executed(executed) => {
                    for one in executed {
                        if let Some(input) = self.executed(one) {
                            self.machine.step(now, input, effects);
                        }
                    }
                }
                Event::Back { call, context } => self.back(call, context),
                Event::CallbacksPanicked { partition } => {
                    tracing::error!(%partition, "the callbacks panicked; closing the client");
                    turn.abandoned = true;
                }
            }
        }
        for call in turn.calls.drain(..) {
            match call {
                Call::Close { done } => {
                    self.closers.push(done);
                    turn.abandoned = true;
                }
                call => {
                    if let Some(input) = self.input_of_call(now, call) {
                        self.machine.step(now, input, effects);
                    }
                }
            }
        }
        if std::mem::take(&mut turn.timer) {
            self.machine.step(now, ClientInput::Timer, effects);
        }
        if std::mem::take(&mut turn.abandoned) {
            self.close(now, effects);
        }
        self.machine.step(now, ClientInput::EndOfTurn, effects);
    }

    fn input_of_call(&mut self, now: Time, call: Call) -> Option<ClientInput> {
        let (id, slot, input) = match call {
            Call::Append { call, partition, draft, at, patience, append } => {
                self.tally.add(Count::Appends, 1);
                let slot = Slot::Append { partition, since: now, append };
                (call, slot, ClientInput::Append { call, partition, draft, at, patience })
            }
            Call::Submit { call, partition, patience, submission } => {
                self.tally.add(Count::Submissions, 1);
                let slot = Slot::Context(Box::new(Seat::new(partition, now, submission)));
                (call, slot, ClientInput::Submit { call, partition, patience })
            }
            Call::Ask { question: Question::Seek(in_doubt), done } => {
                self.seek(in_doubt, done);
                return None;
            }
            Call::Ask { question, done } => {
                let call = self.shared.next_call();
                (call, Slot::Ask(done), input_of_question(call, question))
            }
            Call::Cancel { call } => {
                let partition = match self.slots.get(&call)? {
                    Slot::Append { partition, .. } => *partition,
                    Slot::Context(seat) => seat.partition(),
                    Slot::Ask(_) => unreachable!("a question has no handle to drop"),
                };
                return Some(ClientInput::Cancel { call, partition });
            }
            Call::Feed(begun) => {
                self.feed(begun);
                return None;
            }
            Call::Close { .. } => unreachable!("closing is no call of the machine"),
        };
        self.slots.insert(id, slot);
        Some(input)
    }

    /// Ends everything: calls made from now on fail, those made before are ended by the machine.
    fn close(&mut self, now: Time, effects: &mut Vec<ClientEffect>) {
        let Some(mut calls) = self.calls.take() else { return };
        calls.close();
        while let Ok(call) = calls.try_recv() {
            match call {
                Call::Close { done } => self.closers.push(done),
                call => {
                    if let Some(input) = self.input_of_call(now, call) {
                        self.machine.step(now, input, effects);
                    }
                }
            }
        }
        self.machine.step(now, ClientInput::Close, effects);
    }

    fn perform(&mut self, effects: &mut Vec<ClientEffect>) {
        for effect in effects.drain(..) {
            match effect {
                ClientEffect::Connect { conn, address } => self.net.connect(conn, &address),
                ClientEffect::Send { conn, frame } => self.net.send(conn, frame),
                ClientEffect::Close { conn, reason } => {
                    tracing::debug!(?conn, reason, "closing a connection");
                    self.net.close(conn);
                }
                ClientEffect::WakeAt(time) => self.wake = Some(time),
                ClientEffect::Report(report) => log(&report),
                ClientEffect::Begin { attachment } => {
                    self.work(attachment.partition, Work::Begin { attachment });
                }
                ClientEffect::Attached { attachment, mark } => {
                    self.shared.marks.store(attachment.partition, mark);
                }
                ClientEffect::Apply { attachment, runs, owned } => {
                    self.apply(attachment, runs, owned);
                }
                ClientEffect::Broken { attachment, failure } => {
                    let partition = attachment.partition;
                    let error = FeedError::new(partition, Unanswered::Broken(partition, failure));
                    self.work(partition, Work::End(error));
                }
                ClientEffect::Detach { attachment } => {
                    self.work(attachment.partition, Work::Detach);
                }
                ClientEffect::Execute { call, at, .. } => self.execute(call, at),
                ClientEffect::LockFailed { call, conflict } => self.lock_failed(call, conflict),
                ClientEffect::Lost { .. } => self.tally.add(Count::LostAttempts, 1),
                ClientEffect::End { call, ending } => self.end(call, ending),
                ClientEffect::Answer { call, answer } => {
                    if let Some(Slot::Ask(done)) = self.slots.remove(&call) {
                        // Whoever asked may not wait any more.
                        let _ = done.send(answer);
                    }
                }
                ClientEffect::Formed { partitions } => {
                    self.shared.partitions.store(partitions, Ordering::Release);
                }
                ClientEffect::Stop => self.workers.clear(),
            }
        }
        self.spawn_due();
        // A context that is away is told its end by a task of its own when it is back.
        if self.calls.is_none() && self.slots.is_empty() {
            self.sender = None;
        }
    }

    fn apply(
        &mut self,
        attachment: Attachment,
        runs: Vec<Run>,
        owned: Vec<(TransactionId, CallId)>,
    ) {
        self.tally.add(Count::Commits, owned.len());
        let mut committed = Vec::with_capacity(owned.len());
        for (id, call) in owned {
            match self.slots.remove(&call) {
                Some(Slot::Append { append, since, .. }) => {
                    committed.push((id, Owned::Append { append, since }));
                }
                Some(Slot::Context(seat)) => committed.push((id, seat.into_owned())),
                Some(Slot::Ask(_)) | None => {
                    unreachable!("only appends and contexts commit, once")
                }
            }
        }
        self.work(attachment.partition, Work::Apply { attachment, runs, owned: committed });
    }

    fn end(&mut self, call: CallId, ending: Ending) {
        self.tally.ended(&ending);
        match self.slots.remove(&call) {
            Some(Slot::Append { partition, since, append }) => {
                match &ending {
                    Ending::Failed(Failure::Conflict(_)) => self.tally.add(Count::Conflicts, 1),
                    Ending::Committed(id) => {
                        append.trace_commit(*id);
                        self.shared.telemetry.appends.record(self.timer.now() - since);
                    }
                    _ => {}
                }
                let result = match ending {
                    Ending::Committed(id) => Ok(id),
                    Ending::Failed(failure) => Err(AppendError::new(partition, failure)),
                    Ending::InDoubt(in_doubt) => Err(AppendError::InDoubt(in_doubt)),
                    Ending::Ignored => unreachable!("only contexts are ignored"),
                };
                append.end(result);
            }
            Some(Slot::Context(seat)) => self.end_context(call, seat, ending),
            Some(Slot::Ask(_)) | None => unreachable!("only appends and contexts end, once"),
        }
    }

    /// Asks a machine of its own what became of an attempt.
    fn seek(&self, in_doubt: InDoubt, done: oneshot::Sender<Result<Answer, Unanswered>>) {
        let seek = seeker::seek(self.runtime.clone(), self.config.clone(), in_doubt);
        self.runtime.spawn(async move {
            // Whoever asked may not wait any more.
            let _ = done.send(seek.await);
        });
    }

    /// Starts a feed's own machine.
    fn feed(&self, begun: Begun) {
        let Begun { source, partition, headers, until_now, calls, weak } = begun;
        let mode = if headers { FeedMode::Headers } else { FeedMode::Records };
        let config = self.config.clone().partitions([partition].into_iter().collect()).feed(mode);
        let id = ClientId(self.runtime.random());
        let machine = ClientMachine::new(id, config.clone(), self.runtime.random());
        let telemetry = Telemetry::silent();
        let shared = Shared::new(config.max_pending, config.max_pending_bytes, telemetry);
        let handles = Handles { calls, weak: weak.clone(), shared };
        let callbacks = Arc::new(Handover(source.clone()));
        start(self.runtime.clone(), machine, config, callbacks, handles);
        self.runtime.spawn(source.watch(weak, partition, until_now));
    }

    fn work(&mut self, partition: PartitionId, work: Work) {
        let Some(events) = &self.sender else { return };
        let worker = self.workers.entry(partition).or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            let worker = Worker::new(
                partition,
                self.callbacks.clone(),
                self.shared.clone(),
                self.loader.clone(),
                events.clone(),
                self.runtime.timer(),
            );
            self.runtime.spawn(worker.run(receiver));
            sender
        });
        // A worker that is gone has panicked and said so; the client is about to close.
        let _ = worker.send(work);
    }
}

fn input_of_question(call: CallId, question: Question) -> ClientInput {
    match question {
        Question::Flush => ClientInput::Flush { call },
        Question::Resolve(in_doubt) => ClientInput::Resolve { call, in_doubt },
        Question::Seek(_) => unreachable!("a machine of its own is asked"),
        Question::Fetch { partition, id } => ClientInput::Fetch { call, partition, id },
        Question::Describe { formed } => ClientInput::Describe { call, formed },
        Question::Status { node } => ClientInput::Status { call, node },
        Question::Inspect { node } => ClientInput::Inspect { call, node },
        Question::Operate(request) => ClientInput::Operate { call, request },
        Question::Choose(partitions) => ClientInput::Choose { call, partitions },
    }
}

fn log(report: &Report) {
    let Report { level, partition, peer, text } = report;
    let partition = partition.map(tracing::field::display);
    let peer = peer.map(tracing::field::display);
    match level {
        Level::Info => tracing::info!(partition, peer, "{text}"),
        Level::Warning => tracing::warn!(partition, peer, "{text}"),
        Level::Error => tracing::error!(partition, peer, "{text}"),
    }
}

/// An error in the words of the machine, which carries no errors of applications.
fn in_words(error: &CallbackError) -> String {
    error.to_string()
}
