//! The whole protocol against a small model of a cluster, at random: connections break, servers
//! change and lose what was not committed, requests are refused and conflict, answers get lost,
//! applying fails. In the end every call has ended exactly once, and as the log says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::rig::{ME, OTHER, P, patience, records, seconds, session, view};
use crate::client::{
    CallId, ClientConfig, ClientEffect, ClientInput, ClientMachine, Draft, Ending, Executed,
    Failure, Start,
};
use crate::id::{ClusterKey, Mark, MountId, NodeId, ReqId, SessionId, TransactionId};
use crate::io::ConnectionId;
use crate::limits::Limits;
use crate::lock::LockId;
use crate::planted::Planted;
use crate::record::{RecordView, append_with_id};
use crate::time::{Random, Time};
use crate::wire::{
    AppendRefusal, ClientRequest, Frame, Message, MountRefusal, ServerReply, Version, Welcome,
};

/// A cluster of two nodes that serve one partition in turn.
struct Server {
    random: Random,
    log: Vec<(ReqId, Bytes)>,
    /// Sequenced and not committed; lost with the session, now and then.
    sequenced: Vec<(ReqId, Bytes)>,
    generation: u64,
    session: SessionId,
    mount: Option<Served>,
    connections: BTreeMap<ConnectionId, Connection>,
    /// What is on its way to the client, in order for each connection.
    outgoing: VecDeque<(ConnectionId, ServerReply, Bytes)>,
    calm: bool,
}

#[derive(Clone, Copy)]
struct Served {
    conn: ConnectionId,
    id: MountId,
    fed: Mark,
    credit: i64,
    ready: bool,
    /// What has to be committed before it is ready.
    drained: u64,
}

struct Connection {
    node: u32,
}

impl Server {
    fn chance(&mut self, one_in: u64) -> bool {
        !self.calm && self.random.bits().is_multiple_of(one_in)
    }

    fn owner(&self) -> u32 {
        (self.generation % 2) as u32 + 1
    }

    fn committed(&self) -> Mark {
        Mark::before(TransactionId(self.log.len() as u64))
    }

    fn tell(&mut self, conn: ConnectionId, reply: ServerReply) {
        self.outgoing.push_back((conn, reply, Bytes::new()));
    }

    fn on_request(&mut self, conn: ConnectionId, request: ClientRequest, payload: &Bytes) {
        let node = self.connections[&conn].node;
        match request {
            ClientRequest::Describe => {
                self.tell(conn, ServerReply::Cluster(view(self.generation, self.owner())));
            }
            ClientRequest::Mount { mount, generation, after, credit, .. } => {
                if node != self.owner() || generation.0 != self.generation {
                    let reason = MountRefusal::NotOwner;
                    let reply = ServerReply::Unmounted { partition: P, mount, reason };
                    return self.tell(conn, reply);
                }
                assert!(after <= self.committed(), "the client has seen what is not there");
                let drained = (self.log.len() + self.sequenced.len()) as u64;
                let credit = i64::from(credit);
                self.mount =
                    Some(Served { conn, id: mount, fed: after, credit, ready: false, drained });
                let session = self.session;
                self.tell(conn, ServerReply::Mounted { partition: P, mount, session });
            }
            ClientRequest::Credit { mount, bytes, .. } => {
                if let Some(served) = self.mount.as_mut().filter(|served| served.id == mount) {
                    served.credit += i64::from(bytes);
                }
            }
            ClientRequest::Unmount { mount, .. } => {
                self.mount.take_if(|served| served.id == mount && served.conn == conn);
            }
            ClientRequest::Append { mount, session, .. } => {
                let current = self.mount.is_some_and(|served| {
                    served.ready && served.conn == conn && served.id == mount
                });
                let admitted = current && session == self.session;
                self.on_append(conn, mount, admitted, payload);
            }
            ClientRequest::Current { call, .. } => {
                let mark = self.committed();
                self.tell(conn, ServerReply::Current { call, mark });
            }
            ClientRequest::Fetch { .. }
            | ClientRequest::Status { .. }
            | ClientRequest::Operate { .. } => {}
        }
    }

    fn on_append(&mut self, conn: ConnectionId, mount: MountId, admitted: bool, payload: &Bytes) {
        let mut rest = &payload[..];
        while !rest.is_empty() {
            let (record, after) = RecordView::parse(rest, &Limits::default()).expect("sound");
            rest = after;
            let sequence = record.req_id().sequence;
            let refuse = |reason| ServerReply::AppendRefused {
                partition: P,
                mount,
                first: sequence,
                last: sequence,
                reason,
            };
            if !admitted {
                self.tell(conn, refuse(AppendRefusal::Stale));
            } else if self.chance(10) {
                self.tell(conn, refuse(AppendRefusal::Busy));
            } else if self.chance(5) && !self.log.is_empty() {
                let id = TransactionId(self.random.bits() % self.log.len() as u64);
                let lock = LockId(1);
                let conflict =
                    ServerReply::Conflict { partition: P, mount, sequence, id, lock, exact: true };
                self.tell(conn, conflict);
            } else {
                let bytes = Bytes::copy_from_slice(record.bytes());
                self.sequenced.push((record.req_id(), bytes));
            }
        }
    }

    /// Commits some of what is sequenced, other clients' records among it, and feeds.
    fn work(&mut self) {
        if self.chance(4) {
            let record = records(0, &[(OTHER, self.random.bits())]);
            let (view, _) = RecordView::parse(&record, &Limits::default()).expect("sound");
            self.sequenced.push((view.req_id(), record.clone()));
        }
        let most = if self.calm { u64::MAX } else { self.random.bits() % 4 };
        let count = self.sequenced.len().min(most as usize);
        self.log.extend(self.sequenced.drain(..count));
        self.feed();
    }

    fn feed(&mut self) {
        let Some(mut served) = self.mount else { return };
        while served.fed < self.committed() && served.credit > 0 {
            let first = served.fed.next();
            let (_, bytes) = &self.log[first.0 as usize];
            let (record, _) = RecordView::parse(bytes, &Limits::default()).expect("sound");
            let mut run = BytesMut::new();
            append_with_id(&record, first, &mut run);
            served.fed = first.mark();
            served.credit -= run.len() as i64;
            let mount = served.id;
            let reply = ServerReply::Feed { partition: P, mount, first, count: 1 };
            self.outgoing.push_back((served.conn, reply, run.freeze()));
        }
        let decided = self.committed().count() >= served.drained;
        if !served.ready && decided && served.fed == self.committed() {
            served.ready = true;
            let (mount, session, mark) = (served.id, self.session, served.fed);
            self.tell(served.conn, ServerReply::Ready { partition: P, mount, session, mark });
        }
        self.mount = Some(served);
    }

    /// Another server takes over: what was not committed is committed or lost, from one on.
    fn fail_over(&mut self) {
        let kept = (self.random.bits() % (self.sequenced.len() as u64 + 1)) as usize;
        self.log.extend(self.sequenced.drain(..kept));
        self.sequenced.clear();
        self.generation += 1;
        self.session = session(self.generation);
        if let Some(served) = self.mount.take()
            && self.random.bits().is_multiple_of(2)
        {
            let (mount, reason) = (served.id, MountRefusal::SessionEnded);
            self.tell(served.conn, ServerReply::Unmounted { partition: P, mount, reason });
        }
        let view = view(self.generation, self.owner());
        let connections: Vec<_> = self.connections.keys().copied().collect();
        for conn in connections {
            self.tell(conn, ServerReply::Cluster(view.clone()));
        }
    }

    fn drop_connection(&mut self, conn: ConnectionId) {
        self.connections.remove(&conn);
        self.outgoing.retain(|(other, ..)| *other != conn);
        self.mount.take_if(|served| served.conn == conn);
    }
}

/// The client, its application, and the cluster.
struct World {
    machine: ClientMachine,
    now: Time,
    alarm: Option<Time>,
    server: Server,
    dialled: Vec<(ConnectionId, u32)>,
    inputs: VecDeque<ClientInput>,
    executing: Vec<CallId>,
    applied: Mark,
    submitted: BTreeSet<CallId>,
    endings: BTreeMap<CallId, Ending>,
}

impl World {
    fn new(seed: u64, planted: Planted) -> Self {
        let config = ClientConfig { credit_bytes: 400, planted, ..ClientConfig::new(["n1", "n2"]) }
            .max_outstanding(4)
            .mount_timeout(seconds(1_000_000));
        let server = Server {
            random: Random::new(seed),
            log: Vec::new(),
            sequenced: Vec::new(),
            generation: 1,
            session: session(1),
            mount: None,
            connections: BTreeMap::new(),
            outgoing: VecDeque::new(),
            calm: false,
        };
        Self {
            machine: ClientMachine::new(ME, config, seed),
            now: Time(1_000_000_000),
            alarm: None,
            server,
            dialled: Vec::new(),
            inputs: VecDeque::new(),
            executing: Vec::new(),
            applied: Mark::NONE,
            submitted: BTreeSet::new(),
            endings: BTreeMap::new(),
        }
    }

    fn step(&mut self, input: ClientInput) {
        let mut effects = Vec::new();
        self.machine.step(self.now, input, &mut effects);
        if !self.server.chance(3) {
            self.machine.step(self.now, ClientInput::EndOfTurn, &mut effects);
        }
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
                let failed = self.server.chance(8);
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
            ClientEffect::Report(_)
            | ClientEffect::Attached { .. }
            | ClientEffect::Detach { .. }
            | ClientEffect::LockFailed { .. }
            | ClientEffect::Answer { .. }
            | ClientEffect::Formed { .. }
            | ClientEffect::Stop => {}
        }
    }

    fn sent(&mut self, conn: ConnectionId, frame: &Frame) {
        let Some(connection) = self.server.connections.get(&conn) else { return };
        match Message::decode(&frame.head).expect("the machine's own message") {
            Message::Hello(_) => {
                let node = NodeId(connection.node);
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
        let before = self.endings.insert(call, ending);
        assert_eq!(before, None, "{call:?} ended twice");
    }

    /// One thing happens.
    fn tick(&mut self) {
        if let Some(input) = self.inputs.pop_front() {
            return self.step(input);
        }
        match self.server.random.bits() % 12 {
            0..=2 => self.server.work(),
            3..=6 => self.deliver(),
            7 => self.open(),
            8 => self.execute(),
            9 if self.server.chance(6) => self.server.fail_over(),
            10 if self.server.chance(6) => self.break_connection(),
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
        if self.server.chance(4) {
            return self.step(ClientInput::Closed { conn, reason: "refused".to_owned() });
        }
        self.server.connections.insert(conn, Connection { node });
        self.step(ClientInput::Opened { conn });
    }

    fn execute(&mut self) {
        let Some(call) = self.executing.pop() else { return };
        let result = match self.server.random.bits() % 12 {
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

    fn pass_time(&mut self) {
        let busy = !self.server.outgoing.is_empty() || !self.dialled.is_empty();
        if busy && self.server.calm {
            return;
        }
        let Some(alarm) = self.alarm.take() else { return };
        self.now = self.now.max(alarm);
        self.step(ClientInput::Timer);
    }

    fn call(&mut self, n: u64) {
        let call = CallId(n);
        self.submitted.insert(call);
        let patience = patience(None, None);
        let input = if n.is_multiple_of(3) {
            let draft = Draft::default();
            ClientInput::Append { call, partition: P, draft, at: None, patience }
        } else {
            ClientInput::Submit { call, partition: P, patience }
        };
        self.step(input);
    }

    /// Faults stop: everything has to end.
    fn settle(&mut self) {
        self.server.calm = true;
        for _ in 0..100_000 {
            if self.endings.len() == self.submitted.len() && self.applied == self.server.committed()
            {
                return;
            }
            self.tick();
        }
        panic!("not settled: {} of {} ended", self.endings.len(), self.submitted.len());
    }

    /// The log and the endings say the same.
    fn check(&self) {
        let ours: Vec<_> = (self.server.log.iter().enumerate())
            .filter(|(_, (req_id, _))| req_id.client == ME)
            .map(|(id, (req_id, _))| (TransactionId(id as u64), req_id.sequence))
            .collect();
        let sequences: BTreeSet<_> = ours.iter().map(|(_, sequence)| *sequence).collect();
        assert_eq!(sequences.len(), ours.len(), "a ReqId is in the log twice");
        let committed: BTreeSet<_> = (self.endings.values())
            .filter_map(|ending| match ending {
                Ending::Committed(id) => Some(*id),
                _ => None,
            })
            .collect();
        let in_log: BTreeSet<_> = ours.iter().map(|(id, _)| *id).collect();
        assert_eq!(committed, in_log, "what ended as committed is what is in the log");
        for (call, ending) in &self.endings {
            match ending {
                Ending::Committed(_) => {}
                Ending::Ignored | Ending::Failed(Failure::Context) => assert_ne!(call.0 % 3, 0),
                Ending::Failed(failure) => {
                    assert_eq!(call.0 % 3, 0, "contexts are tried until they commit: {failure}");
                }
                Ending::InDoubt => panic!("nobody gave up"),
            }
        }
    }
}

proptest! {
    #[test]
    fn every_call_ends_once_and_as_the_log_says(
        seed in any::<u64>(),
        calls in 1_u64..40,
        between in 1_usize..30,
    ) {
        run(seed, calls, between, Planted::NONE);
    }
}

fn run(seed: u64, calls: u64, between: usize, planted: Planted) {
    let mut world = World::new(seed, planted);
    world.step(ClientInput::EndOfTurn);
    while world.applied == Mark::NONE && world.server.mount.is_none() {
        world.tick();
    }
    for n in 0..calls {
        world.call(n);
        for _ in 0..between {
            world.tick();
        }
    }
    world.settle();
    world.check();
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_request_that_is_sent_again_under_its_old_name_shows() {
    use crate::planted::PlantedBug;
    let noticed = |seed: &u64| {
        let planted = Planted::bug(PlantedBug::DuplicateRequest);
        std::panic::catch_unwind(|| run(*seed, 20, 8, planted)).is_err()
    };
    assert!((0..200).find(noticed).is_some());
}
