//! Many clients, one lock: each reads a counter and writes it one higher.
//!
//! A lost update shows at once: every record says the count it leads to, and that must be one more
//! than the count of the records before it. So the final count is the number of commits.

use waltz_client::LockKind;

use super::app::{Applied, State};
use super::drive::{LAST, Step, Workload};
use super::instance::Instance;
use super::wish::Wish;

#[derive(Clone)]
pub(super) struct HotLock;

/// The counter of one partition.
#[derive(Clone, Default)]
pub(super) struct Counter(u64);

impl Counter {
    fn increment(&self) -> Wish {
        let body = (self.0 + 1).to_le_bytes().to_vec();
        Wish { body, ..Wish::default() }.lock(LockKind::Write, "counter", 0)
    }
}

impl State for Counter {
    fn apply(&mut self, record: &Applied<'_>) -> Result<(), String> {
        if record.header == LAST {
            return Ok(());
        }
        let expected = (self.0 + 1).to_le_bytes();
        if record.body != expected {
            return Err(format!("an update was lost: {:?} follows {}", record.body, self.0));
        }
        self.0 += 1;
        Ok(())
    }
}

impl Workload for HotLock {
    type State = Counter;

    async fn step(&self, instance: &Instance<Counter>, mut step: Step) {
        let partition = step.partition();
        let patience = step.patience(2_000);
        if step.below(2) == 0 {
            // One try, which conflicts often.
            drop(instance.append(partition, patience, Counter::increment).await);
        } else {
            let increment = |counter: &Counter| Some(counter.increment());
            drop(instance.submit(partition, patience, increment).await);
        }
    }
}
