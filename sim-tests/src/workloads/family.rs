//! Children append to their parents without conflicting with each other; a summary of a parent
//! counts all of its children.
//!
//! A child holds an append lock on its parent, a summary a write lock, and now and then only a read
//! lock. Either says how many children there are: one that came in between must have conflicted.

use std::collections::BTreeMap;

use waltz_client::LockKind;

use super::app::{Applied, State};
use super::drive::{Step, Workload};
use super::instance::Instance;
use super::wish::{Patience, Wish};

const CHILD: u32 = 1;
const SUMMARY: u32 = 2;
const PARENTS: u64 = 3;

#[derive(Clone)]
pub(super) struct Family;

/// How many children each parent of one partition has.
#[derive(Clone, Default)]
pub(super) struct Children(BTreeMap<u64, u64>);

fn words(body: &[u8]) -> Result<[u64; 2], String> {
    let (words, _) = body.as_chunks::<8>();
    let found: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    found.try_into().map_err(|_| format!("{body:?} is no record of a family"))
}

impl State for Children {
    fn apply(&mut self, record: &Applied<'_>) -> Result<(), String> {
        match record.header {
            CHILD => {
                let [parent, _] = words(record.body)?;
                *self.0.entry(parent).or_default() += 1;
                Ok(())
            }
            SUMMARY => {
                let [parent, counted] = words(record.body)?;
                let children = self.of(parent);
                if counted == children {
                    return Ok(());
                }
                Err(format!("a summary counts {counted} of {children} children of {parent}"))
            }
            _ => Ok(()),
        }
    }
}

impl Children {
    fn of(&self, parent: u64) -> u64 {
        self.0.get(&parent).copied().unwrap_or_default()
    }

    fn summary(&self, parent: u64, kind: LockKind) -> Wish {
        let body = [parent, self.of(parent)].map(u64::to_le_bytes).concat();
        Wish { header: SUMMARY, body, ..Wish::default() }.lock(kind, "parent", parent)
    }
}

impl Workload for Family {
    type State = Children;

    async fn step(&self, instance: &Instance<Children>, mut step: Step) {
        let (partition, parent) = (step.partition(), step.below(PARENTS));
        match step.below(10) {
            0..6 => {
                let body = [parent, 0].map(u64::to_le_bytes).concat();
                let child = Wish { header: CHILD, body, ..Wish::default() };
                let child = child.lock(LockKind::Append, "parent", parent);
                drop(
                    instance
                        .submit(partition, Patience::Endless, move |_| Some(child.clone()))
                        .await,
                );
            }
            6 => {
                let summary = |children: &Children| children.summary(parent, LockKind::Read);
                drop(instance.append(partition, Patience::Endless, summary).await);
            }
            kind => {
                let kind = if kind == 7 { LockKind::Read } else { LockKind::Write };
                let summary = move |children: &Children| Some(children.summary(parent, kind));
                drop(instance.submit(partition, Patience::Endless, summary).await);
            }
        }
    }
}
