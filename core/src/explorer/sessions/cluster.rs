//! Sessions, storage nodes and the connections between them, moved by hand.
//!
//! Nothing happens by itself: a message waits until it is delivered, an entry until it is synced.
//! A connection delivers in order. When it is lost, its answers are lost with it, while its
//! requests may still reach the node, even after those of a later connection.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::event::Event;
use crate::id::{
    ClientId, Epoch, Generation, Mark, Member, NodeId, ReplicaSet, ReqId, SetVersion, StorageId,
    TransactionId,
};
use crate::io::{Caller, ConnectionId};
use crate::limits::Limits;
use crate::log::SetChange;
use crate::planted::Planted;
use crate::record::{NewRecord, RecordView};
use crate::sequencer::{Outputs, Sequencer, SequencerConfig, SequencerOutput};
use crate::storage::StorageReply;
use crate::storage::testing::{CREATION, PARTITION, Rig, member};
use crate::time::Time;
use crate::wire::{ReplicaAnswer, ToReplica, Version};

/// A connection from a session to a node.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) epoch: u64,
    pub(crate) node: NodeId,
    /// Whether the session still has it; if not, what is left is on its way to the node.
    pub(crate) is_up: bool,
    pub(crate) version: Version,
    pub(crate) requests: VecDeque<(ToReplica, Bytes)>,
    pub(crate) answers: VecDeque<(ReplicaAnswer, Bytes)>,
}

/// What happens to the requests on a connection that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// They are lost too.
    Everything,
    /// They may still arrive.
    AnswersOnly,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// How sessions opened from now on replicate.
    pub(crate) config: SequencerConfig,
    pub(crate) set: ReplicaSet,
    pub(crate) nodes: BTreeMap<NodeId, Rig>,
    /// By epoch; those that are over are gone.
    pub(crate) sessions: BTreeMap<u64, Sequencer>,
    /// By number: in the order they were made.
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) now: Time,
    /// What happened since it was last taken.
    pub(crate) events: Vec<Event>,
    /// Nodes that speak the oldest version only, and the sessions of servers that do.
    old_nodes: BTreeSet<NodeId>,
    old_sessions: BTreeSet<u64>,
    /// Disks that were taken out.
    shelf: BTreeMap<NodeId, Rig>,
    connected: u64,
    appended: u64,
}

impl Cluster {
    pub(crate) fn new(size: u32, planted: Planted) -> Self {
        Self::with_spares(size, 0, planted)
    }

    /// A replica set of so many nodes, and nodes beyond it that may be added.
    pub(crate) fn with_spares(size: u32, spares: u32, planted: Planted) -> Self {
        let config =
            SequencerConfig { planted, ..SequencerConfig::new(NodeId(1), Limits::default()) };
        let all = (1..=size + spares).map(member);
        Self {
            config,
            set: ReplicaSet((1..=size).map(member).collect()),
            nodes: all.map(|member| (member.node, Rig::of(member, planted))).collect(),
            sessions: BTreeMap::new(),
            connections: BTreeMap::new(),
            now: Time::ZERO,
            events: Vec::new(),
            old_nodes: BTreeSet::new(),
            old_sessions: BTreeSet::new(),
            shelf: BTreeMap::new(),
            connected: 0,
            appended: 0,
        }
    }

    /// A server begins a session; it reaches nobody yet.
    pub(crate) fn open(&mut self, epoch: u64, server: NodeId) {
        let config = SequencerConfig { node: server, ..self.config };
        let session = config.session(Epoch(epoch), epoch);
        let hint = SetChange::initial(SetVersion::FIRST, self.set.clone());
        let sequencer = Sequencer::new(config.into(), PARTITION, CREATION, session, hint);
        assert!(self.sessions.insert(epoch, sequencer).is_none(), "epochs are used once");
        if self.is_old(server) {
            self.old_sessions.insert(epoch);
        }
    }

    /// A session's server dies.
    pub(crate) fn stop(&mut self, epoch: u64, loss: Loss) {
        self.sessions.remove(&epoch);
        for number in self.connections_of(|connection| connection.epoch == epoch) {
            self.lose(number, loss);
        }
    }

    pub(crate) fn is_linked(&self, epoch: u64, node: NodeId) -> bool {
        self.up(epoch, node).is_some()
    }

    /// A session gets a new connection to a node.
    pub(crate) fn link(&mut self, epoch: u64, node: NodeId) {
        assert!(!self.is_linked(epoch, node), "one connection at a time");
        self.connected += 1;
        let (requests, answers) = (VecDeque::new(), VecDeque::new());
        let is_old = self.old_sessions.contains(&epoch) || self.is_old(node);
        let version = if is_old { Version::OLDEST } else { Version::NEWEST };
        let connection = Connection { epoch, node, is_up: true, version, requests, answers };
        self.connections.insert(self.connected, connection);
        self.reach(epoch, node, version);
    }

    /// A session's connection to a node is lost.
    pub(crate) fn cut(&mut self, epoch: u64, node: NodeId, loss: Loss) {
        if let Some(number) = self.up(epoch, node) {
            self.lose(number, loss);
            let now = self.now;
            self.with(epoch, |sequencer, outputs| sequencer.on_unreachable(now, node, outputs));
        }
    }

    /// A node loses power and starts again: what is not durable is gone.
    pub(crate) fn crash(&mut self, node: NodeId) {
        self.rig(node).restart();
        self.disconnect(node);
    }

    /// Whether a node speaks the oldest version only.
    pub(crate) fn is_old(&self, node: NodeId) -> bool {
        self.old_nodes.contains(&node)
    }

    /// A node is killed and comes back with the oldest version of the protocol, or the newest.
    /// Sessions of its server are over.
    pub(crate) fn roll(&mut self, node: NodeId, is_old: bool) {
        match is_old {
            true => self.old_nodes.insert(node),
            false => self.old_nodes.remove(&node),
        };
        let served = self.sessions.iter().filter(|(_, s)| s.session().server == node);
        let served: Vec<_> = served.map(|(epoch, _)| *epoch).collect();
        for epoch in served {
            self.stop(epoch, Loss::AnswersOnly);
        }
        self.crash(node);
    }

    /// A node starts again with its other disk: one that was never here, or the one from before.
    pub(crate) fn swap_disk(&mut self, node: NodeId) {
        let member = Member { node, storage: StorageId(900) };
        let other = self.shelf.remove(&node);
        let other = other.unwrap_or_else(|| Rig::of(member, self.config.planted));
        self.disconnect(node);
        let mut taken = self.nodes.insert(node, other).expect("a node of the cluster");
        taken.restart();
        self.shelf.insert(node, taken);
    }

    /// The next request on a connection reaches its node. Nothing more comes of a lost connection
    /// without requests: the node notices.
    pub(crate) fn deliver_request(&mut self, number: u64) {
        let connection = self.connections.get_mut(&number).expect("a connection");
        let (node, next) = (connection.node, connection.requests.pop_front());
        let Some((request, payload)) = next else {
            assert!(!connection.is_up, "a request is on its way");
            self.close(number);
            return;
        };
        let (session, asked) = (request.session, request.request.clone());
        self.events.push(Event::Request { session, node, request: asked });
        let caller = Caller::Peer(ConnectionId::accepted(number));
        self.at(node, |rig| rig.send(caller, request, payload));
    }

    /// The next requests on a connection reach their node.
    pub(crate) fn deliver_requests(&mut self, number: u64, count: usize) {
        let waiting = self.connections.get(&number).map_or(0, |c| c.requests.len());
        (0..waiting.min(count)).for_each(|_| self.deliver_request(number));
    }

    /// The next request from a session to a node will arrive twice.
    pub(crate) fn repeat(&mut self, epoch: u64, node: NodeId) {
        let number = self.up(epoch, node).expect("a connection");
        let connection = self.connections.get_mut(&number).expect("a connection");
        let request = connection.requests.front().expect("a request is on its way").clone();
        connection.requests.push_front(request);
    }

    /// The next answer on a connection reaches its session.
    pub(crate) fn deliver_answer(&mut self, number: u64) {
        let connection = self.connections.get_mut(&number).expect("a connection");
        let (epoch, node) = (connection.epoch, connection.node);
        let (answer, payload) = connection.answers.pop_front().expect("an answer is on its way");
        let session = self.sessions[&epoch].session();
        self.events.push(Event::Answer { session, node, answer: answer.clone() });
        let now = self.now;
        self.with(epoch, |sequencer, outputs| {
            sequencer.on_answer(now, node, answer, payload, outputs);
        });
    }

    /// The next answers on a connection reach their session.
    pub(crate) fn deliver_answers(&mut self, number: u64, count: usize) {
        for _ in 0..count {
            if self.connections.get(&number).is_none_or(|c| c.answers.is_empty()) {
                return;
            }
            self.deliver_answer(number);
        }
    }

    /// Entries a node has not made durable.
    pub(crate) fn unsynced(&self, node: NodeId) -> usize {
        self.nodes[&node].journal.len() - self.nodes[&node].durable
    }

    /// A node makes its next `count` entries durable.
    pub(crate) fn sync(&mut self, node: NodeId, count: usize) {
        self.at(node, |rig| rig.sync(count));
    }

    pub(crate) fn finish_read(&mut self, node: NodeId) {
        self.at(node, Rig::finish_read);
    }

    /// A node looks for rot, as far as one reading goes.
    pub(crate) fn wake(&mut self, node: NodeId) {
        self.at(node, Rig::wake);
    }

    /// A bit of a stored record flips.
    pub(crate) fn rot(&mut self, node: NodeId, id: TransactionId) {
        self.rig(node).rot(id.0);
    }

    pub(crate) fn fail_read(&mut self, node: NodeId) {
        self.at(node, |rig| rig.fail_read("input/output error"));
    }

    /// A node's disk has no room for records, or has again.
    pub(crate) fn fill(&mut self, node: NodeId, is_full: bool) {
        self.at(node, |rig| rig.fill(is_full));
    }

    /// Numbers `count` records that no other append equals, and sends them.
    pub(crate) fn append(&mut self, epoch: u64, count: u64) {
        for _ in 0..count {
            self.appended += 1;
            let bytes = record(epoch, self.appended);
            self.with(epoch, |sequencer, outputs| {
                let (record, _) = RecordView::parse(&bytes, &Limits::default()).expect("encoded");
                sequencer.append(&record, outputs);
            });
        }
        self.with(epoch, Sequencer::flush);
    }

    pub(crate) fn confirm(&mut self, epoch: u64, round: u64) {
        self.with(epoch, |sequencer, outputs| sequencer.confirm(round, outputs));
    }

    /// A node that no replica set names.
    pub(crate) fn add_spare(&mut self, node: NodeId) {
        let member = member(node.0);
        self.nodes.insert(node, Rig::of(member, self.config.planted));
    }

    /// A node crashes, and finds no more than so many of its entries.
    pub(crate) fn suspect(&mut self, node: NodeId, count: usize) {
        self.rig(node).restart_suspect(count);
        self.disconnect(node);
    }

    /// A session begins with these nodes alone, whatever others hold.
    pub(crate) fn recover(&mut self, epoch: u64, survivors: &[NodeId]) {
        self.open(epoch, NodeId(1));
        let sequencer = self.sessions.get_mut(&epoch).expect("it was just opened");
        sequencer.force(survivors.iter().copied().collect());
        for node in survivors {
            self.link(epoch, *node);
        }
    }

    /// A session is told which replicas there should be.
    pub(crate) fn aim(&mut self, epoch: u64, target: Option<ReplicaSet>) {
        self.with(epoch, |sequencer, outputs| sequencer.aim(target, outputs));
    }

    pub(crate) fn trim(&mut self, epoch: u64, start: Mark) {
        self.with(epoch, |sequencer, outputs| sequencer.trim(start, outputs));
    }

    pub(crate) fn read(&mut self, epoch: u64, asked: u64, first: TransactionId, to: Mark) {
        self.with(epoch, |sequencer, outputs| sequencer.read(asked, first, to, 300, outputs));
    }

    /// Time passes, at once for every session.
    pub(crate) fn wait(&mut self, pause: Duration) {
        self.now = self.now + pause;
        let now = self.now;
        for epoch in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.with(epoch, |sequencer, outputs| {
                if sequencer.deadline().is_some_and(|deadline| deadline <= now) {
                    sequencer.on_timer(now, outputs);
                }
            });
        }
    }

    /// Delivers, syncs and reads at these nodes until nothing is left to do there. False: it does
    /// not end.
    #[must_use]
    pub(crate) fn settle(&mut self, nodes: &[NodeId]) -> bool {
        for _ in 0..10_000 {
            let mut is_quiet = true;
            for number in self.connections_of(|connection| nodes.contains(&connection.node)) {
                is_quiet &= !self.drain(number);
            }
            for node in nodes {
                while self.unsynced(*node) > 0 {
                    self.sync(*node, usize::MAX);
                    is_quiet = false;
                }
                while !self.nodes[node].reads.is_empty() {
                    self.finish_read(*node);
                    is_quiet = false;
                }
            }
            if is_quiet {
                return true;
            }
        }
        false
    }

    /// Delivers what is on a connection. Whether there was anything.
    pub(crate) fn drain(&mut self, number: u64) -> bool {
        let mut delivered = false;
        while let Some(connection) = self.connections.get(&number) {
            if !connection.answers.is_empty() {
                self.deliver_answer(number);
            } else if !connection.requests.is_empty() || !connection.is_up {
                self.deliver_request(number);
            } else {
                break;
            }
            delivered = true;
        }
        delivered
    }

    /// Connections by number.
    pub(crate) fn connections_of(&self, wanted: impl Fn(&Connection) -> bool) -> Vec<u64> {
        let wanted = self.connections.iter().filter(|(_, connection)| wanted(connection));
        wanted.map(|(number, _)| *number).collect()
    }

    fn up(&self, epoch: u64, node: NodeId) -> Option<u64> {
        let is_it = |connection: &Connection| {
            connection.is_up && (connection.epoch, connection.node) == (epoch, node)
        };
        self.connections_of(is_it).first().copied()
    }

    fn rig(&mut self, node: NodeId) -> &mut Rig {
        self.nodes.get_mut(&node).expect("a node of the cluster")
    }

    fn disconnect(&mut self, node: NodeId) {
        for number in self.connections_of(|connection| connection.node == node) {
            let Connection { epoch, is_up, .. } = self.connections[&number];
            if is_up {
                self.cut(epoch, node, Loss::Everything);
            } else {
                self.close(number);
            }
        }
    }

    fn lose(&mut self, number: u64, loss: Loss) {
        let connection = self.connections.get_mut(&number).expect("a connection");
        connection.is_up = false;
        connection.answers.clear();
        if loss == Loss::Everything {
            self.close(number);
        }
    }

    fn close(&mut self, number: u64) {
        let connection = self.connections.remove(&number).expect("a connection");
        self.rig(connection.node).close(Caller::Peer(ConnectionId::accepted(number)));
    }

    /// Does something at a node and sends what it answers.
    fn at(&mut self, node: NodeId, action: impl FnOnce(&mut Rig) -> Vec<StorageReply>) {
        let rig = self.rig(node);
        let written = rig.journal.len();
        let replies = action(rig);
        let heads = rig.journal[written..].iter().map(|written| written.head.clone());
        let wrote: Vec<_> = heads.map(|head| Event::Wrote { node, head }).collect();
        let reports = std::mem::take(&mut rig.reports).into_iter();
        self.events.extend(wrote);
        self.events.extend(reports.map(|report| Event::Reported { node, report }));
        for StorageReply { to, message, payload } in replies {
            let number =
                self.connections_of(|connection| connection.is_up && connection.node == node);
            let is_it = |number: &u64| to == Caller::Peer(ConnectionId::accepted(*number));
            if let Some(number) = number.into_iter().find(is_it) {
                let connection = self.connections.get_mut(&number).expect("a connection");
                if message.answer.since() <= connection.version {
                    connection.answers.push_back((message.answer, payload));
                } else {
                    let is_unasked = matches!(message.answer, ReplicaAnswer::Damaged { .. });
                    assert!(is_unasked, "only what was asked for is answered");
                }
            }
        }
    }

    fn reach(&mut self, epoch: u64, node: NodeId, version: Version) {
        self.with(epoch, |sequencer, outputs| sequencer.on_reachable(node, version, outputs));
    }

    /// Does something with a session, if it still goes on, and sends what it asks.
    fn with(&mut self, epoch: u64, action: impl FnOnce(&mut Sequencer, &mut Outputs)) {
        let Some(sequencer) = self.sessions.get_mut(&epoch) else { return };
        let session = sequencer.session();
        let mut outputs = Outputs::new();
        action(sequencer, &mut outputs);
        for output in outputs {
            match output {
                SequencerOutput::ToReplica { node, request, payload } => {
                    let number = self.up(epoch, node).unwrap_or_else(|| {
                        panic!("only who is reachable is asked: {node} {request:?}")
                    });
                    let connection = self.connections.get_mut(&number).expect("a connection");
                    assert!(request.request.since() <= connection.version, "{request:?}");
                    connection.requests.push_back((request, payload));
                }
                SequencerOutput::Reach { node } => {
                    self.events.push(Event::Said { session, output });
                    if let Some(number) = self.up(epoch, node) {
                        self.reach(epoch, node, self.connections[&number].version);
                    }
                }
                output => {
                    let is_over = matches!(output, SequencerOutput::Over { .. });
                    self.events.push(Event::Said { session, output });
                    if is_over {
                        self.stop(epoch, Loss::AnswersOnly);
                        return;
                    }
                }
            }
        }
    }
}

/// A record that its number tells apart.
fn record(epoch: u64, sequence: u64) -> BytesMut {
    let req_id = ReqId {
        client: ClientId(epoch),
        generation: Generation(epoch),
        partition: PARTITION,
        sequence,
    };
    let new = NewRecord {
        req_id,
        header: 0,
        computed_at: Mark::NONE,
        writes: &[],
        reads: &[],
        appends: &[],
        data: &[b'x'; 20],
    };
    let mut encoded = BytesMut::new();
    new.encode(&Limits::default(), &mut encoded).expect("within the limits");
    encoded
}
