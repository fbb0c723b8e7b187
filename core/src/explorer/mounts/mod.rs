//! Random mounts, credits, commits, reads and rounds against a [model](world) that knows what each
//! client may be told at any moment, and what everyone must have been told in the end.
//!
//! It promises: a feed has no gap and no repetition, is sent on credit and never passes what is
//! committed; a mount is ready once, after a quorum round that began after it was made, and when
//! all that was numbered before is decided and fed; only a client's newest mount that is ready
//! may append; a conflict is told once, when its cause is committed; what may be under way at a
//! time is bounded; what was trimmed comes from the archive, if there is one and it has it, and ends a
//! mount otherwise. When faults end, every client has been fed everything and told everything.

mod check;
mod step;
mod world;

use super::Violation;
use super::draw::Draw;
use super::explore::{Broken, Explore, explore};
use crate::planted::Planted;
use crate::time::Random;
use step::{Step, WEIGHTS};
use world::World;

/// The most things that happen in a run.
const STEPS: usize = 120;

/// One run.
pub(super) fn run(seed: u64, planted: Planted) -> Result<(), Violation> {
    explore(seed, &mut Run::new(seed, planted))
}

struct Run {
    random: Random,
    weights: Vec<(Step, u64)>,
    world: World,
    steps: usize,
}

impl Run {
    fn new(seed: u64, planted: Planted) -> Self {
        let mut random = Random::new(seed);
        let weights = random.weather(&WEIGHTS, Step::must);
        let (committed, has_archive) = (random.below(20) as u64, random.below(2) == 0);
        Self { weights, world: World::new(committed, has_archive, planted), steps: 0, random }
    }
}

impl Explore for Run {
    fn whole(&mut self) -> Result<(), Broken> {
        for _ in 0..1 + self.random.below(STEPS) {
            let step = self.random.weighted(&self.weights).drawn(&mut self.random);
            self.world.step(step)?;
            self.steps += 1;
        }
        self.world.settle()
    }

    fn steps(&self) -> usize {
        self.steps
    }
}
