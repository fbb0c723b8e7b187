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

mod changes;
mod choose;
mod pipeline;
mod progress;
mod reads;
mod repair;
mod replication;
mod sources;
mod trimming;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{
    CreationId, Epoch, Mark, Member, NodeId, PartitionId, ReplicaSet, SessionId, TransactionId,
};
use crate::limits::Limits;
use crate::log::{LogSummary, SetChange};
use crate::planted::{Planted, PlantedBug};
use crate::record::{RecordView, Run};
use crate::time::Time;
use crate::wire::{ReplicaAnswer, ReplicaRequest, ReplicaStatus, ToReplica, Version};
use choose::{Choice, Suspects, Vote, Votes, choose, choose_by_force, quorum};
use pipeline::Pipeline;
use progress::{Progress, Stage};
use reads::{Purpose, Reads};

/// How a session replicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SequencerConfig {
    /// This node; reads prefer it.
    pub node: NodeId,
    /// Bytes on their way to one replica before it is left to catch up.
    pub window_bytes: usize,
    /// Bytes on fewer than a quorum before appends are refused as busy.
    pub in_flight_bytes: usize,
    /// Bytes of committed runs kept for replicas that lag a little.
    pub keep_bytes: usize,
    /// Bytes of one run.
    pub run_bytes: usize,
    /// How long an idle session waits before it tells replicas the committed mark.
    pub idle_commit: Duration,
    /// How long a replica whose answers do not fit is left alone.
    pub rest: Duration,
    /// How long an open session goes on without a quorum before it is over.
    pub patience: Duration,
    /// How many records a new replica may lack when it is added to the set.
    pub learner_lag: u64,
    /// Bounds of what peers send.
    pub limits: Limits,
    /// The rule broken on purpose, in simulations.
    pub planted: Planted,
}

impl SequencerConfig {
    /// The defaults for a node.
    pub fn new(node: NodeId, limits: Limits) -> Self {
        Self {
            node,
            window_bytes: 4 << 20,
            in_flight_bytes: 16 << 20,
            keep_bytes: 4 << 20,
            run_bytes: 1 << 20,
            idle_commit: Duration::from_millis(100),
            rest: Duration::from_millis(500),
            patience: Duration::from_secs(3),
            learner_lag: 1024,
            limits,
            planted: Planted::NONE,
        }
    }

    /// Names one opening of a session by this node: no other opening has the name, not even one of
    /// an equal epoch in another life of the node, which draws another nonce.
    pub fn session(&self, epoch: Epoch, nonce: u64) -> SessionId {
        match self.planted.has(PlantedBug::ReuseSession) {
            true => SessionId { epoch: Epoch(epoch.0 & !1), server: self.node, nonce: 0 },
            false => SessionId { epoch, server: self.node, nonce },
        }
    }
}

/// What a session wants done, or says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SequencerOutput {
    /// Ask a replica.
    ToReplica {
        /// Which.
        node: NodeId,
        /// What.
        request: ToReplica,
        /// Records, or nothing.
        payload: Bytes,
    },
    /// A quorum has joined: everything up to here is committed, and appends may come.
    Opened {
        /// The chosen prefix's end.
        committed: Mark,
    },
    /// The next records are committed.
    Committed(Run),
    /// A quorum confirmed the session after this round was asked for.
    Confirmed {
        /// The round.
        round: u64,
        /// The high-water mark.
        committed: Mark,
    },
    /// Records asked for with [`Sequencer::read`].
    Records {
        /// The number they were asked under.
        asked: u64,
        /// The records.
        run: Run,
        /// Whether nothing more comes.
        done: bool,
    },
    /// No replica could give the records asked for.
    ReadFailed {
        /// The number they were asked under.
        asked: u64,
        /// Why, for people.
        reason: String,
    },
    /// A replica's node should be reached, if it is not: say so with
    /// [`Sequencer::on_reachable`].
    Reach {
        /// The node.
        node: NodeId,
    },
    /// A change of the replica set is committed.
    SetCommitted(SetChange),
    /// Something that an operator should know, in words.
    Notice(String),
    /// The session can't go on.
    Over {
        /// The promise that fenced it, if one did.
        promise: Option<SessionId>,
        /// Why, for people.
        reason: String,
    },
}

/// Where the session is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Phase {
    /// Collecting promises.
    Opening { votes: Votes },
    /// The log to continue is chosen; fewer than a quorum have joined.
    Chosen { log: LogSummary, source: NodeId },
    /// Appends are numbered. The log is what is committed; what is in flight is in the pipeline,
    /// and a change of the replica set that is not committed is the pending one.
    Open { log: LogSummary, pending: Option<SetChange> },
    /// Nothing more happens.
    Over,
}

/// A quorum round under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Round {
    number: u64,
    confirmed: BTreeSet<NodeId>,
}

/// One session of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sequencer {
    config: SequencerConfig,
    partition: PartitionId,
    creation: CreationId,
    session: SessionId,
    hint: SetChange,
    /// The replicas that an operator recovers the partition with, whatever the others hold.
    survivors: Option<BTreeSet<NodeId>>,
    target: Option<ReplicaSet>,
    phase: Phase,
    replicas: BTreeMap<NodeId, Progress>,
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

/// Where a session's outputs go.
pub type Outputs = Vec<SequencerOutput>;

impl Sequencer {
    /// A session that has asked nobody yet: tell it who is [reachable](Self::on_reachable).
    /// `hint` is the newest replica set heard of; the one that counts is in the log.
    pub fn new(
        config: SequencerConfig,
        partition: PartitionId,
        creation: CreationId,
        session: SessionId,
        hint: SetChange,
    ) -> Self {
        let replicas = hint.replicas.nodes().map(|node| (node, Progress::new())).collect();
        Self {
            config,
            partition,
            creation,
            session,
            hint,
            survivors: None,
            target: None,
            phase: Phase::Opening { votes: Votes::new() },
            replicas,
            pipeline: Pipeline::new(session, Mark::NONE, config.keep_bytes),
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
        self.replicas = survivors.iter().map(|node| (*node, Progress::new())).collect();
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

    /// Every replica and how far it is.
    pub fn replicas(&self) -> Vec<ReplicaStatus> {
        self.replicas.iter().map(|(node, progress)| self.replica(*node, progress)).collect()
    }

    /// One of them; before the choice, by what it answered.
    fn replica(&self, node: NodeId, progress: &Progress) -> ReplicaStatus {
        let vote = match &self.phase {
            Phase::Opening { votes } => votes.get(&node),
            _ => None,
        };
        let (last, low_water, damaged) = match (vote, progress.stage) {
            (Some(vote), _) => (vote.log.last, vote.low_water, &vote.damaged),
            (None, Stage::Suspect(last)) => (last, Mark::NONE, &progress.damaged),
            (None, _) => (progress.last, progress.told.min(progress.last), &progress.damaged),
        };
        // The disk that is there now is not the one that answered before.
        let is_known = progress.stage != Stage::Foreign;
        ReplicaStatus {
            node,
            storage: progress.storage.filter(|_| is_known),
            counts: is_known && self.counts(node),
            state: progress.words(),
            last,
            low_water,
            damaged: damaged.iter().map(|range| range.last.0 - range.first.0 + 1).sum(),
            wiped: false,
        }
    }

    /// Whether some replica has been asked for something that it has to answer before it counts.
    pub fn awaits_answers(&self) -> bool {
        self.replicas.values().any(|progress| progress.stage.awaits_answer())
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

    /// Begins a quorum round; [`SequencerOutput::Confirmed`] follows unless the session ends.
    /// A round that is under way is replaced.
    pub fn confirm(&mut self, number: u64, outputs: &mut Outputs) {
        assert!(self.is_open(), "only an open session claims to be current");
        self.round = Some(Round { number, confirmed: BTreeSet::new() });
        for node in self.joined() {
            self.ask(node, ReplicaRequest::Confirm { round: number }, Bytes::new(), outputs);
        }
    }

    /// Reads committed records that are not trimmed from a replica; `Records` or `ReadFailed`
    /// follows, perhaps late.
    pub fn read(
        &mut self,
        asked: u64,
        first: TransactionId,
        to: Mark,
        max_bytes: u32,
        outputs: &mut Outputs,
    ) {
        assert!(to <= self.committed(), "only committed records are shown");
        if self.start().includes(first) {
            let reason = format!("{first} was trimmed: the log starts after {}", self.start());
            outputs.push(SequencerOutput::ReadFailed { asked, reason });
            return;
        }
        let request = self.reads.begin(Purpose::Asked(asked), first, to, max_bytes);
        self.assign_read(request, outputs);
    }

    /// A replica's node can be reached, over a new connection that speaks this version.
    pub fn on_reachable(&mut self, node: NodeId, version: Version, outputs: &mut Outputs) {
        if self.phase != Phase::Over && self.replicas.contains_key(&node) {
            self.progress(node).speaks = version;
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
        }
        self.drop_strangers(outputs);
    }

    /// When [`Self::on_timer`] wants to be called.
    pub fn deadline(&self) -> Option<Time> {
        let resting = self.replicas.values().filter_map(|progress| match progress.stage {
            Stage::Resting(until) => Some(until),
            _ => None,
        });
        let idle = self.untold().next().map(|_| self.quiet_since + self.config.idle_commit);
        let lonely = self.alone_since.map(|since| since + self.config.patience);
        let waits = self.waits_until.filter(|_| matches!(self.phase, Phase::Opening { .. }));
        resting.chain(idle).chain(lonely).chain(waits).min()
    }

    /// Some time has passed.
    pub fn on_timer(&mut self, now: Time, outputs: &mut Outputs) {
        if self.phase == Phase::Over {
            return;
        }
        if self.alone_since.is_some_and(|since| since + self.config.patience <= now) {
            let reason = "too few replicas can be reached to go on".to_owned();
            return self.end(None, reason, outputs);
        }
        if self.waits_until.is_some_and(|until| until <= now) {
            self.ask_again(now, outputs);
        }
        let rested =
            |progress: &Progress| matches!(progress.stage, Stage::Resting(until) if until <= now);
        let rested = self.replicas.iter().filter(|(_, progress)| rested(progress));
        let rested: Vec<_> = rested.map(|(node, _)| *node).collect();
        for node in rested {
            self.begin_with(node, outputs);
        }
        self.assign_waiting_reads(outputs);
        self.repair_all(outputs);
        if now >= self.quiet_since + self.config.idle_commit {
            let (committed, untold) = (self.committed(), self.untold().collect::<Vec<_>>());
            for node in untold {
                self.progress(node).told = committed;
                self.ask(node, ReplicaRequest::Commit { committed }, Bytes::new(), outputs);
                self.tell_start(node, outputs);
            }
        }
    }

    fn on_opened(&mut self, now: Time, node: NodeId, vote: Vote, outputs: &mut Outputs) {
        if self.progress(node).stage != Stage::Opening {
            return;
        }
        if !vote.log.is_sound() {
            self.rest(now, node);
            return;
        }
        let trimmed = vote.log.start;
        let agreed = self.log().and_then(|log| log.common(&vote.log));
        let progress = self.progress(node);
        progress.promised = true;
        progress.stage = Stage::Answered;
        progress.storage = Some(vote.storage);
        progress.agreed = agreed.map_or(Mark::NONE, |at| at.last);
        match &mut self.phase {
            Phase::Opening { votes } => {
                votes.insert(node, vote);
                self.decide(now, outputs);
            }
            _ => {
                self.start_after(trimmed, outputs);
                self.adopt(node, outputs);
            }
        }
    }

    /// Makes the choice if it stands.
    fn decide(&mut self, now: Time, outputs: &mut Outputs) {
        let Phase::Opening { votes } = &self.phase else {
            return;
        };
        if let Some(survivors) = &self.survivors {
            // They become the replica set by a change, which each of them has to take.
            let is_ready =
                |node: &NodeId| votes.contains_key(node) && self.replicas[node].takes_upkeep();
            if survivors.iter().all(is_ready) {
                self.recover_by_force(outputs);
            }
            return;
        }
        match choose(votes, &self.suspects(), &self.hint.replicas, self.config.planted) {
            Choice::Undecided { ask } => {
                for node in ask.nodes() {
                    self.deal_with(node, outputs);
                }
            }
            Choice::Waiting { id } => {
                let until = now + self.config.rest;
                if self.waits_until.replace(until).is_none() {
                    outputs.push(SequencerOutput::Notice(format!(
                        "record {id} may be committed and no replica at hand can read it: waiting \
                         for one that can"
                    )));
                }
            }
            Choice::Log { source, log } => self.choose(source, log, outputs),
            Choice::Contradiction { witness, greatest } => {
                let reason = format!(
                    "{witness} knows records to be committed that the log of {greatest} lacks; \
                     nothing is cut: compare the two disks before going on"
                );
                self.end(None, reason, outputs);
            }
        }
    }

    /// Whoever has answered may be able to read more by now.
    fn ask_again(&mut self, now: Time, outputs: &mut Outputs) {
        self.waits_until = Some(now + self.config.rest);
        let Phase::Opening { votes } = &self.phase else {
            return;
        };
        let nodes: Vec<_> = votes.keys().copied().collect();
        for node in nodes {
            self.withdraw_vote(node);
            self.begin_with(node, outputs);
        }
    }

    fn recover_by_force(&mut self, outputs: &mut Outputs) {
        let Phase::Opening { votes } = &self.phase else {
            return;
        };
        let Some((source, mut log)) = choose_by_force(votes, &self.suspects()) else {
            return;
        };
        let member = |(node, vote): (&NodeId, &Vote)| Member { node: *node, storage: vote.storage };
        let replicas = ReplicaSet(votes.iter().map(member).collect());
        outputs.push(SequencerOutput::Notice(format!(
            "recovered by force: the log of {source}, up to {}, goes on with {} replicas; what only \
             others held is lost",
            log.last,
            replicas.0.len()
        )));
        log.change(SetChange {
            version: log.set().version.next(),
            session: Some(self.session),
            at: log.last,
            replicas,
        });
        self.choose(source, log, outputs);
    }

    /// The choice is made, once. Whoever has answered is asked to adopt it.
    fn choose(&mut self, source: NodeId, log: LogSummary, outputs: &mut Outputs) {
        let phase = Phase::Chosen { log: log.clone(), source };
        let Phase::Opening { votes } = std::mem::replace(&mut self.phase, phase) else {
            unreachable!("the choice is made once");
        };
        for (node, vote) in votes {
            let agreed = log.common(&vote.log).map_or(Mark::NONE, |at| at.last);
            let progress = self.progress(node);
            progress.agreed = agreed;
            progress.damaged = vote.damaged;
            self.adopt(node, outputs);
        }
        let members: Vec<_> = log.set().replicas.nodes().collect();
        for node in members {
            self.deal_with(node, outputs);
        }
    }

    fn suspects(&self) -> Suspects {
        let last = |(node, progress): (&NodeId, &Progress)| match progress.stage {
            Stage::Suspect(last) => Some((*node, last)),
            _ => None,
        };
        self.replicas.iter().filter_map(last).collect()
    }

    /// Takes a node in, and asks to be told when it can be reached.
    fn deal_with(&mut self, node: NodeId, outputs: &mut Outputs) {
        if let std::collections::btree_map::Entry::Vacant(entry) = self.replicas.entry(node) {
            entry.insert(Progress::new());
            outputs.push(SequencerOutput::Reach { node });
        }
    }

    fn on_confirmed(&mut self, node: NodeId, number: u64, outputs: &mut Outputs) {
        let quorum = self.quorum();
        let joined = self.progress(node).stage == Stage::Joined && self.counts(node);
        let Some(round) = self.round.as_mut().filter(|round| round.number == number && joined)
        else {
            return;
        };
        round.confirmed.insert(node);
        if round.confirmed.len() >= quorum {
            self.round = None;
            let committed = self.committed();
            outputs.push(SequencerOutput::Confirmed { round: number, committed });
        }
    }

    fn end(&mut self, promise: Option<SessionId>, reason: String, outputs: &mut Outputs) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            outputs.push(SequencerOutput::Over { promise, reason });
        }
    }

    /// Joined replicas that were not told the committed mark.
    fn untold(&self) -> impl Iterator<Item = NodeId> + '_ {
        let committed = self.committed();
        let open = self.is_open();
        self.replicas.iter().filter_map(move |(node, progress)| {
            let untold = progress.stage == Stage::Joined
                && progress.told < committed
                && progress.last >= committed;
            (open && untold).then_some(*node)
        })
    }

    fn joined(&self) -> Vec<NodeId> {
        let joined = self.replicas.iter().filter(|(_, p)| p.stage == Stage::Joined);
        joined.map(|(node, _)| *node).collect()
    }

    fn quorum(&self) -> usize {
        quorum(&self.set().replicas, self.config.planted)
    }

    /// Whether the newest replica set names this node with the disk that it has.
    fn counts(&self, node: NodeId) -> bool {
        self.is_member(node, &self.set().replicas)
    }

    fn is_member(&self, node: NodeId, set: &ReplicaSet) -> bool {
        if self.config.planted.has(PlantedBug::CountLearner) {
            return true;
        }
        let storage = self.replicas.get(&node).and_then(|progress| progress.storage);
        storage.is_some_and(|storage| set.contains(Member { node, storage }))
    }

    /// The log as far as it is chosen or committed.
    fn log(&self) -> Option<&LogSummary> {
        match &self.phase {
            Phase::Chosen { log, .. } | Phase::Open { log, .. } => Some(log),
            Phase::Opening { .. } | Phase::Over => None,
        }
    }

    /// Notices when an open session loses its quorum, and when it has one again.
    fn watch_quorum(&mut self, now: Time) {
        let joined = self.joined().into_iter().filter(|node| self.counts(*node)).count();
        let alone = self.is_open() && joined < self.quorum();
        self.alone_since = alone.then(|| self.alone_since.unwrap_or(now));
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
