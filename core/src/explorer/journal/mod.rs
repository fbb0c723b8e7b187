//! A journal in one life after another: batches, syncs, segments that follow each other and are
//! released, processes that die and power that is lost in the midst of a write or of a recovery.
//!
//! It promises: a recovery finds what was written, in order and as it was, all of it that was
//! durable and nothing that was released, cut, or written in another life; and it finds no damage
//! where there is none. In some runs new segments are made of the files of released ones as they
//! are, which no sound runtime does: then a write that was cut short may look like damage, but old
//! bytes still count for nothing.

mod file;
mod model;
mod world;

use super::Violation;
use super::draw::Draw;
use super::explore::{Broken, Explore, explore};
use crate::planted::Planted;
use crate::time::Random;
use world::World;

/// The most lives of a run, and the most things that happen in one.
const LIVES: usize = 8;
const STEPS: usize = 40;

/// Something that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// A batch is written.
    Write,
    /// What was written becomes durable.
    Sync,
    /// The oldest segments are given up.
    Release,
}

const WEIGHTS: [(Action, u64); 3] = [(Action::Write, 8), (Action::Sync, 4), (Action::Release, 1)];

/// One run.
pub(super) fn run(seed: u64, planted: Planted) -> Result<(), Violation> {
    explore(seed, &mut Run::new(seed, planted))
}

struct Run {
    random: Random,
    weights: Vec<(Action, u64)>,
    world: World,
    steps: usize,
}

impl Run {
    fn new(seed: u64, planted: Planted) -> Self {
        let mut random = Random::new(seed);
        let weights = random.weather(&WEIGHTS, |action| action == Action::Write);
        let recycles = random.chance(2);
        let world = World::new(Random::new(random.bits()), recycles, planted);
        Self { random, weights, world, steps: 0 }
    }
}

impl Explore for Run {
    fn whole(&mut self) -> Result<(), Broken> {
        for _ in 0..1 + self.random.below(LIVES) {
            if !self.world.open()? {
                return Ok(());
            }
            for _ in 0..self.random.below(STEPS) {
                match self.random.weighted(&self.weights) {
                    Action::Write => self.world.write(),
                    Action::Sync => self.world.sync(),
                    Action::Release => self.world.release(),
                }
                self.steps += 1;
            }
            self.world.crash(self.random.chance(2));
        }
        self.world.open().map(|_| ())
    }

    fn steps(&self) -> usize {
        self.steps
    }
}
