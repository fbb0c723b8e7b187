//! One partition as its server serves it: an epoch, a session, a lock table, mounts.
//!
//! ```text
//!  Resting ─▶ Seeking ─▶ Opening ─▶ Rebuilding ─▶ Serving
//!     ▲        an epoch   a session   the lock      appends, feeds
//!     │                   a quorum    table from
//!     │                   joins       the log
//!     └──────────────────── the session is over ─────┘
//! ```
//!
//! Records are numbered only while serving; a record that was numbered counts as written in the
//! lock table from that moment, and a session that ends takes table and mounts with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::mounts::{MountName, MountRequest, MountsConfig, MountsOutput};
use super::orders::Orders;
use super::patience::Opening;
use super::refuse::refuse;
use super::retention::RetentionConfig;
use super::serving::{Append, Serving};
use crate::id::{ClientId, CreationId, Epoch, Generation, Mark, NodeId, PartitionId, SessionId};
use crate::io::{ArchiveRead, ArchiveTicket, ConnectionId, Context, Level};
use crate::limits::Limits;
use crate::locks::{LockTable, LockWindow};
use crate::log::SetChange;
use crate::measure::PartitionCounts;
use crate::planted::{Planted, PlantedBug};
use crate::sequencer::{Sequencer, SequencerConfig, SequencerOutput};
use crate::time::Time;
use crate::wire::{
    ClientRequest, FromReplica, MountRefusal, ReplicaRequest, ServerReply, ToReplica, Version,
};

/// How a partition is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionConfig {
    /// How its sessions replicate.
    pub sequencer: Arc<SequencerConfig>,
    /// How much of its log is kept.
    pub retention: RetentionConfig,
    /// The lock table's window.
    pub locks: LockWindow,
    /// Bounds of its mounts.
    pub mounts: Arc<MountsConfig>,
    /// Bounds of what clients send.
    pub limits: Limits,
    /// The shortest pause before a fenced server asks for a higher epoch.
    pub retry_min: Duration,
    /// The longest.
    pub retry_max: Duration,
    /// How long a session waits for replicas that are connected and don't answer, before it is
    /// over: while it opens, and while a quorum is needed for what clients asked.
    pub patience: Duration,
    /// The rule broken on purpose, in simulations.
    pub planted: Planted,
}

/// What a partition's server wants done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartitionOutput {
    /// Ask a replica.
    ToReplica {
        /// Which.
        node: NodeId,
        /// What.
        request: ToReplica,
        /// Records, or nothing.
        payload: Bytes,
    },
    /// Tell a client.
    Reply {
        /// Its connection.
        conn: ConnectionId,
        /// What.
        reply: ServerReply,
        /// Records, or nothing.
        payload: Bytes,
    },
    /// Read trimmed records from the archive; [`PartitionServer::on_archived`] follows.
    ReadArchive {
        /// The read.
        ticket: ArchiveTicket,
        /// What is wanted.
        read: ArchiveRead,
    },
    /// Connect to a replica's node and say so, or that it is connected.
    Reach {
        /// The node.
        node: NodeId,
    },
    /// A newer replica set is committed: the coordinator should know whom to ask first.
    SetCommitted(SetChange),
    /// Get an epoch above this one from the coordinator.
    NeedEpoch {
        /// The highest epoch known to be used.
        above: Option<Epoch>,
    },
    /// The client broke the protocol: close its connection.
    Violation {
        /// Its connection.
        conn: ConnectionId,
        /// How.
        reason: String,
    },
}

/// Where outputs go.
pub type Outputs = Vec<PartitionOutput>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    Resting { until: Time },
    Seeking,
    Opening(Box<Sequencer>),
    Rebuilding { sequencer: Box<Sequencer>, locks: Box<LockTable> },
    Serving(Box<Serving>),
}

/// One partition that this node is assigned to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionServer {
    pub(super) config: Arc<PartitionConfig>,
    pub(super) partition: PartitionId,
    pub(super) generation: Generation,
    pub(super) creation: CreationId,
    /// The newest replica set heard of.
    pub(super) hint: SetChange,
    pub(super) orders: Orders,
    highest: Option<Epoch>,
    pub(super) state: State,
    pub(super) opening: Opening,
    /// What was counted, once anything was; a session that is open has them.
    pub(super) counts: Option<Box<PartitionCounts>>,
}

impl PartitionServer {
    /// Begins to serve: asks for an epoch.
    pub fn new(
        config: Arc<PartitionConfig>,
        partition: PartitionId,
        generation: Generation,
        creation: CreationId,
        hint: SetChange,
        outputs: &mut Outputs,
    ) -> Self {
        outputs.push(PartitionOutput::NeedEpoch { above: None });
        Self {
            config,
            partition,
            generation,
            creation,
            hint,
            orders: Orders::default(),
            highest: None,
            state: State::Seeking,
            opening: Opening::default(),
            counts: None,
        }
    }

    /// The assignment served under.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The epoch asked for: opens a session of it, over the replicas that can be reached, each in
    /// the version of the protocol agreed on with its node.
    pub fn on_epoch(
        &mut self,
        cx: &mut Context<'_>,
        epoch: Epoch,
        reachable: impl Iterator<Item = (NodeId, Version)>,
        outputs: &mut Outputs,
    ) {
        if self.state != State::Seeking || Some(epoch) <= self.highest {
            return;
        }
        self.highest = Some(epoch);
        let session = self.config.sequencer.session(epoch, cx.random.bits());
        let hint = self.hint.clone();
        let mut sequencer = Sequencer::new(
            Arc::clone(&self.config.sequencer),
            self.partition,
            self.creation,
            session,
            hint,
        );
        let mut said = Vec::new();
        match self.survivors() {
            Some(survivors) => sequencer.force(survivors),
            None => sequencer.aim(self.aim(), &mut said),
        }
        for (node, version) in reachable {
            sequencer.on_reachable(node, version, &mut said);
        }
        self.state = State::Opening(Box::new(sequencer));
        self.opening = Opening::default();
        self.settle(cx, said, outputs);
    }

    /// A replica's node can be reached, in this version of the protocol.
    pub fn on_reachable(
        &mut self,
        cx: &mut Context<'_>,
        node: NodeId,
        version: Version,
        outputs: &mut Outputs,
    ) {
        self.with_sequencer(cx, outputs, |sequencer, said| {
            sequencer.on_reachable(node, version, said);
        });
    }

    /// A replica's node can't be reached.
    pub fn on_unreachable(&mut self, cx: &mut Context<'_>, node: NodeId, outputs: &mut Outputs) {
        let now = cx.now;
        self.with_sequencer(cx, outputs, |sequencer, said| {
            sequencer.on_unreachable(now, node, said);
        });
    }

    /// A replica answered. Answers to former sessions are nobody's.
    pub fn on_answer(
        &mut self,
        cx: &mut Context<'_>,
        node: NodeId,
        message: FromReplica,
        payload: Bytes,
        outputs: &mut Outputs,
    ) {
        if self.sequencer().is_none_or(|sequencer| sequencer.session() != message.session) {
            return;
        }
        let now = cx.now;
        self.with_sequencer(cx, outputs, |sequencer, said| {
            sequencer.on_answer(now, node, message.answer, payload, said);
        });
    }

    /// A client asks something of this partition.
    pub fn on_request(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        client: ClientId,
        request: ClientRequest,
        payload: &Bytes,
        outputs: &mut Outputs,
    ) {
        let State::Serving(serving) = &mut self.state else {
            if let ClientRequest::Append { count, .. } = &request {
                self.counted().refused.closed += u64::from(*count);
            }
            refuse(conn, client, request, payload, &MountRefusal::SessionEnded, outputs);
            return;
        };
        let mut said = Vec::new();
        let Serving { sequencer, mounts, .. } = &mut **serving;
        match request {
            ClientRequest::Mount { mount, generation, after, mode, credit, .. } => {
                let name = MountName { conn, client, mount };
                let request = MountRequest { name, generation, after, mode, credit };
                mounts.mount(request, sequencer.sequenced(), &mut said);
            }
            ClientRequest::Credit { mount, bytes, .. } => {
                mounts.credit(MountName { conn, client, mount }, bytes, &mut said);
            }
            ClientRequest::Unmount { mount, .. } => {
                mounts.unmount(MountName { conn, client, mount }, &mut said);
            }
            ClientRequest::Append { mount, session, count, .. } => {
                let name = MountName { conn, client, mount };
                let append = Append { name, session, count, at: cx.now };
                serving.append(&append, payload, self.generation, &self.config.limits, outputs);
                return;
            }
            ClientRequest::Fetch { call, id, .. } => mounts.fetch(conn, call, id, &mut said),
            ClientRequest::Current { call, .. } => mounts.current(conn, call, &mut said),
            ClientRequest::Operate { call, request } => {
                return self.on_operator(cx, conn, call, &request, outputs);
            }
            ClientRequest::Describe
            | ClientRequest::Status { .. }
            | ClientRequest::Inspect { .. }
            | ClientRequest::Authenticate { .. } => {}
        }
        self.settle_mounts(cx, said, outputs);
    }

    /// A client's connection is gone.
    pub fn on_gone(&mut self, conn: ConnectionId) {
        if let State::Serving(serving) = &mut self.state {
            serving.mounts.closed(conn);
        }
    }

    /// Sends what was appended in this turn, and trims what the turn made due.
    pub fn flush(&mut self, cx: &mut Context<'_>, outputs: &mut Outputs) {
        self.with_sequencer(cx, outputs, Sequencer::flush);
        self.trim_due(cx, outputs);
        match &mut self.state {
            State::Resting { .. } | State::Seeking => {}
            State::Opening(sequencer) | State::Rebuilding { sequencer, .. } => {
                self.opening.watch(cx.now, sequencer);
            }
            State::Serving(serving) => serving.watch_quorum(cx.now),
        }
    }

    /// How many bytes of committed records it keeps in memory for whoever is a little behind, and up
    /// to where the log is committed.
    pub fn recent(&self) -> (usize, Mark) {
        match &self.state {
            State::Serving(serving) => {
                let bytes = serving.sequencer.kept_bytes() + serving.mounts.recent_bytes();
                (bytes, serving.sequencer.committed())
            }
            _ => (0, Mark::NONE),
        }
    }

    /// Forgets them: who is behind is served from the storage.
    pub fn forget_recent(&mut self) {
        if let State::Serving(serving) = &mut self.state {
            serving.sequencer.forget_kept();
            serving.mounts.forget_recent();
        }
    }

    /// When [`Self::on_timer`] wants to be called.
    pub fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::Resting { until } => Some(*until),
            State::Seeking => None,
            State::Opening(sequencer) | State::Rebuilding { sequencer, .. } => {
                let stalls = self.opening.deadline(self.config.patience);
                sequencer.deadline().into_iter().chain(stalls).min()
            }
            State::Serving(serving) => serving.deadline(self.config.patience),
        }
    }

    /// Some time has passed.
    pub fn on_timer(&mut self, cx: &mut Context<'_>, outputs: &mut Outputs) {
        if let State::Resting { until } = self.state {
            if until <= cx.now {
                self.state = State::Seeking;
                outputs.push(PartitionOutput::NeedEpoch { above: self.highest });
            }
            return;
        }
        let now = cx.now;
        self.with_sequencer(cx, outputs, |sequencer, said| sequencer.on_timer(now, said));
        self.give_up(cx, outputs);
        self.trim_due(cx, outputs);
        self.retry_archive(cx, outputs);
        if let State::Serving(serving) = &mut self.state
            && serving.retry_at.is_some_and(|time| time <= now)
        {
            serving.retry_at = None;
            let mut said = Vec::new();
            serving.mounts.retry(&mut said);
            self.settle_mounts(cx, said, outputs);
        }
    }

    /// The partition is served here no more.
    pub fn stop(&mut self, reason: MountRefusal, outputs: &mut Outputs) {
        if let State::Serving(serving) = std::mem::replace(&mut self.state, State::Seeking) {
            let mut said = Vec::new();
            self.counts = Some(serving.counts);
            serving.mounts.end(reason, &mut said);
            replies(said, outputs);
        }
    }

    /// Ends a session whose replicas don't answer.
    fn give_up(&mut self, cx: &mut Context<'_>, outputs: &mut Outputs) {
        let patience = self.config.patience;
        let (deadline, reason) = match &self.state {
            State::Resting { .. } | State::Seeking => return,
            State::Opening(_) | State::Rebuilding { .. } => {
                (self.opening.deadline(patience), "its replicas don't answer while it opens")
            }
            State::Serving(serving) => {
                (serving.quorum_deadline(patience), "no quorum of its replicas answers")
            }
        };
        if deadline.is_some_and(|deadline| deadline <= cx.now) {
            self.over(cx, None, reason.to_owned(), outputs);
        }
    }

    pub(super) fn sequencer(&self) -> Option<&Sequencer> {
        match &self.state {
            State::Resting { .. } | State::Seeking => None,
            State::Opening(sequencer) | State::Rebuilding { sequencer, .. } => Some(sequencer),
            State::Serving(serving) => Some(&serving.sequencer),
        }
    }

    pub(super) fn with_sequencer(
        &mut self,
        cx: &mut Context<'_>,
        outputs: &mut Outputs,
        action: impl FnOnce(&mut Sequencer, &mut Vec<SequencerOutput>),
    ) {
        let mut said = Vec::new();
        match &mut self.state {
            State::Resting { .. } | State::Seeking => return,
            State::Opening(sequencer) | State::Rebuilding { sequencer, .. } => {
                action(sequencer, &mut said);
            }
            State::Serving(serving) => action(&mut serving.sequencer, &mut said),
        }
        self.settle(cx, said, outputs);
    }

    /// Carries out what the session said, and whatever that makes it say.
    fn settle(
        &mut self,
        cx: &mut Context<'_>,
        mut said: Vec<SequencerOutput>,
        outputs: &mut Outputs,
    ) {
        while !said.is_empty() {
            let mut next = Vec::new();
            for output in said {
                self.on_said(cx, output, &mut next, outputs);
            }
            said = next;
        }
    }

    fn on_said(
        &mut self,
        cx: &mut Context<'_>,
        output: SequencerOutput,
        next: &mut Vec<SequencerOutput>,
        outputs: &mut Outputs,
    ) {
        match output {
            SequencerOutput::ToReplica { node, request, payload } => {
                if self.config.planted.has(PlantedBug::FeedUncommitted)
                    && let State::Serving(serving) = &mut self.state
                {
                    serving.feed_early(&request, &payload, outputs);
                }
                if matches!(request.request, ReplicaRequest::Repair { .. }) {
                    self.counted().repairs += 1;
                }
                outputs.push(PartitionOutput::ToReplica { node, request, payload });
            }
            SequencerOutput::Reach { node } => outputs.push(PartitionOutput::Reach { node }),
            SequencerOutput::SetCommitted(change) => self.on_set_committed(change, outputs),
            SequencerOutput::Notice(text) => cx.report(Level::Warning, Some(self.partition), text),
            SequencerOutput::Opened { committed } => self.rebuild(cx, committed, next, outputs),
            SequencerOutput::Over { promise, reason } => self.over(cx, promise, reason, outputs),
            SequencerOutput::Records { run, done, .. }
                if matches!(self.state, State::Rebuilding { .. }) =>
            {
                self.on_rebuild_records(cx, &run, done, next);
            }
            SequencerOutput::ReadFailed { reason, .. }
                if matches!(self.state, State::Rebuilding { .. }) =>
            {
                let reason = format!("the lock table can't be rebuilt: {reason}");
                self.over(cx, None, reason, outputs);
            }
            output => {
                if let State::Serving(serving) = &mut self.state {
                    serving.on_said(cx.now, output, next, outputs);
                    if serving.mounts.needs_retry() && serving.retry_at.is_none() {
                        serving.retry_at = Some(cx.now + self.config.retry_max);
                    }
                }
            }
        }
    }

    pub(super) fn over(
        &mut self,
        cx: &mut Context<'_>,
        promise: Option<SessionId>,
        reason: String,
        outputs: &mut Outputs,
    ) {
        let session = self.sequencer().map(Sequencer::session);
        let text = match session {
            Some(session) => format!("session {session} is over: {reason}"),
            None => reason,
        };
        cx.report(Level::Info, Some(self.partition), text);
        self.stop(MountRefusal::SessionEnded, outputs);
        self.counted().sessions_ended += 1;
        self.highest = self.highest.max(promise.map(|promise| promise.epoch));
        let pause = cx.random.between(self.config.retry_min, self.config.retry_max);
        self.state = State::Resting { until: cx.now + pause };
    }

    pub(super) fn settle_mounts(
        &mut self,
        cx: &mut Context<'_>,
        said: Vec<MountsOutput>,
        outputs: &mut Outputs,
    ) {
        let mut next = Vec::new();
        if let State::Serving(serving) = &mut self.state {
            serving.on_mounts(said, &mut next, outputs);
        }
        self.settle(cx, next, outputs);
    }
}

fn replies(said: Vec<MountsOutput>, outputs: &mut Outputs) {
    for output in said {
        if let MountsOutput::Reply { conn, reply, payload } = output {
            outputs.push(PartitionOutput::Reply { conn, reply, payload });
        }
    }
}
