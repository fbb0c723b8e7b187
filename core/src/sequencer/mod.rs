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
//! never goes back; a replica that has not joined counts for nothing. A session that can't go on
//! is [over](SequencerOutput::Over): its owner opens a higher one, if it still should.
//!
//! It does not know clients, locks or the coordinator, and it keeps nothing on disk.

mod choose;
mod pipeline;
mod progress;
mod reads;
mod replication;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use crate::id::{CreationId, Mark, NodeId, PartitionId, ReplicaSet, SessionId, TransactionId};
use crate::limits::Limits;
use crate::planted::Planted;
use crate::record::{RecordView, Run};
use crate::time::Time;
use crate::wire::{LogSummary, ReplicaAnswer, ReplicaRequest, ReplicaStatus, ToReplica};
use choose::{Choice, Vote, choose, quorum};
use pipeline::Pipeline;
use progress::{Progress, Stage};
use reads::{Purpose, Reads};

/// How a session replicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
            limits,
            planted: Planted::NONE,
        }
    }
}

/// What a session wants done, or says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// The session can't go on.
    Over {
        /// The promise that fenced it, if one did.
        promise: Option<SessionId>,
        /// Why, for people.
        reason: String,
    },
}

/// Where the session is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Phase {
    /// Collecting promises.
    Opening { votes: BTreeMap<NodeId, Vote> },
    /// The log to continue is chosen; fewer than a quorum have joined.
    Chosen { log: LogSummary, source: NodeId },
    /// Appends are numbered.
    Open { prefix: LogSummary },
    /// Nothing more happens.
    Over,
}

/// A quorum round under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Round {
    number: u64,
    confirmed: BTreeSet<NodeId>,
}

/// One session of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sequencer {
    config: SequencerConfig,
    partition: PartitionId,
    creation: CreationId,
    session: SessionId,
    set: ReplicaSet,
    phase: Phase,
    replicas: BTreeMap<NodeId, Progress>,
    pipeline: Pipeline,
    reads: Reads,
    round: Option<Round>,
    quiet_since: Time,
}

/// Where a session's outputs go.
pub type Outputs = Vec<SequencerOutput>;

impl Sequencer {
    /// A session that has asked nobody yet: tell it who is [reachable](Self::on_reachable).
    pub fn new(
        config: SequencerConfig,
        partition: PartitionId,
        creation: CreationId,
        session: SessionId,
        set: ReplicaSet,
    ) -> Self {
        let replicas = set.nodes().map(|node| (node, Progress::new())).collect();
        Self {
            config,
            partition,
            creation,
            session,
            set,
            phase: Phase::Opening { votes: BTreeMap::new() },
            replicas,
            pipeline: Pipeline::new(session, Mark::NONE, config.keep_bytes),
            reads: Reads::default(),
            round: None,
            quiet_since: Time::ZERO,
        }
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

    /// Every replica and how far it is.
    pub fn replicas(&self) -> Vec<ReplicaStatus> {
        let status = |(node, progress): (&NodeId, &Progress)| ReplicaStatus {
            node: *node,
            state: progress.stage.word().to_owned(),
            last: progress.last,
        };
        self.replicas.iter().map(status).collect()
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

    /// Reads committed records from a replica; `Records` or `ReadFailed` follows, perhaps late.
    pub fn read(
        &mut self,
        asked: u64,
        first: TransactionId,
        to: Mark,
        max_bytes: u32,
        outputs: &mut Outputs,
    ) {
        assert!(to <= self.committed(), "only committed records are shown");
        let request = self.reads.begin(Purpose::Asked(asked), first, to, max_bytes);
        self.assign_read(request, outputs);
    }

    /// A replica's node can be reached, over a new connection.
    pub fn on_reachable(&mut self, node: NodeId, outputs: &mut Outputs) {
        if self.phase != Phase::Over && self.replicas.contains_key(&node) {
            self.begin_with(node, outputs);
        }
    }

    /// The connection to a replica's node is gone, with whatever was on it.
    pub fn on_unreachable(&mut self, node: NodeId, outputs: &mut Outputs) {
        let Some(progress) = self.replicas.get_mut(&node) else {
            return;
        };
        progress.stage = Stage::Unreachable;
        progress.reading = false;
        self.withdraw_vote(node);
        self.reads.abandon(node);
        self.reads.end_for(node);
        if matches!(&self.phase, Phase::Chosen { source, .. } if *source == node) {
            let reason = format!("{node}, whose log was chosen, was lost before a quorum had it");
            self.end(None, reason, outputs);
            return;
        }
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
            ReplicaAnswer::Opened { normal, log, low_water, start: _, replicas } => {
                self.on_opened(now, node, Vote { normal, log, low_water, replicas }, outputs);
            }
            ReplicaAnswer::Fenced { promise } => {
                let reason = format!("{node} has promised {promise}");
                self.end(Some(promise), reason, outputs);
            }
            ReplicaAnswer::Unknown => self.progress(node).stage = Stage::Foreign,
            ReplicaAnswer::Adopted { last } => self.on_adopted(now, node, last, outputs),
            ReplicaAnswer::Copied { last } => self.on_copied(now, node, last, outputs),
            ReplicaAnswer::Joined => self.on_joined(now, node, outputs),
            ReplicaAnswer::Acked { last } => self.on_acked(now, node, last, outputs),
            ReplicaAnswer::Confirmed { round } => self.on_confirmed(node, round, outputs),
            ReplicaAnswer::Resumed { joined, last } => {
                self.on_resumed(now, node, joined, last, outputs);
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
    }

    /// When [`Self::on_timer`] wants to be called.
    pub fn deadline(&self) -> Option<Time> {
        let resting = self.replicas.values().filter_map(|progress| match progress.stage {
            Stage::Resting(until) => Some(until),
            _ => None,
        });
        let idle = self.untold().next().map(|_| self.quiet_since + self.config.idle_commit);
        resting.chain(idle).min()
    }

    /// Some time has passed.
    pub fn on_timer(&mut self, now: Time, outputs: &mut Outputs) {
        if self.phase == Phase::Over {
            return;
        }
        let rested =
            |progress: &Progress| matches!(progress.stage, Stage::Resting(until) if until <= now);
        let rested = self.replicas.iter().filter(|(_, progress)| rested(progress));
        let rested: Vec<_> = rested.map(|(node, _)| *node).collect();
        for node in rested {
            self.begin_with(node, outputs);
        }
        self.assign_waiting_reads(outputs);
        if now >= self.quiet_since + self.config.idle_commit {
            let (committed, untold) = (self.committed(), self.untold().collect::<Vec<_>>());
            for node in untold {
                self.progress(node).told = committed;
                self.ask(node, ReplicaRequest::Commit { committed }, Bytes::new(), outputs);
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
        self.progress(node).promised = true;
        self.progress(node).stage = Stage::Answered;
        let Phase::Opening { votes } = &mut self.phase else {
            self.adopt(node, outputs);
            return;
        };
        votes.insert(node, vote);
        match choose(votes, self.config.planted) {
            Choice::Undecided => {}
            Choice::Log(source) => {
                let Vote { log, replicas, .. } = votes[&source].clone();
                self.set = replicas;
                self.phase = Phase::Chosen { log, source };
                let answered = |(node, progress): (&NodeId, &Progress)| {
                    (progress.stage == Stage::Answered).then_some(*node)
                };
                let answered: Vec<_> = self.replicas.iter().filter_map(answered).collect();
                for node in answered {
                    self.adopt(node, outputs);
                }
            }
            Choice::Contradiction { witness, greatest } => {
                let reason = format!(
                    "{witness} knows records to be committed that the log of {greatest} lacks; \
                     nothing is cut: compare the two disks before going on"
                );
                self.end(None, reason, outputs);
            }
        }
    }

    fn on_confirmed(&mut self, node: NodeId, number: u64, outputs: &mut Outputs) {
        let quorum = self.quorum();
        let joined = self.progress(node).stage == Stage::Joined;
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
        quorum(&self.set, self.config.planted)
    }

    fn progress(&mut self, node: NodeId) -> &mut Progress {
        self.replicas.get_mut(&node).expect("only replicas' answers are taken")
    }

    fn ask(&self, node: NodeId, request: ReplicaRequest, payload: Bytes, outputs: &mut Outputs) {
        let (partition, creation, session) = (self.partition, self.creation, self.session);
        let request = ToReplica { partition, creation, session, request };
        outputs.push(SequencerOutput::ToReplica { node, request, payload });
    }
}

#[cfg(test)]
mod tests;
