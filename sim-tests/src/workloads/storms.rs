//! Clients that come and go: they close, are killed, unmount, mount again, flush, fetch what was
//! committed, and give up on appends and contexts.

use std::collections::BTreeSet;
use std::time::Duration;

use waltz_client::{FetchError, Mark, Partitions, TransactionId};

use super::app::{Applied, State};
use super::drive::{Step, Workload};
use super::instance::Instance;
use super::many_partitions::any_wish;

#[derive(Clone)]
pub(super) struct Storms;

/// What one partition's records held, by id.
#[derive(Clone, Default)]
pub(super) struct Bodies(Vec<Vec<u8>>);

impl State for Bodies {
    fn apply(&mut self, record: &Applied<'_>) -> Result<(), String> {
        self.0.push(record.body.to_vec());
        Ok(())
    }
}

impl Workload for Storms {
    type State = Bodies;

    async fn step(&self, instance: &Instance<Bodies>, mut step: Step) {
        let partition = step.partition();
        match step.below(20) {
            0..9 => {
                let wish = any_wish(&mut step);
                let patience = step.patience(1_000);
                // Whoever took long computed at an old mark.
                let age = if step.below(3) == 0 { step.below(60) } else { 0 };
                let applied = instance.app().mark(partition).count();
                let at = Mark::before(TransactionId(applied.saturating_sub(age)));
                drop(instance.append_at((partition, at), patience, wish).await);
            }
            9..12 => {
                let (wish, patience) = (any_wish(&mut step), step.patience(1_000));
                drop(instance.submit(partition, patience, move |_| Some(wish.clone())).await);
            }
            12..15 => drop(instance.flush(step.partitions).await),
            15..17 => fetch(instance, &mut step).await,
            17 => unmount(instance, &mut step).await,
            18 => instance.restart(true).await,
            _ => instance.restart(false).await,
        }
    }
}

/// Leaves some partitions and comes back to all of them.
async fn unmount(instance: &Instance<Bodies>, step: &mut Step) {
    let some: BTreeSet<_> = (0..step.below(3)).map(|_| step.partition()).collect();
    let pause = Duration::from_millis(step.below(500));
    instance.narrow(Partitions::Only(some), pause).await;
}

/// A committed record, fetched, is what was applied.
async fn fetch(instance: &Instance<Bodies>, step: &mut Step) {
    let partition = step.partition();
    let count = instance.app().mark(partition).count();
    if count == 0 {
        return;
    }
    let id = TransactionId(step.below(count));
    let fetched = match instance.client().fetch(partition, id).await {
        Ok(fetched) => fetched.bytes().await,
        Err(error) => Err(error),
    };
    match fetched {
        Ok(data) => {
            let applied = instance.app().with(partition, |bodies| bodies.0[id.0 as usize].clone());
            if data.get(8..) != Some(&applied) {
                let text = format!("promise 1: {partition} {id} was fetched with other data");
                instance.app().object(text);
            }
        }
        // A server that was replaced may not know it yet.
        Err(FetchError::Closed | FetchError::NotCommitted { .. } | FetchError::Failed(_)) => {}
        Err(FetchError::Trimmed { start, .. }) if start.includes(id) => {}
        Err(error) => instance.app().object(format!("{partition} {id} was fetched: {error}")),
    }
}
