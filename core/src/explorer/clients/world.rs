//! A client, its application, and what becomes of them in a cluster that fails.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::server::Server;
use crate::client::testing::{ME, P, patience, seconds};
use crate::client::{
    Answer, CallId, ClientConfig, ClientEffect, ClientInput, ClientMachine, Draft, Ending,
    Executed, Failure, InDoubt, Resolution, Start, Unanswered,
};
use crate::explorer::draw::Draw;
use crate::explorer::explore::{Broken, ensure};
use crate::id::{ClusterKey, Mark, NodeId, TransactionId};
use crate::io::ConnectionId;
use crate::planted::Planted;
use crate::time::{Random, Time};
use crate::wire::{Frame, Message, Version, Welcome};

/// Questions are numbered from here on, calls below.
const QUESTIONS: u64 = 1 << 32;

/// In how many steps the client mounts, and in how many all ends once faults have.
const PATIENCE: usize = 100_000;

/// The client, its application, and the cluster.
pub(super) struct World {
    machine: ClientMachine,
    now: Time,
    alarm: Option<Time>,
    /// Whether something was taken in since the last turn ended.
    in_turn: bool,
    pub(super) server: Server,
    /// Connections that are neither made nor refused yet, and to which node.
    dialled: Vec<(ConnectionId, u32)>,
    /// What the application has to say.
    inputs: VecDeque<ClientInput>,
    executing: Vec<CallId>,
    applied: Mark,
    submitted: BTreeSet<CallId>,
    withdrawn: BTreeSet<CallId>,
    endings: BTreeMap<CallId, Ending>,
    /// What was asked about attempts in doubt, and answered.
    doubts: BTreeMap<CallId, (InDoubt, Option<Resolution>)>,
    pub(super) steps: usize,
}

impl World {
    pub(super) fn new(seed: u64, random: Random, planted: Planted) -> Self {
        let config = ClientConfig { credit_bytes: 400, planted, ..ClientConfig::new(["n1", "n2"]) }
            .max_outstanding(4)
            .mount_timeout(seconds(1_000_000));
        Self {
            machine: ClientMachine::new(ME, config, seed),
            now: Time(1_000_000_000),
            alarm: None,
            in_turn: false,
            server: Server::new(random),
            dialled: Vec::new(),
            inputs: VecDeque::new(),
            executing: Vec::new(),
            applied: Mark::NONE,
            submitted: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
            endings: BTreeMap::new(),
            doubts: BTreeMap::new(),
            steps: 0,
        }
    }

    /// The client takes something in; more may come before the turn ends.
    pub(super) fn step(&mut self, input: ClientInput) {
        self.take_in(input);
        if !self.server.fails(3) {
            self.take_in(ClientInput::EndOfTurn);
        }
    }

    fn take_in(&mut self, input: ClientInput) {
        self.in_turn = !matches!(input, ClientInput::EndOfTurn);
        let mut effects = Vec::new();
        self.machine.step(self.now, input, &mut effects);
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: ClientEffect) {
        match effect {
            ClientEffect::Connect { conn, address } => {
                self.dialled.push((conn, if address.0 == "n1" { 1 } else { 2 }));
            }
            ClientEffect::Send { conn, frame } => self.sent(conn, &frame),
            ClientEffect::Close { conn, .. } => {
                self.dialled.retain(|(dialled, _)| *dialled != conn);
                self.server.drop_connection(conn);
            }
            ClientEffect::WakeAt(time) => self.alarm = Some(time),
            ClientEffect::Begin { attachment } => {
                let start = Ok(Start::After(Mark::NONE));
                self.inputs.push_back(ClientInput::Began { attachment, start });
            }
            ClientEffect::Apply { attachment, runs, owned } => {
                let first = runs[0].first;
                assert_eq!(first, self.applied.next(), "nothing is left out or repeated");
                let last = runs[runs.len() - 1].last();
                for (id, call) in owned {
                    assert!(first <= id && last.includes(id), "it is told with its transaction");
                    self.ended(call, Ending::Committed(id));
                }
                let failed = self.server.fails(8);
                let mark = if failed { first.0 } else { last.count() };
                self.applied = Mark::before(TransactionId(mark));
                let mark = self.applied;
                self.inputs.push_back(ClientInput::Applied { attachment, mark, failed });
            }
            ClientEffect::Execute { call, at, .. } => {
                assert!(at <= self.applied, "the mark is of what was applied before");
                self.executing.push(call);
            }
            ClientEffect::End { call, ending } => self.ended(call, ending),
            ClientEffect::Answer { call, answer } => self.answered(call, answer),
            ClientEffect::Report(_)
            | ClientEffect::Attached { .. }
            | ClientEffect::Broken { .. }
            | ClientEffect::Detach { .. }
            | ClientEffect::LockFailed { .. }
            | ClientEffect::Lost { .. }
            | ClientEffect::Formed { .. }
            | ClientEffect::Stop => {}
        }
    }

    fn sent(&mut self, conn: ConnectionId, frame: &Frame) {
        let Some(node) = self.server.connections.get(&conn) else { return };
        match Message::decode(&frame.head).expect("the machine's own message") {
            Message::Hello(_) => {
                let node = NodeId(*node);
                let welcome = Welcome { version: Version::NEWEST, cluster: ClusterKey(5), node };
                let frame = Message::Welcome(welcome).frame();
                self.inputs.push_back(ClientInput::Received { conn, frame });
            }
            Message::Ping => {
                let frame = Message::Pong.frame();
                self.inputs.push_back(ClientInput::Received { conn, frame });
            }
            Message::Client(request) => self.server.on_request(conn, request, &frame.payload),
            other => panic!("no message of a client: {other:?}"),
        }
    }

    fn ended(&mut self, call: CallId, ending: Ending) {
        assert!(self.submitted.contains(&call));
        if let Ending::InDoubt(in_doubt) = ending {
            self.doubts.insert(question(in_doubt.req_id.sequence), (in_doubt, None));
            self.ask(in_doubt);
        }
        let before = self.endings.insert(call, ending);
        assert_eq!(before, None, "{call:?} ended twice");
    }

    /// Asks what became of an attempt.
    fn ask(&mut self, in_doubt: InDoubt) {
        let call = question(in_doubt.req_id.sequence);
        self.inputs.push_back(ClientInput::Resolve { call, in_doubt });
    }

    fn answered(&mut self, call: CallId, answer: Result<Answer, Unanswered>) {
        let doubt = self.doubts.get_mut(&call);
        let (in_doubt, resolved) = doubt.expect("it was asked");
        match answer {
            Ok(Answer::Resolved(resolution)) => {
                assert_eq!(resolved.replace(resolution), None, "answered once");
            }
            Err(Unanswered::TimedOut(_)) => {
                let in_doubt = *in_doubt;
                self.ask(in_doubt);
            }
            other => panic!("the client knows: {other:?}"),
        }
    }

    /// One thing happens.
    pub(super) fn tick(&mut self) {
        self.steps += 1;
        if let Some(input) = self.inputs.pop_front() {
            return self.step(input);
        }
        match self.server.random.below(12) {
            0..=2 => self.server.work(),
            3..=6 => self.deliver(),
            7 => self.open(),
            8 => self.execute(),
            9 if self.server.fails(6) => self.server.fail_over(),
            10 if self.server.fails(6) => self.break_connection(),
            11 if self.server.fails(4) => self.withdraw(),
            _ => self.pass_time(),
        }
    }

    fn deliver(&mut self) {
        if let Some((conn, reply, payload)) = self.server.outgoing.pop_front() {
            let frame = Message::Server(reply).with(payload);
            self.step(ClientInput::Received { conn, frame });
        }
    }

    fn open(&mut self) {
        if self.dialled.is_empty() {
            return;
        }
        let (conn, node) = self.dialled.remove(0);
        if self.server.fails(4) {
            return self.step(ClientInput::Closed { conn, reason: "refused".to_owned() });
        }
        self.server.connections.insert(conn, node);
        self.step(ClientInput::Opened { conn });
    }

    fn execute(&mut self) {
        let Some(call) = self.executing.pop() else { return };
        let result = match self.server.random.below(12) {
            0 => Executed::Ignored,
            1 => Executed::Failed,
            _ => Executed::Append(Draft::default()),
        };
        self.step(ClientInput::Executed { call, partition: P, result });
    }

    fn break_connection(&mut self) {
        let connections: Vec<_> = self.server.connections.keys().copied().collect();
        if let Some(conn) = connections.first().copied() {
            self.server.drop_connection(conn);
            self.step(ClientInput::Closed { conn, reason: "reset".to_owned() });
        }
    }

    /// The application withdraws one of its last calls, perhaps one that has ended.
    fn withdraw(&mut self) {
        let back = self.server.random.below(4);
        let Some(call) = self.submitted.iter().nth_back(back).copied() else { return };
        self.withdrawn.insert(call);
        self.step(ClientInput::Cancel { call, partition: P });
    }

    /// Nobody waits within a turn.
    fn pass_time(&mut self) {
        if self.in_turn {
            return self.take_in(ClientInput::EndOfTurn);
        }
        let busy = !self.server.outgoing.is_empty() || !self.dialled.is_empty();
        if busy && self.server.calm {
            return;
        }
        let Some(alarm) = self.alarm.take() else { return };
        self.now = self.now.max(alarm);
        self.step(ClientInput::Timer);
    }

    pub(super) fn call(&mut self, n: u64) {
        let call = CallId(n);
        self.submitted.insert(call);
        let patience = patience(None, None);
        let input = if is_append(call) {
            let draft = Draft::default();
            ClientInput::Append { call, partition: P, draft, at: None, patience }
        } else {
            ClientInput::Submit { call, partition: P, patience }
        };
        self.step(input);
    }

    /// Goes on until the client is mounted, or has been.
    pub(super) fn get_under_way(&mut self) -> Result<(), Broken> {
        for _ in 0..PATIENCE {
            if self.applied > Mark::NONE || self.server.is_mounted() {
                return Ok(());
            }
            self.tick();
        }
        Err("never mounted".to_owned())
    }

    /// Faults stop: everything has to end.
    pub(super) fn settle(&mut self) -> Result<(), Broken> {
        self.server.calm = true;
        for _ in 0..PATIENCE {
            let told = self.endings.len() == self.submitted.len()
                && self.doubts.values().all(|(_, resolution)| resolution.is_some());
            if told && self.applied == self.server.committed() {
                return Ok(());
            }
            self.tick();
        }
        Err(format!("not settled: {} of {} ended", self.endings.len(), self.submitted.len()))
    }

    /// The log and the endings say the same.
    pub(super) fn check(&self) -> Result<(), Broken> {
        let ours: Vec<_> = (self.server.log.iter().enumerate())
            .filter(|(_, (req_id, _))| req_id.client == ME)
            .map(|(id, (req_id, _))| (TransactionId(id as u64), req_id.sequence))
            .collect();
        let sequences: BTreeSet<_> = ours.iter().map(|(_, sequence)| *sequence).collect();
        ensure(sequences.len() == ours.len(), "a ReqId is in the log twice")?;
        let committed: BTreeSet<_> = (self.endings.values())
            .filter_map(|ending| match ending {
                Ending::Committed(id) => Some(*id),
                _ => None,
            })
            .collect();
        for (in_doubt, resolution) in self.doubts.values() {
            let sequence = in_doubt.req_id.sequence;
            let in_log = ours.iter().find(|(_, of)| *of == sequence);
            let right =
                in_log.map_or(Resolution::NotCommitted, |(id, _)| Resolution::Committed(*id));
            let is_right = *resolution == Some(right);
            ensure(
                is_right,
                &format!("what became of {sequence} is {right:?}, not {resolution:?}"),
            )?;
        }
        let in_log: BTreeSet<_> = (ours.iter())
            .filter(|(_, sequence)| !self.doubts.contains_key(&question(*sequence)))
            .map(|(id, _)| *id)
            .collect();
        ensure(committed == in_log, "what ended as committed is not what is in the log")?;
        for (call, ending) in &self.endings {
            let is_context = !is_append(*call);
            let is_right = match ending {
                Ending::Committed(_) => true,
                // Contexts are tried until they commit.
                Ending::Ignored | Ending::Failed(Failure::Context) => is_context,
                Ending::Failed(Failure::Cancelled) | Ending::InDoubt(_) => {
                    self.withdrawn.contains(call)
                }
                Ending::Failed(_) => !is_context,
            };
            ensure(is_right, &format!("{call:?} ended as {ending:?}"))?;
        }
        Ok(())
    }
}

/// Asks about the attempt of this sequence, whose lower half is its own in a client's life.
fn question(sequence: u64) -> CallId {
    CallId(QUESTIONS + sequence % QUESTIONS)
}

/// Whether the call is an append; the others are contexts.
fn is_append(call: CallId) -> bool {
    call.0.is_multiple_of(3)
}
