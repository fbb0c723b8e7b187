//! A session's dealings with one replica: from its promise to its acknowledgements.

use bytes::Bytes;

use super::{Outputs, Phase, Purpose, Sequencer, SequencerOutput, Stage};
use crate::id::{Mark, NodeId};
use crate::record::Run;
use crate::time::Time;
use crate::wire::{LogSummary, ReplicaRequest};

impl Sequencer {
    /// Asks a replica to promise, or, if it has, where it stands.
    pub(super) fn begin_with(&mut self, node: NodeId, outputs: &mut Outputs) {
        let progress = self.progress(node);
        progress.reading = false;
        if progress.promised {
            progress.stage = Stage::Resuming;
            self.ask(node, ReplicaRequest::Resume, Bytes::new(), outputs);
        } else {
            progress.stage = Stage::Opening;
            let replicas = self.set.clone();
            self.ask(node, ReplicaRequest::Open { replicas }, Bytes::new(), outputs);
        }
    }

    /// What it said does not fit; after a rest it is asked where it stands, or, if it did not
    /// know the session even then, to promise it again.
    pub(super) fn rest(&mut self, now: Time, node: NodeId) {
        let until = now + self.config.rest;
        let progress = self.progress(node);
        progress.promised &= progress.stage != Stage::Resuming;
        progress.stage = Stage::Resting(until);
        progress.reading = false;
        self.withdraw_vote(node);
        self.reads.abandon(node);
        self.reads.end_for(node);
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
        last: Mark,
        outputs: &mut Outputs,
    ) {
        if self.progress(node).stage != Stage::Resuming {
            return;
        }
        if joined && self.is_open() {
            if last > self.pipeline.sealed() {
                self.rest(now, node);
                return;
            }
            self.join(node, last, outputs);
        } else {
            self.adopt(node, outputs);
        }
    }

    pub(super) fn adopt(&mut self, node: NodeId, outputs: &mut Outputs) {
        self.progress(node).stage = Stage::Adopting;
        let chosen = self.chosen().clone();
        self.ask(node, ReplicaRequest::Adopt { chosen }, Bytes::new(), outputs);
    }

    pub(super) fn on_adopted(
        &mut self,
        now: Time,
        node: NodeId,
        last: Mark,
        outputs: &mut Outputs,
    ) {
        if self.progress(node).stage != Stage::Adopting {
            return;
        }
        if last > self.chosen().last {
            self.rest(now, node);
            return;
        }
        let progress = self.progress(node);
        progress.stands_at(last);
        progress.stage = Stage::Copying;
        self.copy_or_join(node, outputs);
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
    fn copy_or_join(&mut self, node: NodeId, outputs: &mut Outputs) {
        let end = self.chosen().last;
        let progress = self.progress(node);
        if progress.last == end {
            progress.stage = Stage::Joining;
            self.ask(node, ReplicaRequest::Join { at: end }, Bytes::new(), outputs);
        } else if progress.sent == progress.last {
            self.catch_up(node, end, outputs);
        }
    }

    pub(super) fn on_joined(&mut self, now: Time, node: NodeId, outputs: &mut Outputs) {
        if self.progress(node).stage != Stage::Joining {
            return;
        }
        self.join(node, self.chosen().last, outputs);
        let Phase::Chosen { log, .. } = &self.phase else {
            return;
        };
        if self.joined().len() < self.quorum() {
            return;
        }
        let prefix = log.clone();
        let committed = prefix.last;
        self.pipeline = super::Pipeline::new(self.session, committed, self.config.keep_bytes);
        self.phase = Phase::Open { prefix };
        self.quiet_since = now;
        outputs.push(SequencerOutput::Opened { committed });
    }

    /// A replica has joined and durably stands at `last`.
    fn join(&mut self, node: NodeId, last: Mark, outputs: &mut Outputs) {
        let progress = self.progress(node);
        progress.stage = Stage::Joined;
        progress.stands_at(last);
        progress.told = Mark::NONE;
        if !self.is_open() {
            return;
        }
        if let Some(round) = &self.round {
            let request = ReplicaRequest::Confirm { round: round.number };
            self.ask(node, request, Bytes::new(), outputs);
        }
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
    }

    /// Commits what a quorum of the joined durably holds.
    fn advance(&mut self, outputs: &mut Outputs) {
        let mut lasts: Vec<_> = self
            .replicas
            .values()
            .filter(|progress| progress.stage == Stage::Joined)
            .map(|progress| progress.last)
            .collect();
        let quorum = self.quorum();
        if lasts.len() < quorum {
            return;
        }
        lasts.sort_unstable();
        let held = lasts[lasts.len() - quorum];
        if held > self.committed() {
            self.pipeline.commit(held, |run| outputs.push(SequencerOutput::Committed(run)));
        }
    }

    /// Sends a joined replica what it lacks, as far as its window goes.
    pub(super) fn supply(&mut self, node: NodeId, outputs: &mut Outputs) {
        let (sealed, committed) = (self.pipeline.sealed(), self.pipeline.committed());
        let window = self.config.window_bytes;
        loop {
            let progress = self.progress(node);
            if progress.reading
                || progress.sent >= sealed
                || progress.unacknowledged_bytes() >= window
            {
                return;
            }
            let next = progress.sent.next();
            let Some(run) = self.pipeline.run_from(next) else {
                self.catch_up(node, committed, outputs);
                return;
            };
            self.send_run(node, run, outputs);
        }
    }

    fn send_run(&mut self, node: NodeId, run: Run, outputs: &mut Outputs) {
        let committed = self.committed();
        let copying = self.progress(node).stage == Stage::Copying;
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

    pub(super) fn on_records(
        &mut self,
        now: Time,
        node: NodeId,
        request: u64,
        run: Result<Run, String>,
        done: bool,
        outputs: &mut Outputs,
    ) {
        let Some(read) = self.reads.asked_of(request, node) else {
            return;
        };
        let fits = |run: Run| run.slice(read.next, read.to).filter(|run| run.first == read.next);
        let run = run.and_then(|run| fits(run).ok_or_else(|| "not what was asked".to_owned()));
        let run = match run {
            Ok(run) => run,
            Err(reason) => {
                read.failed.insert(node);
                read.source = None;
                self.retry_or_fail(now, request, reason, outputs);
                return;
            }
        };
        let purpose = read.purpose;
        read.next = run.last().next();
        if done {
            self.reads.end(request);
        }
        match purpose {
            Purpose::Asked(asked) => outputs.push(SequencerOutput::Records { asked, run, done }),
            Purpose::CatchUp(laggard) => {
                self.send_run(laggard, run, outputs);
                if done {
                    self.progress(laggard).reading = false;
                    if self.progress(laggard).stage == Stage::Joined {
                        self.supply(laggard, outputs);
                    }
                }
            }
        }
    }

    /// A source could not give the records: another may, or whoever wanted them hears of it.
    fn retry_or_fail(&mut self, now: Time, request: u64, reason: String, outputs: &mut Outputs) {
        if self.assign_read(request, outputs) {
            return;
        }
        let Some(read) = self.reads.end(request) else {
            return;
        };
        match read.purpose {
            Purpose::Asked(asked) => outputs.push(SequencerOutput::ReadFailed { asked, reason }),
            Purpose::CatchUp(_) if matches!(self.phase, Phase::Chosen { .. }) => {
                let reason = format!("the chosen log could not be read: {reason}");
                self.end(None, reason, outputs);
            }
            Purpose::CatchUp(laggard) => self.rest(now, laggard),
        }
    }

    pub(super) fn assign_waiting_reads(&mut self, outputs: &mut Outputs) {
        for request in self.reads.waiting() {
            self.assign_read(request, outputs);
        }
    }

    /// Asks the best source for a read: this node's own replica if it can, else any that can.
    /// With none (false) the read waits for one.
    pub(super) fn assign_read(&mut self, request: u64, outputs: &mut Outputs) -> bool {
        let chosen_source = match &self.phase {
            Phase::Chosen { source, .. } => Some(*source),
            _ => None,
        };
        let Some(read) = self.reads.find(request) else {
            return false;
        };
        let can = |node: &NodeId| {
            let progress = &self.replicas[node];
            let whole = progress.stage == Stage::Joined && progress.last >= read.to;
            (whole || chosen_source == Some(*node)) && !read.failed.contains(node)
        };
        let nodes = std::iter::once(self.config.node).chain(self.replicas.keys().copied());
        let mut nodes = nodes.filter(|node| self.replicas.contains_key(node));
        let Some(node) = nodes.find(can) else {
            return false;
        };
        read.source = Some(node);
        let (first, to, max_bytes) = (read.next, read.to, read.max_bytes);
        let request = ReplicaRequest::Read { request, first, to, max_bytes };
        self.ask(node, request, Bytes::new(), outputs);
        true
    }

    fn chosen(&self) -> &LogSummary {
        match &self.phase {
            Phase::Chosen { log, .. } | Phase::Open { prefix: log } => log,
            Phase::Opening { .. } | Phase::Over => {
                unreachable!("promises count, and are resumed, only after the choice")
            }
        }
    }
}
