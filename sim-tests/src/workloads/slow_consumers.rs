//! Consumers that take their time, on little credit, beside fast ones that append.

use std::time::Duration;

use waltz_client::ClientConfig;

use super::drive::{Step, Workload};
use super::instance::Instance;
use super::many_partitions::any_wish;
use super::wish::Patience;

#[derive(Clone)]
pub(super) struct SlowConsumers;

impl Workload for SlowConsumers {
    type State = ();

    /// The first instance is fast, each other one slower than the one before.
    fn follow(&self, index: u32, config: ClientConfig) -> (Duration, ClientConfig) {
        if index == 0 {
            return (Duration::ZERO, config);
        }
        let pace = Duration::from_millis(60 * u64::from(index));
        (pace, ClientConfig { credit_bytes: 2 << 10, batch_bytes: 1 << 10, ..config })
    }

    async fn step(&self, instance: &Instance<()>, mut step: Step) {
        let (partition, wish) = (step.partition(), any_wish(&mut step));
        match step.patience(500) {
            // Tried once: only a record without checked locks is sure to be committed by a client
            // that lags.
            patience @ Patience::Withdrawn(_) if step.below(2) == 0 => {
                drop(instance.submit(partition, patience, move |()| Some(wish.clone())).await);
            }
            patience => drop(instance.append(partition, patience, |()| wish).await),
        }
    }
}
