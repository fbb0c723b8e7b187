//! Many partitions, a few records each, with locks of every kind.

use waltz_client::LockKind;

use super::drive::{Step, Workload};
use super::instance::Instance;
use super::wish::{Patience, Wish};

/// Locks that are always in somebody's hands, and those that are hardly ever.
const LOCKS: (u64, u64) = (4, 60);

#[derive(Clone)]
pub(super) struct ManyPartitions;

/// A record with up to three locks of any kind.
pub(super) fn any_wish(step: &mut Step) -> Wish {
    let mut wish = Wish { header: step.below(1_000) as u32, ..Wish::default() };
    for _ in 0..step.below(4) {
        let kind = [LockKind::Write, LockKind::Read, LockKind::Append][step.below(3) as usize];
        let locks = if step.below(3) == 0 { LOCKS.1 } else { LOCKS.0 };
        wish = wish.lock(kind, "thing", step.below(locks));
    }
    wish.body = vec![step.below(256) as u8; step.below(200) as usize];
    wish
}

impl Workload for ManyPartitions {
    type State = ();

    async fn step(&self, instance: &Instance<()>, mut step: Step) {
        let (partition, wish) = (step.partition(), any_wish(&mut step));
        if step.below(2) == 0 {
            drop(instance.append(partition, Patience::Endless, |()| wish).await);
        } else {
            drop(instance.submit(partition, Patience::Endless, move |()| Some(wish.clone())).await);
        }
    }
}
