//! Reads of the log: whom to ask, and what to do with what comes.
//!
//! A read is asked of a replica that has what is wanted, by its own word: one that has joined, one
//! whose log was found to be the chosen one so far, and, when there is no other, a suspect. What
//! comes is checked: records, ids, and the session that wrote them.

use std::cmp::Reverse;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::reads::Read;
use super::{Outputs, Phase, Purpose, Sequencer, SequencerOutput, Stage};
use crate::id::{Mark, NodeId, TransactionId};
use crate::record::Run;
use crate::time::Time;
use crate::wire::ReplicaRequest;

/// How good a source a replica is; the greatest is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Worth {
    /// It can't tell what it lacks.
    Suspect,
    /// It has said that it can't read some of it.
    Damaged,
    /// It has it.
    Whole,
    /// It has it, and is this node's own.
    Here,
}

impl Sequencer {
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
        let run = run.and_then(|run| self.is_of_the_log(run));
        let Some(read) = self.reads.asked_of(request, node) else {
            return;
        };
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
            Purpose::Repair(damaged) => {
                self.reads.end(request);
                self.send_repair(damaged, run, outputs);
            }
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
        // Then nobody needs it any more: whoever lacked it is told where the log starts now.
        let is_trimmed = self.start().includes(read.next);
        match read.purpose {
            Purpose::Asked(asked) => outputs.push(SequencerOutput::ReadFailed { asked, reason }),
            Purpose::CatchUp(_) | Purpose::Repair(_)
                if matches!(self.phase, Phase::Chosen { .. }) && !is_trimmed =>
            {
                let reason = format!("the chosen log could not be read: {reason}");
                self.end(None, reason, outputs);
            }
            // It goes on counting for what is new, and is tried again.
            Purpose::Repair(damaged) if self.progress(damaged).stage == Stage::Joined => {
                self.progress(damaged).repairing = false;
            }
            Purpose::CatchUp(laggard) | Purpose::Repair(laggard) => self.rest(now, laggard),
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
        let Some(read) = self.reads.find(request) else {
            return false;
        };
        let wanted = read.clone();
        let nodes = self.replicas.keys().copied().filter(|node| !wanted.failed.contains(node));
        // Among equals the lowest node.
        let offers = nodes.filter_map(|node| {
            let (worth, to) = self.worth(node, &wanted)?;
            Some((worth, Reverse(node), to))
        });
        let Some((_, Reverse(node), to)) = offers.max() else {
            return false;
        };
        let read = self.reads.find(request).expect("it was found before");
        read.source = Some(node);
        let (first, max_bytes) = (read.next, read.max_bytes);
        let request = ReplicaRequest::Read { request, first, to, max_bytes };
        self.ask(node, request, Bytes::new(), outputs);
        true
    }

    /// How good a source a replica is for the next of the wanted records, and up to where.
    fn worth(&self, node: NodeId, read: &Read) -> Option<(Worth, Mark)> {
        let progress = &self.replicas[&node];
        if read.purpose == Purpose::Repair(node) {
            return None;
        }
        let (has, suspect) = match progress.stage {
            Stage::Joined => (progress.last.max(progress.agreed), false),
            Stage::Answered
            | Stage::Adopting
            | Stage::Repairing
            | Stage::Copying
            | Stage::Joining => (progress.agreed, false),
            Stage::Suspect(last) => (last, true),
            _ => return None,
        };
        let to = has.min(read.to);
        if !to.includes(read.next) {
            return None;
        }
        let damaged = progress.damaged.iter().find(|range| range.last >= read.next);
        Some(match damaged {
            _ if suspect => (Worth::Suspect, to),
            Some(range) if range.contains(read.next) => (Worth::Damaged, to),
            Some(range) => (Worth::Whole, to.min(Mark::before(range.first))),
            None if node == self.config.node => (Worth::Here, to),
            None => (Worth::Whole, to),
        })
    }

    /// What comes of a suspect or a liar may be of another log.
    fn is_of_the_log(&self, run: Run) -> Result<Run, String> {
        let wrote = |id| self.log().and_then(|log| log.session_at(id)) == Some(run.session);
        match wrote(run.first) && run.last().id().is_some_and(wrote) {
            true => Ok(run),
            false => Err("records of another session".to_owned()),
        }
    }
}
