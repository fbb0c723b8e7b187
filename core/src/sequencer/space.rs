//! Replicas whose disks are full: they are sent no records until they have room again. The others
//! go on, as long as they are a quorum; what a full one lacks then, it is given like any laggard.

use super::{Outputs, Sequencer, Stage};
use crate::id::NodeId;

impl Sequencer {
    /// Whether too few replicas have room for what might be appended now. It would be committed
    /// once they have.
    pub fn is_full(&self) -> bool {
        let is_any_full = self.replicas.values().any(|progress| progress.is_full);
        let has_room = |node: &NodeId| !self.replicas[node].is_full && self.counts(*node);
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
