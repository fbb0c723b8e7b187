//! A node: one machine composed of the roles it has.
//!
//! ```text
//!            ┌──────────────────────── Node ───────────────────────┐
//!  frames ──▶│ links ─▶ partitions ─▶ storage ─▶ journal entries ──┼──▶ effects
//!  durable ─▶│            (server)    (replicas)                   │
//!  timer ───▶│ agent ─▶ coordinator ──────────▶ journal entries    │
//!            └─────────────────────────────────────────────────────┘
//! ```
//!
//! Messages between roles of one node are delivered inside the same step, through a queue of
//! tasks; between nodes they are frames. It decides nothing itself: it routes.

mod access;
mod clients;
mod config;
mod directory;
mod inspecting;
mod links;
mod measure;
mod operators;
mod recent;
mod recovered;
mod tasks;
mod timers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::coordinator::Coordinator;
use crate::id::{Mark, Member, NodeId, PartitionId, StorageId};
use crate::io::{Address, ConnectionId, Context, Effect, Input, Level, Ticket, Tickets};
use crate::journal::Place;
use crate::membership::{Agent, AgentConfig, Control};
use crate::partition::server::{PartitionConfig, PartitionServer};
use crate::storage::Storage;
use crate::time::{Random, Time};
use crate::wire::{ClusterView, Version};
pub use config::{CoordinatorAt, NodeConfig, Roles};
pub use links::LinkConfig;
use links::{Links, Peer};
use operators::Operators;
use recent::RecentRecords;
pub use recovered::Recovered;
use tasks::Task;
use timers::{Alarm, Timers};

/// For how many tasks there is room between turns; what a burst took beside is given back.
const KEPT_TASKS: usize = 256;

/// One process of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    random: Random,
    tickets: Tickets,
    body: Body,
}

/// Everything of a node but what a [`Context`] borrows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    config: NodeConfig,
    storage: Storage,
    coordinator: Option<Coordinator>,
    /// What the journal has of a coordinator that this node does not host.
    former: Coordinator,
    agent: Agent,
    links: Links,
    partitions: BTreeMap<PartitionId, Box<PartitionServer>>,
    /// How they are served, for all of them.
    serving: Arc<PartitionConfig>,
    /// Partitions whose outputs of this turn, or whose deadline, may have changed.
    touched: BTreeSet<PartitionId>,
    /// What they keep in memory of what they have committed.
    recent: RecentRecords,
    /// Clients that are told when the cluster changes.
    watchers: BTreeSet<ConnectionId>,
    /// What they were told last.
    told: ClusterView,
    /// What operators asked for and has not ended.
    operators: Operators,
    /// Replicas whose disks were found to be gone, and that was reported.
    replaced: BTreeSet<(PartitionId, Member)>,
    timers: Timers,
    tasks: VecDeque<Task>,
    /// The cluster is another than when this node last looked whom to connect to and what to serve.
    is_directory_stale: bool,
    started: bool,
    stopped: bool,
}

impl Node {
    /// A node with the state its journal holds. Random numbers come from `seed`.
    pub fn new(config: NodeConfig, recovered: Recovered, storage: StorageId, seed: u64) -> Self {
        let Recovered { storage: mut replicas, coordinator } = recovered;
        replicas.identify(Member { node: config.node, storage }, config.storage);
        let mut random = Random::new(seed);
        let control = match config.coordinator {
            CoordinatorAt::Here(bootstrap) => Control::Alone(bootstrap),
            CoordinatorAt::Remote(_) => Control::Never,
            CoordinatorAt::Outside { bootstrap } => Control::Elected { bootstrap },
        };
        let agent = AgentConfig {
            node: config.node,
            address: Some(config.address.clone()),
            storage: config.roles.storage.then_some(storage),
            used: replicas.is_used(),
            server: config.roles.server,
            preferred: config.preferred.clone(),
            locality: config.locality.clone(),
            lease_ttl: config.lease,
            control,
        };
        let agent = Agent::new(agent, &mut random);
        let links = Links::new(
            config.node,
            config.cluster,
            config.newest,
            config.links,
            config.access.clone(),
        );
        // On a suspect journal nothing is written, so no coordinator can be hosted either.
        let (hosted, former) = match config.coordinator {
            CoordinatorAt::Here(_) if !replicas.is_suspect() => {
                (Some(coordinator.with_planted(config.planted)), Coordinator::new())
            }
            _ => (None, coordinator),
        };
        let body = Body {
            coordinator: hosted,
            former,
            storage: replicas,
            agent,
            links,
            partitions: BTreeMap::new(),
            serving: Arc::new(config.partition.clone()),
            touched: BTreeSet::new(),
            recent: RecentRecords::default(),
            watchers: BTreeSet::new(),
            told: ClusterView::default(),
            operators: Operators::default(),
            replaced: BTreeSet::new(),
            timers: Timers::default(),
            tasks: VecDeque::new(),
            is_directory_stale: false,
            started: false,
            stopped: false,
            config,
        };
        Self { random, tickets: Tickets::default(), body }
    }

    /// Takes one input and appends what is to be done.
    pub fn step(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        let Self { random, tickets, body } = self;
        body.step(&mut Context { now, random, tickets, effects }, input);
    }

    /// The replicas kept here.
    pub fn storage(&self) -> &Storage {
        &self.body.storage
    }
}

impl Body {
    fn step(&mut self, cx: &mut Context<'_>, input: Input) {
        if self.stopped {
            return;
        }
        if !std::mem::replace(&mut self.started, true) {
            self.start(cx);
        }
        match input {
            Input::Opened { conn, identity } => {
                self.with_links(|links, events| {
                    links.on_opened(cx, conn, identity.as_ref(), events);
                });
            }
            Input::Received { conn, frame } => {
                self.with_links(|links, events| links.on_received(cx, conn, frame, events));
            }
            Input::Closed { conn, .. } => {
                self.with_links(|links, events| links.on_closed(cx, conn, events));
            }
            Input::Durable { up_to, places } => self.on_durable(cx, up_to, &places),
            Input::JournalFailed { error } => self.on_journal_failed(cx, &error),
            Input::Read { ticket, result } => {
                let mut replies = Vec::new();
                self.storage.on_read(cx, ticket, &result, &mut replies);
                self.answer(cx, replies);
                self.storage.checkpoint(cx, self.coordinator.as_ref().unwrap_or(&self.former));
            }
            Input::ArchiveRead { ticket, result } => {
                self.with_partition(cx, ticket.partition, |server, cx, out| {
                    server.on_archived(cx, ticket, result, out);
                });
            }
            Input::Coordinator(event) => self.on_coordinator(cx, event),
            Input::Space { is_full } => {
                let mut replies = Vec::new();
                self.storage.on_space(cx, is_full, &mut replies);
                self.answer(cx, replies);
            }
            Input::Timer => self.on_timer(cx),
            Input::EndOfTurn => self.on_end_of_turn(cx),
            Input::Shutdown => self.on_shutdown(cx),
        }
        self.run_tasks(cx);
    }

    fn start(&mut self, cx: &mut Context<'_>) {
        self.storage.start(cx);
        if self.storage.is_suspect() && matches!(self.config.coordinator, CoordinatorAt::Here(_)) {
            let text = "nothing can be written to a suspect journal: this node can't host the \
                        coordinator before it has a new one";
            cx.report(Level::Error, None, text.to_owned());
        }
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.start(cx);
            let mut out = Vec::new();
            self.agent.on_connected(cx, &mut out);
            self.tell_coordinator(cx, out);
        }
        if let CoordinatorAt::Remote(address) = self.config.coordinator.clone() {
            self.want(cx, Peer::Coordinator, &address);
        }
    }

    fn on_durable(&mut self, cx: &mut Context<'_>, up_to: Ticket, places: &[(Ticket, Place)]) {
        let mut replies = Vec::new();
        self.storage.on_durable(cx, up_to, places, &mut replies);
        self.answer(cx, replies);
        self.storage.checkpoint(cx, self.coordinator.as_ref().unwrap_or(&self.former));
        if let Some(coordinator) = &mut self.coordinator {
            let mut replies = Vec::new();
            coordinator.on_durable(up_to, &mut replies);
            self.answer_coordinator(cx, replies);
        }
    }

    fn on_journal_failed(&mut self, cx: &mut Context<'_>, error: &str) {
        self.stopped = true;
        let reason = format!(
            "the journal failed: {error}; nothing more is acknowledged; check the disk and start again"
        );
        cx.effects.push(Effect::Stop { reason });
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) {
        let mut out = Vec::new();
        self.agent.release(&mut out);
        self.tell_coordinator(cx, out);
        let partitions: Vec<_> = self.partitions.keys().copied().collect();
        for partition in partitions {
            self.drop_partition(partition);
        }
        self.run_tasks(cx);
        self.stopped = true;
        cx.effects.push(Effect::Stop { reason: "asked to stop".to_owned() });
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.timers.on_alarm();
        while let Some(alarm) = self.timers.due(cx.now) {
            match alarm {
                Alarm::Links => self.with_links(|links, events| links.on_timer(cx, events)),
                Alarm::Coordinator => {
                    let mut replies = Vec::new();
                    if let Some(coordinator) = &mut self.coordinator {
                        coordinator.on_timer(cx, &mut replies);
                    }
                    self.answer_coordinator(cx, replies);
                }
                Alarm::Agent => {
                    let (mut out, mut events) = (Vec::new(), Vec::new());
                    self.agent.on_timer(cx, &mut out, &mut events);
                    self.tell_coordinator(cx, out);
                    self.hear_agent(events);
                }
                Alarm::Storage => {
                    self.storage.on_timer(cx);
                    self.storage.checkpoint(cx, self.coordinator.as_ref().unwrap_or(&self.former));
                }
                Alarm::Partition(partition) => {
                    self.with_partition(cx, partition, |server, cx, out| server.on_timer(cx, out));
                }
            }
            self.run_tasks(cx);
        }
    }

    /// A disk knows that it is in use from the moment that the cluster is there, and the coordinator
    /// knows it of each disk.
    fn register_use(&mut self, cx: &mut Context<'_>) {
        let is_formed = self.agent.directory().cluster().is_some();
        if is_formed && self.config.roles.storage && self.config.newest >= Version::OPERATIONS {
            self.storage.enroll(cx);
        }
        if self.storage.is_used() {
            self.agent.use_disk();
        }
    }

    /// Sends what was held back to be batched, and says when to wake.
    fn on_end_of_turn(&mut self, cx: &mut Context<'_>) {
        self.register_use(cx);
        self.settle(cx);
        let touched: Vec<_> = self.touched.iter().copied().collect();
        for partition in &touched {
            self.with_partition(cx, *partition, PartitionServer::flush);
        }
        self.run_tasks(cx);
        self.settle(cx);
        for partition in std::mem::take(&mut self.touched) {
            let server = self.partitions.get(&partition);
            let deadline = server.and_then(|server| server.deadline());
            self.timers.set(Alarm::Partition(partition), deadline);
            let recent = server.map(|server| server.recent());
            let (bytes, committed) = recent.unwrap_or((0, Mark::NONE));
            self.recent.note(partition, bytes, committed);
        }
        while let Some(partition) = self.recent.give_up(self.config.recent_bytes) {
            if let Some(server) = self.partitions.get_mut(&partition) {
                server.forget_recent();
            }
        }
        if self.tasks.is_empty() {
            self.tasks.shrink_to(KEPT_TASKS);
        }
        self.timers.set(Alarm::Links, self.links.deadline());
        self.timers.set(Alarm::Agent, self.agent.deadline());
        self.timers.set(Alarm::Storage, self.storage.deadline());
        let coordinator = self.coordinator.as_ref().and_then(Coordinator::deadline);
        self.timers.set(Alarm::Coordinator, coordinator);
        if let Some(time) = self.timers.announce() {
            cx.effects.push(Effect::WakeAt(time));
        }
    }

    fn want(&mut self, cx: &mut Context<'_>, peer: Peer, address: &Address) {
        let events = self.links.want(cx, peer, address);
        self.tasks.extend(events.into_iter().map(Task::Link));
    }

    /// The version that a node's replicas can be asked in, if they can be.
    fn reachable(&self, node: NodeId) -> Option<Version> {
        match self.is_here(node) {
            true => Some(self.config.newest),
            false => self.links.version(Peer::Node(node)),
        }
    }

    fn is_here(&self, node: NodeId) -> bool {
        node == self.config.node
    }
}
