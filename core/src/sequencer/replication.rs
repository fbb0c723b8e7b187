//! A session's dealings with one replica: from its promise to its acknowledgements.

use bytes::Bytes;

use super::choose::quorum;
use super::{Outputs, Phase, Progress, Purpose, Sequencer, SequencerOutput, Stage};
use crate::id::{IdRange, Mark, NodeId, Position, ReplicaSet, SetVersion};
use crate::log::LogSummary;
use crate::planted::PlantedBug;
use crate::record::Run;
use crate::time::Time;
use crate::wire::ReplicaRequest;

impl Sequencer {
    /// Asks a replica to promise, or, if it has, where it stands.
    pub(super) fn begin_with(&mut self, node: NodeId, outputs: &mut Outputs) {
        let progress = self.progress(node);
        progress.forget_reads();
        if progress.promised {
            progress.stage = Stage::Resuming;
            self.ask(node, ReplicaRequest::Resume, Bytes::new(), outputs);
        } else {
            progress.stage = Stage::Opening;
            let set = self.set();
            let (version, replicas) = (set.version, set.replicas.clone());
            let learner = self.learner(node);
            let open = ReplicaRequest::Open { version, replicas, learner };
            self.ask(node, open, Bytes::new(), outputs);
        }
    }

    /// What it said does not fit; after a rest it is asked where it stands, or, if it did not
    /// know the session even then, to promise it again.
    pub(super) fn rest(&mut self, now: Time, node: NodeId) {
        let until = now + self.config.rest;
        let progress = self.progress(node);
        progress.promised &= progress.stage != Stage::Resuming;
        progress.stage = Stage::Resting(until);
        progress.forget_reads();
        self.withdraw_vote(node);
        self.reads.abandon(node);
        self.reads.end_for(node);
        self.watch_quorum(now);
    }

    /// Before the choice, a replica that is lost does not count: its log may be needed. Any
    /// majority of answers will do, and it is asked again when it is back.
    pub(super) fn withdraw_vote(&mut self, node: NodeId) {
        if let Phase::Opening { votes } = &mut self.phase {
            votes.remove(&node);
            self.progress(node).promised = false;
        }
    }

    pub(super) fn on_resumed(
        &mut self,
        now: Time,
        node: NodeId,
        joined: bool,
        at: Position,
        outputs: &mut Outputs,
    ) {
        let end = Position { last: self.pipeline.sealed(), version: self.set().version };
        let at = self.resumed_at(node, at);
        // One that ends before the log's start has to start over, joined or not.
        if !joined || !self.is_open() || at.last < self.start() {
            self.adopt(node, outputs);
        } else if at.last > end.last || at.version > end.version {
            self.rest(now, node);
        } else {
            self.join(now, node, at, outputs);
        }
    }

    fn resumed_at(&self, node: NodeId, at: Position) -> Position {
        match self.config.planted.has(PlantedBug::ResumeBlindly) {
            true => {
                let progress = &self.replicas[&node];
                Position { last: progress.sent, version: progress.sent_version }.max(at)
            }
            false => at,
        }
    }

    pub(super) fn adopt(&mut self, node: NodeId, outputs: &mut Outputs) {
        let chosen = self.chosen().clone();
        let progress = self.progress(node);
        progress.stage = Stage::Adopting;
        progress.goal = chosen.position();
        self.ask(node, ReplicaRequest::Adopt { chosen }, Bytes::new(), outputs);
    }

    pub(super) fn on_adopted(
        &mut self,
        now: Time,
        node: NodeId,
        at: Position,
        damaged: Vec<IdRange>,
        outputs: &mut Outputs,
    ) {
        if self.progress(node).stage != Stage::Adopting {
            return;
        }
        let progress = self.progress(node);
        if at > progress.goal {
            self.rest(now, node);
            return;
        }
        progress.stands_at(at);
        progress.agreed = progress.agreed.min(at.last);
        progress.stage = Stage::Repairing;
        self.on_damaged(now, node, damaged, outputs);
        // What it has of the chosen log may be read from it.
        self.assign_waiting_reads(outputs);
    }

    pub(super) fn on_copied(&mut self, now: Time, node: NodeId, last: Mark, outputs: &mut Outputs) {
        if self.progress(node).stage != Stage::Copying {
            return;
        }
        if !self.progress(node).on_acknowledged(last) {
            self.rest(now, node);
            return;
        }
        self.copy_or_join(node, outputs);
    }

    /// Gives a copying replica the next part of the chosen log, or asks it to join at its end.
    pub(super) fn copy_or_join(&mut self, node: NodeId, outputs: &mut Outputs) {
        let progress = self.progress(node);
        let (at, end) =
            (Position { last: progress.last, version: progress.version }, progress.goal);
        if at == end {
            progress.stage = Stage::Joining;
            self.ask(node, ReplicaRequest::Join { at: end }, Bytes::new(), outputs);
            return;
        }
        let idle = progress.sent == progress.last && progress.sent_version == progress.version;
        if idle && !self.start_over(node, outputs) && !self.send_change(node, outputs) {
            let to = self.boundary(node, end.last);
            if self.progress(node).is_full {
                return;
            }
            // It may have come to a change that it can't be told: that is as far as it gets.
            if to > at.last {
                self.catch_up(node, to, outputs);
            }
        }
    }

    /// As far as records go before the next change of the replica set.
    fn boundary(&self, node: NodeId, to: Mark) -> Mark {
        self.next_change(node).map_or(to, |change| to.min(change.at))
    }

    pub(super) fn on_joined(&mut self, now: Time, node: NodeId, outputs: &mut Outputs) {
        if self.progress(node).stage != Stage::Joining {
            return;
        }
        let progress = self.progress(node);
        let at = Position { last: progress.last, version: progress.version };
        self.join(now, node, at, outputs);
        let Phase::Chosen { log, .. } = &self.phase else {
            return;
        };
        let joined = self
            .replicas
            .iter()
            .filter(|(node, progress)| self.has_joined(progress) && self.counts(**node));
        if joined.count() < self.quorum() {
            return;
        }
        let (log, committed) = (log.clone(), log.last);
        self.pipeline = super::Pipeline::new(self.session, committed, self.config.keep_bytes);
        let set = log.set().clone();
        self.phase = Phase::Open { log, pending: None };
        self.has_strangers = true;
        self.quiet_since = now;
        if set.version > self.hint.version {
            outputs.push(SequencerOutput::SetCommitted(set));
        }
        outputs.push(SequencerOutput::Opened { committed });
        self.drive(outputs);
    }

    /// A replica has joined and durably stands at a point of the log.
    fn join(&mut self, now: Time, node: NodeId, at: Position, outputs: &mut Outputs) {
        let progress = self.progress(node);
        progress.stage = Stage::Joined;
        progress.stands_at(at);
        progress.told = Mark::NONE;
        progress.trimmed = Mark::NONE;
        if !self.is_open() {
            return;
        }
        self.ask_to_confirm(node, outputs);
        self.watch_quorum(now);
        self.advance(outputs);
        self.supply(node, outputs);
        self.assign_waiting_reads(outputs);
    }

    pub(super) fn on_acked(&mut self, now: Time, node: NodeId, last: Mark, outputs: &mut Outputs) {
        if self.progress(node).stage != Stage::Joined {
            return;
        }
        if !self.progress(node).on_acknowledged(last) {
            self.rest(now, node);
            return;
        }
        self.quiet_since = now;
        self.advance(outputs);
        self.supply(node, outputs);
        self.tell_start(node, outputs);
    }

    /// Commits what a quorum of the joined durably holds: records, and a change of the replica set
    /// between them.
    pub(super) fn advance(&mut self, outputs: &mut Outputs) {
        loop {
            let held = self.held();
            if held > self.committed() {
                self.commit(held, outputs);
            }
            if !self.commit_change(outputs) {
                break;
            }
        }
        self.drive(outputs);
    }

    /// The highest id that may be committed now. What comes before a pending change must be held
    /// by a quorum of both sets: the change may still be lost.
    fn held(&self) -> Mark {
        let held = self.held_by(&self.set().replicas);
        match &self.phase {
            Phase::Open { log, pending: Some(change) } => {
                held.min(self.held_by(&log.set().replicas)).min(change.at)
            }
            _ => held,
        }
    }

    fn has_joined(&self, progress: &Progress) -> bool {
        let early = self.config.planted.has(PlantedBug::CountBeforeJoin);
        let catches_up = matches!(progress.stage, Stage::Copying | Stage::Joining);
        progress.stage == Stage::Joined || early && catches_up
    }

    /// The highest id that a quorum of a set's joined members durably holds.
    fn held_by(&self, set: &ReplicaSet) -> Mark {
        let counted = self
            .replicas
            .iter()
            .filter(|(node, progress)| self.has_joined(progress) && self.is_member(**node, set));
        let mut lasts: Vec<_> = counted.map(|(_, progress)| progress.last).collect();
        lasts.sort_unstable();
        let quorum = quorum(set, self.config.planted);
        lasts.len().checked_sub(quorum).map_or(Mark::NONE, |nth| lasts[nth])
    }

    fn commit(&mut self, to: Mark, outputs: &mut Outputs) {
        let (session, first) = (self.session, self.committed().next());
        self.pipeline.commit(to, |run| outputs.push(SequencerOutput::Committed(run)));
        if let Phase::Open { log, .. } = &mut self.phase {
            log.extend(session, first, to);
        }
    }

    /// Sends a joined replica what it lacks, as far as its window goes.
    pub(super) fn supply(&mut self, node: NodeId, outputs: &mut Outputs) {
        let (sealed, committed) = (self.pipeline.sealed(), self.pipeline.committed());
        let window = self.config.window_bytes;
        loop {
            if self.start_over(node, outputs) {
                return;
            }
            if self.send_change(node, outputs) {
                continue;
            }
            let to = self.boundary(node, sealed);
            let progress = self.progress(node);
            let is_served = progress.sent >= to || progress.unacknowledged_bytes() >= window;
            if progress.reading || progress.is_full || is_served {
                return;
            }
            let next = progress.sent.next();
            let Some(run) = self.pipeline.run_from(next) else {
                self.catch_up(node, to.min(committed), outputs);
                return;
            };
            let run = run.slice(next, to.min(run.last())).expect("it starts at the next record");
            self.send_run(node, run, outputs);
        }
    }

    pub(super) fn send_run(&mut self, node: NodeId, run: Run, outputs: &mut Outputs) {
        let committed = self.committed();
        let due = self.log().and_then(|log| log.sets.iter().rfind(|set| set.at < run.last()));
        let due = due.map_or(SetVersion::FIRST, |set| set.version);
        let progress = self.progress(node);
        assert!(due <= progress.sent_version, "records follow the changes of the set before them");
        let copying = progress.stage == Stage::Copying;
        let Run { session: origin, first, count, ref bytes } = run;
        let request = if copying {
            ReplicaRequest::Copy { origin, first, count }
        } else {
            self.progress(node).told = committed;
            ReplicaRequest::Append { first, count, committed }
        };
        self.progress(node).on_sent(run.last(), bytes.len());
        self.ask(node, request, bytes.clone(), outputs);
    }

    /// Reads, from another replica, what comes next for this one.
    fn catch_up(&mut self, node: NodeId, to: Mark, outputs: &mut Outputs) {
        let progress = self.progress(node);
        if progress.reading {
            return;
        }
        progress.reading = true;
        let first = progress.sent.next();
        let max_bytes = self.config.run_bytes as u32;
        let request = self.reads.begin(Purpose::CatchUp(node), first, to, max_bytes);
        self.assign_read(request, outputs);
    }

    fn chosen(&self) -> &LogSummary {
        self.log().expect("promises count, and are resumed, only after the choice")
    }
}
