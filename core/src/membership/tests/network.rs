//! A coordinator, its journal, agents and the connections between them, in virtual time.
//!
//! A connection keeps the order of its messages and delays each. When it is cut, what was on the
//! way to the agent is lost, and some of what was on the way to the coordinator still arrives. Each
//! tick checks what must hold whatever happens.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::coordinator::{Change, Coordinator, LeaseId};
use crate::id::{Epoch, Generation, NodeId, PartitionId, StorageId};
use crate::io::{Address, Caller, ConnectionId, Context, Effect, Ticket, Tickets};
use crate::journal::EntryHead;
use crate::membership::{
    Agent, AgentConfig, AgentEvent, Assignment, Control, ControllerConfig, Edit, EditId, Fact,
    LEASE_TTL, Locality, Name, PartitionMeta,
};
use crate::time::{Random, Time};
use crate::wire::{FromCoordinator, ToCoordinator};

pub(super) const TICK: Duration = Duration::from_millis(10);
/// The node that hosts the coordinator.
pub(super) const HOST: NodeId = NodeId(1);

type Replies = Vec<(Caller, FromCoordinator)>;

pub(super) struct Network {
    pub(super) now: Time,
    pub(super) random: Random,
    host: Option<Host>,
    /// What a restart of the host finds.
    pub(super) journal: Vec<Change>,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    wires: BTreeMap<Caller, Wire>,
    connections: u64,
    checks: Checks,
    /// What agents and coordinator told the operator.
    pub(super) reports: Vec<String>,
}

struct Host {
    coordinator: Coordinator,
    tickets: Tickets,
    unsynced: VecDeque<(Time, Ticket, Change)>,
}

/// A node; without an agent it is dead.
pub(super) struct Peer {
    pub(super) config: AgentConfig,
    pub(super) agent: Option<Agent>,
    pub(super) events: Vec<AgentEvent>,
    connects_at: Time,
}

struct Wire {
    node: NodeId,
    up: VecDeque<(Time, ToCoordinator)>,
    down: VecDeque<(Time, FromCoordinator)>,
    cut: bool,
}

/// What was seen so far of what must hold always.
#[derive(Default)]
struct Checks {
    kept_alive: BTreeMap<LeaseId, Time>,
    released: BTreeSet<LeaseId>,
    /// Whose lease each key lives with.
    holders: BTreeMap<Name, LeaseId>,
    assignments: BTreeMap<PartitionId, Assignment>,
    metas: BTreeMap<PartitionId, PartitionMeta>,
    /// The permanent records that operators delete, beside their own wishes.
    deletes: Option<fn(Name) -> bool>,
    /// Operators restore a cluster: generations may begin anywhere.
    restores: bool,
    epochs: BTreeSet<(PartitionId, Epoch)>,
}

impl Checks {
    fn on_request(&mut self, now: Time, request: &ToCoordinator) {
        match request {
            ToCoordinator::KeepAlive { lease, .. } => {
                self.kept_alive.insert(*lease, now);
            }
            ToCoordinator::Release { lease } => {
                self.released.insert(*lease);
            }
            _ => {}
        }
    }

    fn on_change(&mut self, now: Time, change: &Change) {
        let name = Name::parse(&change.key).expect("agents write names only");
        let Some((value, lease)) = &change.value else {
            let is_wish = matches!(name, Name::Operations(_) | Name::Region(_) | Name::Loads);
            if is_wish || self.deletes.is_some_and(|deletes| deletes(name)) {
                return;
            }
            let holder = self.holders.remove(&name);
            let holder = holder.unwrap_or_else(|| panic!("{} is permanent", change.key));
            let kept_alive = self.kept_alive.get(&holder).copied().unwrap_or_default();
            let ended = self.released.contains(&holder) || now - kept_alive >= LEASE_TTL;
            return assert!(ended, "{} lost its lease after {:?}", change.key, now - kept_alive);
        };
        match Fact::decode(name, value).expect("agents write facts only") {
            Fact::Node(..) | Fact::Controller(_) => {
                self.holders.insert(name, lease.expect("such a key is leased"));
            }
            Fact::Assignment(partition, assignment) => {
                let former = self.assignments.insert(partition, assignment);
                let next = former.map_or(1, |former| former.generation.0 + 1);
                let is_next = assignment.generation == Generation(next);
                assert!(is_next || former.is_none() && self.restores, "{partition}");
                assert_ne!(former.map(|former| former.server), Some(assignment.server));
            }
            Fact::Partition(partition, meta) => {
                let former = self.metas.insert(partition, meta.clone());
                let former = former.filter(|former| former.creation == meta.creation);
                assert!(former.is_none_or(|former| former.version < meta.version), "{partition}");
            }
            _ => assert_eq!(*lease, None, "{} is permanent", change.key),
        }
    }

    /// The host lost changes that were not durable.
    fn on_crash(&mut self, journal: &[Change]) {
        self.holders.clear();
        self.assignments.clear();
        self.metas.clear();
        for change in journal {
            let name = Name::parse(&change.key).expect("checked when it was written");
            let fact =
                change.value.as_ref().map(|(value, lease)| (Fact::decode(name, value), lease));
            match (name, fact) {
                (Name::Node(_) | Name::Controller, None) => {
                    self.holders.remove(&name);
                }
                (Name::Node(_) | Name::Controller, Some((_, Some(lease)))) => {
                    self.holders.insert(name, *lease);
                }
                (_, Some((Ok(Fact::Assignment(partition, assignment)), _))) => {
                    self.assignments.insert(partition, assignment);
                }
                _ => {}
            }
        }
    }
}

/// The configuration of a node that keeps logs and serves.
pub(super) fn config(node: NodeId) -> AgentConfig {
    AgentConfig {
        node,
        address: Some(Address(format!("{node}:7400"))),
        storage: Some(StorageId(100 + u64::from(node.0))),
        used: false,
        server: true,
        preferred: BTreeSet::new(),
        locality: Locality::default(),
        lease_ttl: LEASE_TTL,
        control: Control::Never,
    }
}

impl Network {
    /// Nodes 1 to `nodes`, the first being the host, all running.
    pub(super) fn new(seed: u64, nodes: u32, cluster: ControllerConfig) -> Self {
        Self::controlled(seed, nodes, |node| match node {
            HOST => Control::Alone(cluster),
            _ => Control::Never,
        })
    }

    /// As [`Self::new`], with nodes that control as they are told.
    pub(super) fn controlled(seed: u64, nodes: u32, control: impl Fn(NodeId) -> Control) -> Self {
        let peers = (1..=nodes).map(NodeId).map(|node| {
            let config = AgentConfig { control: control(node), ..config(node) };
            (node, Peer { config, agent: None, events: Vec::new(), connects_at: Time::ZERO })
        });
        let mut network = Self {
            now: Time::ZERO,
            random: Random::new(seed),
            host: None,
            journal: Vec::new(),
            peers: peers.collect(),
            wires: BTreeMap::new(),
            connections: 0,
            checks: Checks::default(),
            reports: Vec::new(),
        };
        for node in (1..=nodes).map(NodeId) {
            network.boot(node);
        }
        network
    }

    pub(super) fn is_up(&self, node: NodeId) -> bool {
        self.peers[&node].agent.is_some()
    }

    /// The live nodes that believe they control.
    pub(super) fn controllers(&self) -> Vec<NodeId> {
        let live = self.peers.iter().filter_map(|(node, peer)| Some((*node, peer.agent.as_ref()?)));
        live.filter(|(_, agent)| agent.controls()).map(|(node, _)| node).collect()
    }

    pub(super) fn agent(&self, node: NodeId) -> &Agent {
        self.peers[&node].agent.as_ref().expect("the node is up")
    }

    fn peer(&mut self, node: NodeId) -> &mut Peer {
        self.peers.get_mut(&node).expect("the network's nodes are fixed")
    }

    pub(super) fn boot(&mut self, node: NodeId) {
        let config = self.peers[&node].config.clone();
        let agent = Agent::new(config, &mut self.random);
        let now = self.now;
        let peer = self.peer(node);
        assert!(peer.agent.replace(agent).is_none(), "{node} is up already");
        peer.connects_at = now;
        if node == HOST {
            let mut coordinator = Coordinator::new();
            for change in &self.journal {
                coordinator.replay(change).expect("what was journalled replays");
            }
            let (tickets, unsynced) = (Tickets::default(), VecDeque::new());
            self.host = Some(Host { coordinator, tickets, unsynced });
            self.coordinate(|coordinator, cx, _| coordinator.start(cx));
        }
    }

    /// Kills a node. What the host journalled last may be durable or not.
    pub(super) fn crash(&mut self, node: NodeId) {
        self.cut(node);
        self.peer(node).agent = None;
        if node == HOST
            && let Some(host) = self.host.take()
        {
            let survives = self.random.bits() as usize % (host.unsynced.len() + 1);
            self.journal
                .extend(host.unsynced.into_iter().take(survives).map(|(.., change)| change));
            self.checks.on_crash(&self.journal);
            for peer in self.peers.keys().copied().collect::<Vec<_>>() {
                self.cut(peer);
            }
            self.wires.clear();
        }
    }

    /// Stops a node in an orderly way.
    pub(super) fn stop(&mut self, node: NodeId) {
        self.act(node, |agent, _, out, _| agent.release(out));
        self.run(Duration::from_millis(200));
        self.crash(node);
    }

    /// Cuts a node's connection, if it has one; it connects again after `away`.
    pub(super) fn part(&mut self, node: NodeId, away: Duration) {
        self.cut(node);
        self.peer(node).connects_at = self.now + away;
    }

    fn cut(&mut self, node: NodeId) {
        for wire in self.wires.values_mut().filter(|wire| wire.node == node && !wire.cut) {
            wire.cut = true;
            wire.down.clear();
            let arrives = self.random.bits() as usize % (wire.up.len() + 1);
            wire.up.truncate(arrives);
            if let Some(agent) = &mut self.peers.get_mut(&node).expect("known").agent {
                agent.on_disconnected();
            }
        }
    }

    /// Everything the coordinator knew is gone.
    pub(super) fn wipe(&mut self) {
        self.crash(HOST);
        self.journal.clear();
        self.checks.on_crash(&[]);
        self.boot(HOST);
    }

    /// From now on these permanent records may be deleted.
    pub(super) fn may_delete(&mut self, names: fn(Name) -> bool) {
        self.checks.deletes = Some(names);
    }

    /// From now on generations may begin anywhere.
    pub(super) fn may_restore(&mut self) {
        self.checks.restores = true;
    }

    /// There are replicas on a node's disk from now on, in later lives, too.
    pub(super) fn use_disk(&mut self, node: NodeId) {
        self.peer(node).config.used = true;
        self.act(node, |agent, _, _, _| agent.use_disk());
    }

    pub(super) fn take_epoch(
        &mut self,
        node: NodeId,
        partition: PartitionId,
        above: Option<Epoch>,
    ) {
        self.act(node, |agent, _, _, _| agent.take_epoch(partition, above));
    }

    pub(super) fn edit(&mut self, node: NodeId, edit: Edit, deadline: Option<Time>) -> EditId {
        let mut id = None;
        self.act(node, |agent, _, _, _| id = agent.edit(edit, deadline).ok());
        id.expect("there is room for an edit")
    }

    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.tick();
        }
    }

    /// Runs until something holds, at most so long.
    pub(super) fn run_until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) {
        let end = self.now + limit;
        while !holds(self) {
            assert!(self.now < end, "it took longer than {limit:?}");
            self.tick();
        }
    }

    pub(super) fn tick(&mut self) {
        self.now = self.now + TICK;
        self.sync();
        self.deliver_up();
        if let Some(host) = &self.host
            && host.coordinator.deadline().is_some_and(|deadline| deadline <= self.now)
        {
            self.coordinate(|coordinator, cx, replies| coordinator.on_timer(cx, replies));
        }
        self.deliver_down();
        for node in self.peers.keys().copied().collect::<Vec<_>>() {
            let now = self.now;
            let due = |time: Time| time <= now;
            let Some(agent) = &self.peers[&node].agent else { continue };
            if agent.deadline().is_some_and(due) {
                self.act(node, |agent, cx, out, events| agent.on_timer(cx, out, events));
            }
            let connected = self.wires.values().any(|wire| wire.node == node && !wire.cut);
            if !connected && self.host.is_some() && due(self.peers[&node].connects_at) {
                self.connect(node);
            }
        }
    }

    fn connect(&mut self, node: NodeId) {
        self.connections += 1;
        let caller = match node {
            HOST => Caller::Local,
            _ => Caller::Peer(ConnectionId::accepted(self.connections)),
        };
        let (up, down) = (VecDeque::new(), VecDeque::new());
        self.wires.insert(caller, Wire { node, up, down, cut: false });
        self.act(node, |agent, cx, out, _| agent.on_connected(cx, out));
    }

    /// Makes durable what the disk got to.
    fn sync(&mut self) {
        let Some(host) = &mut self.host else { return };
        let mut up_to = None;
        while let Some((_, ticket, change)) =
            host.unsynced.pop_front_if(|(due, ..)| *due <= self.now)
        {
            self.journal.push(change);
            up_to = Some(ticket);
        }
        if let Some(up_to) = up_to {
            self.coordinate(|coordinator, _, replies| coordinator.on_durable(up_to, replies));
        }
    }

    fn deliver_up(&mut self) {
        for caller in self.wires.keys().copied().collect::<Vec<_>>() {
            while let Some((_, request)) = self
                .wires
                .get_mut(&caller)
                .and_then(|wire| wire.up.pop_front_if(|(due, _)| *due <= self.now))
            {
                self.checks.on_request(self.now, &request);
                self.coordinate(|coordinator, cx, replies| {
                    coordinator.on_request(cx, caller, request, replies);
                });
            }
            if self.wires[&caller].cut && self.wires[&caller].up.is_empty() {
                self.wires.remove(&caller);
                self.coordinate(|coordinator, _, _| coordinator.on_closed(caller));
            }
        }
    }

    fn deliver_down(&mut self) {
        for caller in self.wires.keys().copied().collect::<Vec<_>>() {
            let node = self.wires[&caller].node;
            while let Some((_, message)) = self
                .wires
                .get_mut(&caller)
                .and_then(|wire| wire.down.pop_front_if(|(due, _)| *due <= self.now))
            {
                self.act(node, |agent, cx, _, events| agent.on_message(cx, message, events));
            }
        }
    }

    fn delay(&mut self, local: bool) -> Duration {
        if local { Duration::ZERO } else { self.random.between(Duration::ZERO, TICK * 5) }
    }

    /// Lets the coordinator do something.
    fn coordinate(&mut self, act: impl FnOnce(&mut Coordinator, &mut Context<'_>, &mut Replies)) {
        let Some(host) = &mut self.host else { return };
        let (mut effects, mut replies) = (Vec::new(), Vec::new());
        let mut cx = Context {
            now: self.now,
            random: &mut self.random,
            tickets: &mut host.tickets,
            effects: &mut effects,
        };
        act(&mut host.coordinator, &mut cx, &mut replies);
        for effect in effects {
            match effect {
                Effect::Append { entry, ticket } => {
                    let EntryHead::Coordinator(change) = entry.head else {
                        panic!("the coordinator journals changes only")
                    };
                    self.checks.on_change(self.now, &change);
                    let due = self.now + self.random.between(Duration::ZERO, TICK * 3);
                    let after = host.unsynced.back().map_or(Time::ZERO, |(due, ..)| *due);
                    host.unsynced.push_back((due.max(after), ticket, change));
                }
                Effect::Report(report) => self.reports.push(report.text),
                other => panic!("the coordinator wants {other:?}"),
            }
        }
        for (caller, reply) in replies {
            let due = self.now + self.delay(caller == Caller::Local);
            let wire = self.wires.get_mut(&caller).expect("no answer to a closed connection");
            let after = wire.down.back().map_or(Time::ZERO, |(due, _)| *due);
            if !wire.cut {
                wire.down.push_back((due.max(after), reply));
            }
        }
    }

    /// Lets an agent do something, and what follows from it: a turn.
    fn act(
        &mut self,
        node: NodeId,
        act: impl FnOnce(&mut Agent, &mut Context<'_>, &mut Vec<ToCoordinator>, &mut Vec<AgentEvent>),
    ) {
        let (mut effects, mut out, mut events) = (Vec::new(), Vec::new(), Vec::new());
        let mut tickets = Tickets::default();
        let agent = self.peers.get_mut(&node).and_then(|peer| peer.agent.as_mut());
        let mut cx = Context {
            now: self.now,
            random: &mut self.random,
            tickets: &mut tickets,
            effects: &mut effects,
        };
        let agent = agent.expect("the node is up");
        act(agent, &mut cx, &mut out, &mut events);
        agent.settle(&mut cx, &mut out, &mut events);
        for effect in effects {
            match effect {
                Effect::Report(report) => self.reports.push(report.text),
                other => panic!("an agent wants {other:?}"),
            }
        }
        for event in &events {
            if let AgentEvent::Epoch { partition, epoch } = *event {
                assert!(self.checks.epochs.insert((partition, epoch)), "{partition} {epoch} again");
            }
        }
        self.peer(node).events.extend(events);
        for request in out {
            let due = self.now + self.delay(node == HOST);
            let open = self.wires.values_mut().find(|wire| wire.node == node && !wire.cut);
            if let Some(wire) = open {
                let after = wire.up.back().map_or(Time::ZERO, |(due, _)| *due);
                wire.up.push_back((due.max(after), request));
            }
        }
    }
}
