//! One session of one partition, as its server sees it: promise, choose, cut, copy, join; then
//! number records, replicate them, and say what a quorum holds.
//!
//! ```text
//!            Open to all           Adopt, Copy, Join to all        Append to the joined
//! opening ───────────────▶ chosen ───────────────────────▶ open ─────────────────────▶ …
//!          a majority of the        a quorum has joined:          committed = highest id
//!          chosen log's set         its prefix is committed       durable on a quorum of
//!          has answered                                           the joined
//! ```
//!
//! Invariants: the choice is made once; ids are given out only while open; the committed mark
//! never goes back; a replica that has not joined counts for nothing, nor does one that the newest
//! replica set does not name with the disk it has. A session that can't go on is
//! [over](SequencerOutput::Over): its owner opens a higher one, if it still should. A replica is
//! asked for nothing that the version spoken with it does not have: what it lacks waits until it
//! comes back with a newer one.
//!
//! It does not know clients, locks or the coordinator, and it keeps nothing on disk.
//!
//! This file has its state, what its owner calls, and where each answer goes. The others follow a
//! session's life: `opening` collects promises until the rule in `choose` names a log;
//! `replication` brings each replica to it, as far as its `progress` tells, and on with what the
//! `pipeline` holds; `quorums` says who counts; `changes` moves the replica set; `reads` and
//! `sources` fetch records; `repair`, `trimming` and `timers` do the upkeep; `status` tells people.

mod changes;
mod choose;
mod config;
mod opening;
mod output;
mod pipeline;
mod progress;
mod quorums;
mod reads;
mod repair;
mod replication;
mod sources;
mod space;
mod status;
mod timers;
mod trimming;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{CreationId, Mark, NodeId, PartitionId, ReplicaSet, SessionId, TransactionId};
use crate::log::{LogSummary, SetChange};
use crate::record::{RecordView, Run};
use crate::time::Time;
use crate::wire::{ReplicaAnswer, ReplicaRequest, ToReplica, Version};
use choose::{Vote, Votes};
use pipeline::Pipeline;
use progress::{Progress, Stage};
use quorums::Round;
use reads::{Purpose, Reads};

pub use config::SequencerConfig;
pub use output::{Outputs, SequencerOutput};

/// Where the session is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Phase {
    /// Collecting promises.
    Opening { votes: Votes },
    /// The log to continue is chosen; fewer than a quorum have joined.
    Chosen { log: LogSummary, source: NodeId },
    /// Appends are numbered. The log is what is committed; what is in flight is in the pipeline,
    /// and a change of the replica set that is not committed is the pending one.
    Open { log: LogSummary, pending: Option<Box<SetChange>> },
    /// Nothing more happens.
    Over,
}

/// One session of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sequencer {
    config: Arc<SequencerConfig>,
    partition: PartitionId,
    creation: CreationId,
    session: SessionId,
    hint: SetChange,
    /// The replicas that an operator recovers the partition with, whatever the others hold.
    survivors: Option<BTreeSet<NodeId>>,
    target: Option<ReplicaSet>,
    phase: Phase,
    replicas: BTreeMap<NodeId, Box<Progress>>,
    pipeline: Pipeline,
    reads: Reads,
    round: Option<Round>,
    quiet_since: Time,
    /// Since when fewer than a quorum were joined, in an open session.
    alone_since: Option<Time>,
    /// Until when the choice waits for a record; then everyone is asked again.
    waits_until: Option<Time>,
    /// Whether nodes may be dealt with that are no longer of any concern.
    has_strangers: bool,
}

impl Sequencer {
    /// A session that has asked nobody yet: tell it who is [reachable](Self::on_reachable).
    /// `hint` is the newest replica set heard of; the one that counts is in the log.
    pub fn new(
        config: Arc<SequencerConfig>,
        partition: PartitionId,
        creation: CreationId,
        session: SessionId,
        hint: SetChange,
    ) -> Self {
        let replicas =
            hint.replicas.nodes().map(|node| (node, Box::new(Progress::new()))).collect();
        Self {
            pipeline: Pipeline::new(session, Mark::NONE, config.keep_bytes),
            config,
            partition,
            creation,
            session,
            hint,
            survivors: None,
            target: None,
            phase: Phase::Opening { votes: Votes::new() },
            replicas,
            reads: Reads::default(),
            round: None,
            quiet_since: Time::ZERO,
            alone_since: None,
            waits_until: None,
            has_strangers: false,
        }
    }

    /// An operator's recovery when too many replicas are lost for good: the session continues the
    /// greatest log of exactly these nodes, as far as they can read it, and they are the replica
    /// set from then on. Committed records that none of them holds are lost. Only before anyone
    /// was reached.
    pub fn force(&mut self, survivors: BTreeSet<NodeId>) {
        let reached = self.replicas.values().any(|p| p.stage != Stage::Unreachable);
        assert!(!reached, "a recovery is decided before the session begins");
        self.replicas = survivors.iter().map(|node| (*node, Box::new(Progress::new()))).collect();
        self.survivors = Some(survivors);
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Whether appends may come.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// The high-water mark.
    pub fn committed(&self) -> Mark {
        self.pipeline.committed()
    }

    /// The last id given out.
    pub fn sequenced(&self) -> Mark {
        self.pipeline.sequenced()
    }

    /// Whether another append may come now.
    pub fn has_room(&self) -> bool {
        self.pipeline.in_flight_bytes() < self.config.in_flight_bytes
    }

    /// The newest replica set, committed or not; before the choice, the newest heard of.
    pub fn set(&self) -> &SetChange {
        match &self.phase {
            Phase::Open { pending: Some(pending), .. } => pending,
            Phase::Open { log, .. } | Phase::Chosen { log, .. } => log.set(),
            Phase::Opening { .. } | Phase::Over => &self.hint,
        }
    }

    /// The nodes that the session deals with.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.replicas.keys().copied()
    }

    /// Gives a record the next id. It goes out with [`Self::flush`].
    pub fn append(&mut self, record: &RecordView<'_>, outputs: &mut Outputs) -> TransactionId {
        assert!(self.is_open(), "ids are given out in an open session only");
        let full = self.pipeline.building_bytes() + record.bytes().len() > self.config.run_bytes;
        if full {
            self.flush(outputs);
        }
        self.pipeline.push(record)
    }

    /// Sends what was appended since.
    pub fn flush(&mut self, outputs: &mut Outputs) {
        if self.pipeline.seal().is_none() {
            return;
        }
        for node in self.joined() {
            self.supply(node, outputs);
        }
    }

    /// A replica's node can be reached, over a new connection that speaks this version.
    pub fn on_reachable(&mut self, node: NodeId, version: Version, outputs: &mut Outputs) {
        if self.phase != Phase::Over && self.replicas.contains_key(&node) {
            let progress = self.progress(node);
            (progress.speaks, progress.is_full, progress.is_over_quota) = (version, false, false);
            self.begin_with(node, outputs);
        }
    }

    /// The connection to a replica's node is gone, with whatever was on it.
    pub fn on_unreachable(&mut self, now: Time, node: NodeId, outputs: &mut Outputs) {
        let Some(progress) = self.replicas.get_mut(&node) else {
            return;
        };
        progress.stage = Stage::Unreachable;
        progress.forget_reads();
        self.withdraw_vote(node);
        self.reads.abandon(node);
        self.reads.end_for(node);
        if matches!(&self.phase, Phase::Chosen { source, .. } if *source == node) {
            let reason = format!("{node}, whose log was chosen, was lost before a quorum had it");
            self.end(None, reason, outputs);
            return;
        }
        self.watch_quorum(now);
        self.drive(outputs);
        self.assign_waiting_reads(outputs);
    }

    /// A replica answered a request of this session.
    pub fn on_answer(
        &mut self,
        now: Time,
        node: NodeId,
        answer: ReplicaAnswer,
        payload: Bytes,
        outputs: &mut Outputs,
    ) {
        if self.phase == Phase::Over || !self.replicas.contains_key(&node) {
            return;
        }
        match answer {
            ReplicaAnswer::Opened { storage, normal, log, low_water, damaged } => {
                let vote = Vote { storage, normal, log, low_water, damaged };
                self.on_opened(now, node, vote, outputs);
            }
            ReplicaAnswer::Fenced { promise } => {
                let reason = format!("{node} has promised {promise}");
                self.end(Some(promise), reason, outputs);
            }
            // One that should learn may not have been asked as a learner yet.
            ReplicaAnswer::Unknown if self.learner(node).is_some() => self.rest(now, node),
            ReplicaAnswer::Unknown => {
                self.progress(node).stage = Stage::Foreign;
                self.drive(outputs);
            }
            ReplicaAnswer::Suspect { last } => self.on_suspect(now, node, last, outputs),
            ReplicaAnswer::Adopted { at, damaged } => {
                self.on_adopted(now, node, at, damaged, outputs);
            }
            ReplicaAnswer::Damaged { ranges } => self.on_damaged(now, node, ranges, outputs),
            ReplicaAnswer::Copied { last } => self.on_copied(now, node, last, outputs),
            ReplicaAnswer::Changed { at } => self.on_changed(now, node, at, outputs),
            ReplicaAnswer::Joined => self.on_joined(now, node, outputs),
            ReplicaAnswer::Acked { last } => self.on_acked(now, node, last, outputs),
            ReplicaAnswer::Confirmed { round } => self.on_confirmed(node, round, outputs),
            ReplicaAnswer::Resumed { storage, joined, at } => {
                if self.progress(node).stage == Stage::Resuming {
                    self.progress(node).storage = Some(storage);
                    self.on_resumed(now, node, joined, at, outputs);
                }
            }
            ReplicaAnswer::Records { request, origin, first, count, done } => {
                let run = Run::verify(origin, first, count, payload, &self.config.limits)
                    .map_err(|error| error.to_string());
                self.on_records(now, node, request, run, done, outputs);
            }
            ReplicaAnswer::ReadFailed { request, reason } => {
                self.on_records(now, node, request, Err(reason), true, outputs);
            }
            ReplicaAnswer::OutOfPlace { .. } => self.rest(now, node),
            ReplicaAnswer::Space { is_full } => self.on_space(node, is_full, outputs),
            ReplicaAnswer::Quota { is_over } => self.progress(node).is_over_quota = is_over,
        }
        self.drop_strangers(outputs);
    }

    fn end(&mut self, promise: Option<SessionId>, reason: String, outputs: &mut Outputs) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            outputs.push(SequencerOutput::Over { promise, reason });
        }
    }

    /// The log as far as it is chosen or committed.
    fn log(&self) -> Option<&LogSummary> {
        match &self.phase {
            Phase::Chosen { log, .. } | Phase::Open { log, .. } => Some(log),
            Phase::Opening { .. } | Phase::Over => None,
        }
    }

    fn progress(&mut self, node: NodeId) -> &mut Progress {
        self.replicas.get_mut(&node).expect("only replicas' answers are taken")
    }

    fn ask(&self, node: NodeId, request: ReplicaRequest, payload: Bytes, outputs: &mut Outputs) {
        debug_assert!(request.since() <= self.replicas[&node].speaks, "{node}: {request:?}");
        let (partition, creation, session) = (self.partition, self.creation, self.session);
        let request = ToReplica { partition, creation, session, request };
        outputs.push(SequencerOutput::ToReplica { node, request, payload });
    }
}

#[cfg(test)]
mod tests;
