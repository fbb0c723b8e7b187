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

use std::time::Duration;

use bytes::Bytes;

use super::mounts::{MountName, MountRequest, Mounts, MountsConfig, MountsOutput};
use super::refuse::refuse;
use super::serving::{Append, Serving};
use crate::id::{
    ClientId, CreationId, Epoch, Generation, Mark, NodeId, PartitionId, SessionId, TransactionId,
};
use crate::io::{ConnectionId, Context, Level};
use crate::limits::Limits;
use crate::locks::{LockTable, LockWindow};
use crate::log::SetChange;
use crate::record::Run;
use crate::sequencer::{Sequencer, SequencerConfig, SequencerOutput};
use crate::time::Time;
use crate::wire::{
    ClientRequest, FromReplica, MountRefusal, PartitionStatus, ServerReply, ToReplica,
};

/// How a partition is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionConfig {
    /// How its sessions replicate.
    pub sequencer: SequencerConfig,
    /// The lock table's window.
    pub locks: LockWindow,
    /// Bounds of its mounts.
    pub mounts: MountsConfig,
    /// Bounds of what clients send.
    pub limits: Limits,
    /// The shortest pause before a fenced server asks for a higher epoch.
    pub retry_min: Duration,
    /// The longest.
    pub retry_max: Duration,
}

/// What a partition's server wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Connect to a replica's node and say so, or that it is connected.
    Reach {
        /// The node.
        node: NodeId,
    },
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

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Resting { until: Time },
    Seeking,
    Opening(Sequencer),
    Rebuilding { sequencer: Sequencer, locks: LockTable },
    Serving(Box<Serving>),
}

/// One partition that this node is assigned to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionServer {
    config: PartitionConfig,
    partition: PartitionId,
    generation: Generation,
    creation: CreationId,
    hint: SetChange,
    highest: Option<Epoch>,
    state: State,
}

/// The bytes read at once to rebuild the lock table.
const REBUILD_READ_BYTES: u32 = 1 << 20;

impl PartitionServer {
    /// Begins to serve: asks for an epoch.
    pub fn new(
        config: PartitionConfig,
        partition: PartitionId,
        generation: Generation,
        creation: CreationId,
        hint: SetChange,
        outputs: &mut Outputs,
    ) -> Self {
        outputs.push(PartitionOutput::NeedEpoch { above: None });
        let (highest, state) = (None, State::Seeking);
        Self { config, partition, generation, creation, hint, highest, state }
    }

    /// The assignment served under.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The nodes of the newest replica set heard of.
    pub fn replica_nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.hint.replicas.nodes()
    }

    /// The partition, for people.
    pub fn status(&self) -> PartitionStatus {
        let sequencer = self.sequencer();
        PartitionStatus {
            partition: self.partition,
            session: sequencer.map(Sequencer::session),
            open: matches!(self.state, State::Serving(_)),
            committed: sequencer.map_or(Mark::NONE, Sequencer::committed),
            replicas: sequencer.map_or_else(Vec::new, Sequencer::replicas),
        }
    }

    /// The epoch asked for: opens a session of it, over the replicas that can be reached.
    pub fn on_epoch(
        &mut self,
        cx: &mut Context<'_>,
        epoch: Epoch,
        reachable: impl Iterator<Item = NodeId>,
        outputs: &mut Outputs,
    ) {
        if self.state != State::Seeking || Some(epoch) <= self.highest {
            return;
        }
        self.highest = Some(epoch);
        let server = self.config.sequencer.node;
        let session = SessionId { epoch, server, nonce: cx.random.bits() };
        let hint = self.hint.clone();
        let mut sequencer =
            Sequencer::new(self.config.sequencer, self.partition, self.creation, session, hint);
        let mut said = Vec::new();
        for node in reachable {
            sequencer.on_reachable(node, &mut said);
        }
        self.state = State::Opening(sequencer);
        self.settle(cx, said, outputs);
    }

    /// A replica's node can be reached.
    pub fn on_reachable(&mut self, cx: &mut Context<'_>, node: NodeId, outputs: &mut Outputs) {
        self.with_sequencer(cx, outputs, |sequencer, said| sequencer.on_reachable(node, said));
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
                let append = Append { name: MountName { conn, client, mount }, session, count };
                serving.append(&append, payload, self.generation, &self.config.limits, outputs);
                return;
            }
            ClientRequest::Fetch { call, id, .. } => mounts.fetch(conn, call, id, &mut said),
            ClientRequest::Current { call, .. } => mounts.current(conn, call, &mut said),
            ClientRequest::Describe | ClientRequest::Status { .. } => {}
        }
        self.settle_mounts(cx, said, outputs);
    }

    /// A client's connection is gone.
    pub fn on_gone(&mut self, conn: ConnectionId) {
        if let State::Serving(serving) = &mut self.state {
            serving.mounts.closed(conn);
        }
    }

    /// Sends what was appended in this turn.
    pub fn flush(&mut self, cx: &mut Context<'_>, outputs: &mut Outputs) {
        self.with_sequencer(cx, outputs, Sequencer::flush);
    }

    /// When [`Self::on_timer`] wants to be called.
    pub fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::Resting { until } => Some(*until),
            State::Serving(serving) => {
                serving.sequencer.deadline().into_iter().chain(serving.retry_at).min()
            }
            _ => self.sequencer().and_then(Sequencer::deadline),
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
            serving.mounts.end(reason, &mut said);
            replies(said, outputs);
        }
    }

    fn sequencer(&self) -> Option<&Sequencer> {
        match &self.state {
            State::Resting { .. } | State::Seeking => None,
            State::Opening(sequencer) | State::Rebuilding { sequencer, .. } => Some(sequencer),
            State::Serving(serving) => Some(&serving.sequencer),
        }
    }

    fn with_sequencer(
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
                outputs.push(PartitionOutput::ToReplica { node, request, payload });
            }
            SequencerOutput::Reach { node } => outputs.push(PartitionOutput::Reach { node }),
            SequencerOutput::SetCommitted(change) => self.hint = change,
            SequencerOutput::Notice(text) => cx.report(Level::Warning, Some(self.partition), text),
            SequencerOutput::Opened { committed } => self.rebuild(cx, committed, next),
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
                    serving.on_said(output, next, outputs);
                    if serving.mounts.needs_retry() && serving.retry_at.is_none() {
                        serving.retry_at = Some(cx.now + self.config.retry_max);
                    }
                }
            }
        }
    }

    /// The session is open: reads the log's tail to know which locks were changed when.
    fn rebuild(&mut self, cx: &mut Context<'_>, committed: Mark, next: &mut Vec<SequencerOutput>) {
        let State::Opening(sequencer) = std::mem::replace(&mut self.state, State::Seeking) else {
            unreachable!("a session opens once");
        };
        let first = LockTable::rebuild_from(committed, self.config.locks);
        let first = first.max(sequencer.start().next());
        let locks = LockTable::new(self.config.locks, Mark::before(first));
        self.state = State::Rebuilding { sequencer, locks };
        self.rebuild_on(cx, first, next);
    }

    fn rebuild_on(
        &mut self,
        cx: &mut Context<'_>,
        first: TransactionId,
        next: &mut Vec<SequencerOutput>,
    ) {
        let State::Rebuilding { sequencer, .. } = &mut self.state else {
            return;
        };
        let committed = sequencer.committed();
        if committed.includes(first) {
            sequencer.read(0, first, committed, REBUILD_READ_BYTES, next);
            return;
        }
        let State::Rebuilding { sequencer, locks } =
            std::mem::replace(&mut self.state, State::Seeking)
        else {
            unreachable!("checked above");
        };
        let session = sequencer.session();
        let text = format!("session {session} is open at {committed}");
        cx.report(Level::Info, Some(self.partition), text);
        let config = self.config.mounts;
        let mounts = Mounts::new(config, self.partition, self.generation, session, committed);
        let partition = self.partition;
        let retry_at = None;
        let serving = Serving { partition, sequencer, locks, mounts, retry_at };
        self.state = State::Serving(Box::new(serving));
    }

    fn on_rebuild_records(
        &mut self,
        cx: &mut Context<'_>,
        run: &Run,
        done: bool,
        next: &mut Vec<SequencerOutput>,
    ) {
        if let State::Rebuilding { locks, .. } = &mut self.state {
            for record in run.records() {
                locks.note(record.id(), &record);
            }
        }
        if done {
            self.rebuild_on(cx, run.last().next(), next);
        }
    }

    fn over(
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
        self.highest = self.highest.max(promise.map(|promise| promise.epoch));
        let pause = cx.random.between(self.config.retry_min, self.config.retry_max);
        self.state = State::Resting { until: cx.now + pause };
    }

    fn settle_mounts(
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
