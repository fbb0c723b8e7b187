//! The story of a partition that loses replicas for good, twice, and goes on: five replicas on
//! seven nodes lose two, get two others under load, and lose two more.

use std::time::Duration;

use madsim::time::sleep;
use waltz_core::id::PartitionId;

use crate::operator::Operator;
use crate::plan::{FaultKind, Plan};

/// How long each chapter lasts.
const CHAPTER: Duration = Duration::from_secs(2);

/// Makes room for the story in a plan: nothing else harms a disk or moves a replica, and no partition is
/// added, which nobody would move off the nodes that are lost.
pub(crate) fn prepare(plan: &mut Plan) {
    let shape = &mut plan.shape;
    (shape.nodes, shape.storages, shape.servers) = (7, 7, 7);
    (shape.replicas, shape.partitions) = (5, 1);
    use FaultKind::{Death, Grow, Misdirect, Move, Rot, Smear, Wipe};
    let others = [Rot, Misdirect, Smear, Wipe, Death, Move, Grow];
    plan.faults.retain(|fault, _| !others.contains(fault));
    plan.story = true;
}

/// Tells it, and says what did not go as it should. The partition is on the first five nodes at
/// first, the coordinator on the very first.
pub(crate) async fn tell(operator: &Operator) -> Vec<String> {
    let lose = |nodes: [u32; 2]| nodes.into_iter().for_each(|node| operator.cluster.bury(node));
    sleep(CHAPTER).await;
    lose([3, 4]);
    sleep(CHAPTER).await;
    operator.want(PartitionId(0), &[0, 1, 2, 5, 6]).await;
    let unsettled = operator.settle().await;
    if unsettled.is_empty() {
        sleep(CHAPTER).await;
        lose([1, 2]);
    }
    unsettled
}
