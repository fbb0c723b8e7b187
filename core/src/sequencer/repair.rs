//! Damaged and suspect replicas: what one can't read is given to it again by one that can.
//!
//! A damaged replica does not join before it is whole: until then it is no copy of what is
//! committed by the joining. One that finds damage later goes on counting for what is new, and is
//! repaired beside the work, one run at a time. One that can't be sent repairs, for the version it
//! speaks, stays as it is until its node is upgraded.

use super::{Outputs, Phase, Purpose, Sequencer, SequencerOutput, Stage};
use crate::id::{IdRange, Mark, NodeId};
use crate::record::Run;
use crate::time::Time;
use crate::wire::ReplicaRequest;

impl Sequencer {
    pub(super) fn on_suspect(
        &mut self,
        now: Time,
        node: NodeId,
        last: Mark,
        outputs: &mut Outputs,
    ) {
        if matches!(self.progress(node).stage, Stage::Suspect(_)) {
            return;
        }
        let progress = self.progress(node);
        progress.stage = Stage::Suspect(last);
        progress.forget_reads();
        self.withdraw_vote(node);
        self.watch_quorum(now);
        outputs.push(SequencerOutput::Notice(format!(
            "{node} lost part of its journal: it is suspect and counts for nothing; replace it"
        )));
        self.decide(now, outputs);
        self.drive(outputs);
        self.assign_waiting_reads(outputs);
    }

    /// A replica says what it can't read.
    pub(super) fn on_damaged(
        &mut self,
        now: Time,
        node: NodeId,
        ranges: Vec<IdRange>,
        outputs: &mut Outputs,
    ) {
        let is_reading = self.reads.repairs(node);
        let progress = self.progress(node);
        if !matches!(progress.stage, Stage::Repairing | Stage::Joined) {
            return;
        }
        if ranges.iter().any(|range| range.last < range.first) {
            self.rest(now, node);
            return;
        }
        // What was found out beside a repair does not start another one: its answer comes.
        progress.repairing = is_reading;
        progress.damaged = ranges;
        if progress.damaged.is_empty() && progress.stage == Stage::Repairing {
            progress.stage = Stage::Copying;
            self.copy_or_join(node, outputs);
        } else {
            self.repair(node, outputs);
        }
    }

    /// Repairs what a replica can't read, if nothing is under way for that.
    pub(super) fn repair(&mut self, node: NodeId, outputs: &mut Outputs) {
        let max_bytes = self.config.run_bytes as u32;
        let committed = self.committed();
        let Some(log_end) = self.log().map(|log| log.last) else {
            return;
        };
        let progress = self.progress(node);
        let in_turn =
            matches!(progress.stage, Stage::Repairing | Stage::Joined) && progress.takes_upkeep();
        let Some(range) = progress.damaged.first().copied().filter(|_| in_turn) else {
            return;
        };
        // What is not committed yet is in the pipeline of whoever sequences it, not on a disk
        // that may be read.
        let to = Mark::at(range.last).min(committed.max(log_end));
        if progress.repairing || progress.is_full || !to.includes(range.first) {
            return;
        }
        progress.repairing = true;
        let request = self.reads.begin(Purpose::Repair(node), range.first, to, max_bytes);
        self.assign_read(request, outputs);
    }

    /// Tries again what could not be repaired.
    pub(super) fn repair_all(&mut self, outputs: &mut Outputs) {
        if matches!(self.phase, Phase::Open { .. }) {
            let nodes: Vec<_> = self.replicas.keys().copied().collect();
            for node in nodes {
                self.repair(node, outputs);
            }
        }
    }

    /// Gives a replica records that it can't read; it answers with what is left to repair.
    pub(super) fn send_repair(&mut self, node: NodeId, run: Run, outputs: &mut Outputs) {
        let Run { session: origin, first, count, bytes } = run;
        self.ask(node, ReplicaRequest::Repair { origin, first, count }, bytes, outputs);
    }
}
