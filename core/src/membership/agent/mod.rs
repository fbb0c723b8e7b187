//! Every node's side of coordination: registers the node, keeps its lease alive, mirrors the
//! cluster, hands out epochs, and on one of them controls.
//!
//! What should stand in the coordinator is compared with what does, and the difference is asked
//! for by compare-and-set. Nothing is remembered of a connection that ended: on the next one the
//! comparison starts over from a fresh snapshot, and a change that was made although its answer
//! was lost is seen there.
//!
//! The comparison is made at the end of a turn ([`Agent::settle`]), once for all that came: what it
//! costs grows with the cluster. The controller plans anew only when something that it decides by
//! has changed.

mod editing;
mod pending;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::coordinator::{Key, LeaseId, Versioned};
use crate::id::{Epoch, Generation, NodeId, PartitionId, StorageId};
use crate::io::{Address, Context, Level};
use crate::membership::controller::Controller;
use crate::membership::edits::{Edits, Write};
use crate::membership::mirror::Mirror;
use crate::membership::{Assignment, Control, Directory, EditId, Fact, Locality, Name};
use crate::time::{Random, Time};
use crate::wire::{FromCoordinator, OperatorRefusal, ToCoordinator};
use pending::{Pending, UnderWay};

/// How long a node's lease lives without being prolonged, unless configured.
pub const LEASE_TTL: Duration = Duration::from_secs(3);

/// How long what was refused is let be.
const RETRY: Duration = Duration::from_millis(500);

/// How many epochs, and how many wishes of the controller, are asked for at once: a node that begins to
/// serve many partitions goes on with others meanwhile.
const AT_ONCE: usize = 256;

/// What an agent says of its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentConfig {
    /// The node.
    pub node: NodeId,
    /// Where it listens, if it does.
    pub address: Option<Address>,
    /// Its disk, if it keeps logs.
    pub storage: Option<StorageId>,
    /// Whether there are replicas on it.
    pub used: bool,
    /// Whether it serves partitions.
    pub server: bool,
    /// The partitions it would rather serve than others.
    pub preferred: BTreeSet<PartitionId>,
    /// Where it stands.
    pub locality: Locality,
    /// How long its lease lives without being prolonged; see [`LEASE_TTL`].
    pub lease_ttl: Duration,
    /// Whether it controls.
    pub control: Control,
}

/// Something a node should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentEvent {
    /// The directory is another than before.
    DirectoryChanged,
    /// A partition has another server or another generation; every change is told, this node's
    /// own and others'.
    Assigned {
        /// The partition.
        partition: PartitionId,
        /// Its server from now on.
        server: NodeId,
        /// The assignment's version.
        generation: Generation,
    },
    /// The epoch asked for, for this node alone and never handed out again.
    Epoch {
        /// The partition.
        partition: PartitionId,
        /// The epoch.
        epoch: Epoch,
    },
    /// What is recorded of a partition beside who serves it is another than before: what an
    /// operator wants, or its consumers.
    OrdersChanged {
        /// The partition.
        partition: PartitionId,
    },
    /// An [`Edit`](crate::membership::Edit) has ended.
    Edited {
        /// Which.
        edit: EditId,
        /// Why it was not made, if it was not.
        result: Result<(), OperatorRefusal>,
    },
}

/// How far the connection to the coordinator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Link {
    Down,
    /// The snapshot has not come.
    Up,
    Synced,
    /// The lease was given back; nothing more is asked.
    Released,
}

/// One node's agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    config: AgentConfig,
    lease: LeaseId,
    link: Link,
    keep_alive_at: Time,
    under_way: UnderWay,
    /// Names that are let be until a time.
    paused: BTreeMap<Name, Time>,
    /// Whether this life's registration stood.
    registered: bool,
    mirror: Mirror,
    /// The epochs to take, each above another.
    wanted: BTreeMap<PartitionId, Option<Epoch>>,
    /// The last epochs handed out here: never again, even if the coordinator is set back.
    taken: BTreeMap<PartitionId, Epoch>,
    edits: Edits,
    controller: Option<Controller>,
    /// Something may have to be asked for.
    is_stirred: bool,
    /// What the controller decides by may be another than when it planned last.
    is_plan_stale: bool,
}

impl Agent {
    /// An agent that has not met the coordinator. Its lease is drawn at random: a former life of
    /// the node had another.
    pub fn new(config: AgentConfig, random: &mut Random) -> Self {
        Self {
            lease: LeaseId(random.bits()),
            link: Link::Down,
            keep_alive_at: Time::ZERO,
            under_way: UnderWay::default(),
            paused: BTreeMap::new(),
            registered: false,
            mirror: Mirror::default(),
            wanted: BTreeMap::new(),
            taken: BTreeMap::new(),
            edits: Edits::default(),
            controller: match config.control {
                Control::Never => None,
                Control::Alone(bootstrap) => Some(Controller::new(Some(bootstrap))),
                Control::Elected { bootstrap } => Some(Controller::new(bootstrap)),
            },
            is_stirred: false,
            is_plan_stale: false,
            config,
        }
    }

    /// The cluster as this node knows it.
    pub fn directory(&self) -> &Directory {
        &self.mirror.directory
    }

    /// Whether its node controls, or may.
    pub fn control(&self) -> Control {
        self.config.control
    }

    /// Whether the coordinator is at hand: connected, and its state is known.
    pub fn is_synced(&self) -> bool {
        self.link == Link::Synced
    }

    /// Whether this life of the node stands in the coordinator, as far as it knows.
    pub fn is_registered(&self) -> bool {
        self.registered
    }

    /// A connection to the coordinator was made, or it is this very process.
    pub fn on_connected(&mut self, cx: &mut Context<'_>, out: &mut Vec<ToCoordinator>) {
        if self.link == Link::Released {
            return;
        }
        self.forget_connection();
        self.link = Link::Up;
        self.keep_alive(cx, out);
        out.push(ToCoordinator::Watch { prefix: Key::new() });
    }

    /// The connection ended; the directory stays as it is.
    pub fn on_disconnected(&mut self) {
        if self.link != Link::Released {
            self.forget_connection();
        }
    }

    /// The coordinator said something.
    pub fn on_message(
        &mut self,
        cx: &mut Context<'_>,
        message: FromCoordinator,
        events: &mut Vec<AgentEvent>,
    ) {
        if matches!(self.link, Link::Down | Link::Released) {
            return;
        }
        match message {
            FromCoordinator::Alive { .. } | FromCoordinator::Value { .. } => return,
            FromCoordinator::Set { request, .. } => self.on_set(request, events),
            FromCoordinator::Conflict { request, current } => {
                self.on_conflict(cx, request, current, events);
            }
            FromCoordinator::Snapshot { entries, .. } => self.on_snapshot(cx, entries, events),
            FromCoordinator::Changed { key, current } => {
                if let Some(name) = Name::parse(&key) {
                    self.learn(cx, name, current, events);
                }
            }
            FromCoordinator::Refused { request, reason } => {
                self.on_refused(cx, request, reason, events);
            }
            FromCoordinator::NotHere => {
                let text = "the node that was asked does not host the coordinator".to_owned();
                cx.report(Level::Error, None, text);
                return self.forget_connection();
            }
        }
        self.is_stirred = true;
    }

    /// Keeps the lease alive, tries again what had to wait, and gives up edits whose time is over.
    pub fn on_timer(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<ToCoordinator>,
        events: &mut Vec<AgentEvent>,
    ) {
        self.expire_edits(cx.now, events);
        if matches!(self.link, Link::Down | Link::Released) {
            return;
        }
        if self.keep_alive_at <= cx.now {
            self.keep_alive(cx, out);
        }
        let settles_at = self.controller.as_ref().and_then(Controller::deadline);
        self.is_plan_stale |= settles_at.is_some_and(|settles_at| settles_at <= cx.now);
        self.is_stirred = true;
    }

    /// Asks for everything that should stand in the coordinator and does not, if something has
    /// changed since that was done last; called at the end of each turn, until it stirs no more.
    pub fn settle(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<ToCoordinator>,
        events: &mut Vec<AgentEvent>,
    ) {
        if std::mem::take(&mut self.is_stirred) {
            self.reconcile(cx, out, events);
        }
    }

    /// Whether [`Self::settle`] has anything to do.
    pub fn is_stirred(&self) -> bool {
        self.is_stirred
    }

    /// When the timer is due.
    pub fn deadline(&self) -> Option<Time> {
        let gives_up_at = self.edits.deadline();
        if matches!(self.link, Link::Down | Link::Released) {
            return gives_up_at;
        }
        // A plan that is under way is answered first: until then its deadline asks for nothing.
        let plans = self.controls() && !self.under_way.is_planning();
        let controller = self.controller.as_ref().filter(|_| plans);
        let settles_at = controller.and_then(Controller::deadline);
        let waits = self.paused.values().copied().chain(settles_at);
        let waits = waits.filter(|_| self.link == Link::Synced);
        waits.chain([self.keep_alive_at]).chain(gives_up_at).min()
    }

    /// Asks for an epoch above `above` and above every one handed out before in the partition.
    /// Asking again before [`AgentEvent::Epoch`] comes only raises the bar. It outlives the
    /// connection: without a coordinator it waits for one.
    pub fn take_epoch(&mut self, partition: PartitionId, above: Option<Epoch>) {
        let wanted = self.wanted.entry(partition).or_default();
        *wanted = (*wanted).max(above);
        self.is_stirred = true;
    }

    /// There are replicas on this node's disk from now on.
    pub fn use_disk(&mut self) {
        self.is_stirred |= !std::mem::replace(&mut self.config.used, true);
    }

    /// Gives the lease back: a clean stop. Others learn at once that this node is gone.
    pub fn release(&mut self, out: &mut Vec<ToCoordinator>) {
        self.forget_connection();
        self.link = Link::Released;
        out.push(ToCoordinator::Release { lease: self.lease });
    }

    fn forget_connection(&mut self) {
        self.link = Link::Down;
        self.under_way.clear();
        self.paused.clear();
    }

    fn keep_alive(&mut self, cx: &Context<'_>, out: &mut Vec<ToCoordinator>) {
        self.keep_alive_at = cx.now + self.config.lease_ttl / 3;
        let ttl_ms = u32::try_from(self.config.lease_ttl.as_millis()).unwrap_or(u32::MAX);
        out.push(ToCoordinator::KeepAlive { lease: self.lease, ttl_ms });
    }

    fn on_set(&mut self, request: u64, events: &mut Vec<AgentEvent>) {
        let Some(pending) = self.under_way.end(request) else { return };
        match pending.write {
            Write::Set(Fact::Node(..)) => self.registered = true,
            // One that an operator restored was not taken by this node.
            Write::Set(Fact::Epoch(partition, epoch)) if pending.edits.is_empty() => {
                self.on_epoch(partition, epoch, events);
            }
            _ => {}
        }
        for edit in pending.edits {
            self.end_edit(edit, Ok(()), events);
        }
    }

    fn on_epoch(&mut self, partition: PartitionId, epoch: Epoch, events: &mut Vec<AgentEvent>) {
        let former = self.taken.insert(partition, epoch);
        assert!(former < Some(epoch), "epochs of {partition} grow: {former:?}, {epoch}");
        // The bar may have been raised while the answer was on its way.
        if self.wanted.get(&partition).is_some_and(|above| *above < Some(epoch)) {
            self.wanted.remove(&partition);
            events.push(AgentEvent::Epoch { partition, epoch });
        }
    }

    fn on_conflict(
        &mut self,
        cx: &mut Context<'_>,
        request: u64,
        current: Option<Versioned>,
        events: &mut Vec<AgentEvent>,
    ) {
        let Some(Pending { write, expected, .. }) = self.under_way.end(request) else { return };
        let name = write.name();
        if current.as_ref().map(|versioned| versioned.revision) == expected {
            // As expected, and still a conflict: the lease is not alive. The next attempt starts
            // it again.
            self.paused.insert(name, cx.now + RETRY);
        } else {
            self.learn(cx, name, current, events);
        }
    }

    fn on_snapshot(
        &mut self,
        cx: &mut Context<'_>,
        entries: Vec<(Key, Versioned)>,
        events: &mut Vec<AgentEvent>,
    ) {
        let former = self.mirror.directory.clone();
        self.mirror.reset(cx, entries);
        self.link = Link::Synced;
        self.is_plan_stale = true;
        for (&partition, &assignment) in &self.mirror.directory.assignments {
            if former.assignments.get(&partition) != Some(&assignment) {
                events.push(assigned(partition, assignment));
            }
        }
        if former != self.mirror.directory {
            events.push(AgentEvent::DirectoryChanged);
        }
        self.watch_registration(cx);
    }

    fn learn(
        &mut self,
        cx: &mut Context<'_>,
        name: Name,
        current: Option<Versioned>,
        events: &mut Vec<AgentEvent>,
    ) {
        if current.as_ref().map(|versioned| versioned.revision) == self.mirror.revision(name) {
            return;
        }
        let partition = if let Name::Assignment(partition) = name { Some(partition) } else { None };
        let assignment = |mirror: &Mirror| {
            partition.and_then(|partition| mirror.directory.assignments.get(&partition).copied())
        };
        let former = assignment(&self.mirror);
        self.mirror.learn(cx, name, current);
        let now = assignment(&self.mirror);
        if let (Some(partition), Some(assignment)) = (partition, now)
            && former != now
        {
            events.push(assigned(partition, assignment));
        }
        self.is_plan_stale |= Controller::heeds(name);
        match name {
            Name::Epoch(_)
            | Name::Controller
            | Name::Operations(_)
            | Name::Locality(_)
            | Name::Region(_)
            | Name::Loads => {}
            Name::Target(partition) | Name::Consumers(partition) => {
                events.push(AgentEvent::OrdersChanged { partition });
            }
            Name::Cluster
            | Name::Node(_)
            | Name::Storage(_)
            | Name::Partition(_)
            | Name::Assignment(_) => events.push(AgentEvent::DirectoryChanged),
        }
        if name == Name::Node(self.config.node) {
            self.watch_registration(cx);
        }
    }

    /// Asks for everything that should stand in the coordinator and does not.
    fn reconcile(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<ToCoordinator>,
        events: &mut Vec<AgentEvent>,
    ) {
        let paused = self.paused.len();
        self.paused.retain(|_, until| *until > cx.now);
        self.is_plan_stale |= self.paused.len() < paused;
        if self.link != Link::Synced {
            return;
        }
        let wanted = self.wanted_registration().into_iter().chain(self.wanted_control());
        for fact in wanted.chain(self.wanted_epochs()) {
            self.propose(cx, Write::Set(fact), Vec::new(), out);
        }
        for name in self.edits.names() {
            self.propose_edits(cx, name, out, events);
        }
        let plans = self.controls() && !self.under_way.is_planning();
        if let Some(controller) = &mut self.controller
            && plans
            && std::mem::take(&mut self.is_plan_stale)
        {
            for fact in controller.plan(cx, &self.mirror).into_iter().take(AT_ONCE) {
                self.propose(cx, Write::Set(fact), Vec::new(), out);
            }
        }
    }

    /// Whether this agent is the one that controls, as far as it knows. Two that both believe it do
    /// no harm: whoever writes later is refused.
    pub fn controls(&self) -> bool {
        match self.config.control {
            Control::Never => false,
            Control::Alone(_) => true,
            Control::Elected { .. } => self.mirror.controller() == Some(self.lease),
        }
    }

    /// Asks for a change unless one of the same key is under way, paused or unsafe.
    fn propose(
        &mut self,
        cx: &mut Context<'_>,
        write: Write,
        edits: Vec<EditId>,
        out: &mut Vec<ToCoordinator>,
    ) {
        let name = write.name();
        if self.under_way.has(name)
            || self.paused.contains_key(&name)
            || !self.mirror.is_readable(name)
        {
            return;
        }
        let lease = matches!(name, Name::Node(_) | Name::Controller).then_some(self.lease);
        if lease.is_some() {
            // The key can't be tied to a lease that has ended.
            self.keep_alive(cx, out);
        }
        let value = match &write {
            Write::Set(fact) => Some(fact.value()),
            Write::Delete(_) => None,
        };
        let expected = self.mirror.revision(name);
        let request = self.under_way.add(Pending { write, expected, edits });
        out.push(ToCoordinator::CompareAndSet { request, key: name.key(), expected, value, lease });
    }
}

fn assigned(partition: PartitionId, assignment: Assignment) -> AgentEvent {
    let Assignment { server, generation } = assignment;
    AgentEvent::Assigned { partition, server, generation }
}
