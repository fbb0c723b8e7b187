//! What a session does as time passes: it asks rested replicas again, repairs what could not be
//! repaired, tells an idle log's committed mark, and gives up when it was alone for too long.

use bytes::Bytes;

use super::{Outputs, Phase, Progress, Sequencer, Stage};
use crate::id::NodeId;
use crate::time::Time;
use crate::wire::ReplicaRequest;

impl Sequencer {
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
}
