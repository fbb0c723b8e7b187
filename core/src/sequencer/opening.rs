//! From the promises to the choice: votes come in, and the log to continue is settled, once.
//!
//! The rule itself is in [`choose`](super::choose); here it is asked again with every answer, until
//! it names a log. Then whoever has answered is asked to adopt that one.

use std::collections::btree_map::Entry;

use super::choose::{Choice, Suspects, Vote, choose, choose_by_force};
use super::{Outputs, Phase, Progress, Sequencer, SequencerOutput, Stage};
use crate::id::{Mark, Member, NodeId, ReplicaSet};
use crate::log::{LogSummary, SetChange};
use crate::time::Time;

impl Sequencer {
    /// A replica has promised.
    pub(super) fn on_opened(&mut self, now: Time, node: NodeId, vote: Vote, outputs: &mut Outputs) {
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
    pub(super) fn decide(&mut self, now: Time, outputs: &mut Outputs) {
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
    pub(super) fn ask_again(&mut self, now: Time, outputs: &mut Outputs) {
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

    /// The choice that an operator has made: all survivors have answered.
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

    /// The replicas that only give records, and up to where.
    fn suspects(&self) -> Suspects {
        let last = |progress: &Progress| match progress.stage {
            Stage::Suspect(last) => Some(last),
            _ => None,
        };
        let all = self.replicas.iter();
        all.filter_map(|(node, progress)| Some((*node, last(progress)?))).collect()
    }

    /// Takes a node in, and asks to be told when it can be reached.
    pub(super) fn deal_with(&mut self, node: NodeId, outputs: &mut Outputs) {
        if let Entry::Vacant(entry) = self.replicas.entry(node) {
            entry.insert(Box::new(Progress::new()));
            outputs.push(SequencerOutput::Reach { node });
        }
    }
}
