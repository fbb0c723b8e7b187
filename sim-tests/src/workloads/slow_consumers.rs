//! Consumers that take their time, on little credit, beside fast ones that append.

use std::time::Duration;

use waltz_client::ClientConfig;

use super::drive::{Step, Workload};
use super::instance::Instance;
use super::many_partitions::any_wish;

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
        // Only a record without checked locks is sure to be committed by a client that lags.
        let timeout = (step.below(3) == 0).then(|| Duration::from_millis(1 + step.below(500)));
        drop(instance.append(partition, timeout, |()| wish).await);
    }
}
