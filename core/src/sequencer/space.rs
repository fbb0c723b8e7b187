//! Replicas whose disks are full: they are sent no records until they have room again. The others
//! go on, as long as they are a quorum; what a full one lacks then, it is given like any laggard.
//!
//! A replica at its quota is given everything, so that it never falls behind for that: only nothing
//! new is numbered while too few others may have more.

use super::progress::Progress;
use super::{Outputs, Sequencer, Stage};
use crate::id::NodeId;

impl Sequencer {
    /// Whether too few replicas have room for what might be appended now, or may have it. It would
    /// be committed once they have.
    pub fn is_full(&self) -> bool {
        let is_full = |progress: &Progress| progress.is_full || progress.is_over_quota;
        let is_any_full = self.replicas.values().any(|progress| is_full(progress));
        let has_room = |node: &NodeId| !is_full(&self.replicas[node]) && self.counts(*node);
        is_any_full && self.joined().iter().filter(|node| has_room(node)).count() < self.quorum()
    }

    /// A replica has no room for records, or has again.
    pub(super) fn on_space(&mut self, node: NodeId, is_full: bool, outputs: &mut Outputs) {
        let progress = self.progress(node);
        progress.is_full = is_full;
        if is_full {
            return;
        }
        match progress.stage {
            Stage::Copying => self.copy_or_join(node, outputs),
            Stage::Joined => self.supply(node, outputs),
            _ => {}
        }
        self.repair(node, outputs);
    }
}
