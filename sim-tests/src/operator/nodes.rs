//! What an operator wants of nodes, and of the cluster as a whole.

use waltz_client::OperatorRequest;
use waltz_core::id::{NodeId, PartitionId};
use waltz_core::time::Random;

use super::Operator;

/// At most so many partitions are added in a run.
const MOST_ADDED: u32 = 6;

impl Operator {
    /// Drains some node or takes that back, or prefers it for a partition, or no longer.
    pub(crate) async fn operate_node(&self, random: &mut Random) {
        let mut below = |bound: u32| (random.bits() % u64::from(bound)) as u32;
        let node = NodeId(below(self.plan.shape.nodes) + 1);
        let partitions = vec![PartitionId(below(self.plan.shape.partitions))];
        let (kind, yes) = (below(3), below(2) == 0);
        self.ask(match kind {
            0 => OperatorRequest::DrainServer { node, drained: yes },
            1 => OperatorRequest::DrainStorage { node, drained: yes },
            _ => OperatorRequest::Prefer { node, partitions, preferred: yes },
        })
        .await;
    }

    /// Adds a partition or two. From now on they are looked after as all others are.
    pub(crate) async fn add_partitions(&self, random: &mut Random) {
        {
            let mut state = self.lock();
            if state.client.is_none() {
                return;
            }
            let more = 1 + (random.bits() % 2) as u32;
            state.added = (state.added + more).min(MOST_ADDED);
        }
        self.add_again().await;
    }

    /// Asks for the partitions that were to be added, whatever was answered then.
    pub(super) async fn add_again(&self) {
        let added = self.lock().added;
        if added > 0 {
            let partitions = self.plan.shape.partitions + added;
            self.ask(OperatorRequest::AddPartitions { partitions }).await;
        }
    }
}
