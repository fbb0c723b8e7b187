//! Many clients, one lock: each reads a counter and writes it one higher.
//!
//! A lost update shows at once: every record says the count it leads to, and that must be one more
//! than the count of the records before it. So the final count is the number of commits.

use std::time::Duration;

use waltz_client::LockKind;

use super::app::{Applied, State};
use super::drive::{LAST, Step, Workload};
use super::instance::{Instance, Wish};

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
        match step.below(4) {
            // One try, which conflicts often; perhaps with an impatient client.
            0 => drop(instance.append(partition, None, Counter::increment).await),
            1 => {
                let timeout = Duration::from_millis(1 + step.below(2_000));
                drop(instance.append(partition, Some(timeout), Counter::increment).await);
            }
            _ => drop(instance.submit(partition, |counter| Some(counter.increment())).await),
        }
    }
}
