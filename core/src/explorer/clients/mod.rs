//! The whole protocol of a client against a [small cluster](server), at random: connections break,
//! servers change and lose what was not committed, requests are refused and conflict, answers get
//! lost, applying fails, calls are withdrawn.
//!
//! It promises: the application is given every transaction once and in order, again only after it
//! failed there; a call is computed at what was applied; each call ends once. When faults end,
//! every call has ended, as committed if and only if the log has it, in doubt only if it was
//! withdrawn, and no ReqId is in the log twice. What is asked about attempts in doubt is answered as
//! the log says.

mod server;
mod world;

use super::Violation;
use super::draw::Draw;
use super::explore::{Broken, Explore, explore};
use crate::client::ClientInput;
use crate::planted::Planted;
use crate::time::Random;
use world::World;

/// The most calls of a run, and the most things that happen between two of them.
const CALLS: usize = 40;
const BETWEEN: usize = 30;

/// One run.
pub(super) fn run(seed: u64, planted: Planted) -> Result<(), Violation> {
    explore(seed, &mut Run::new(seed, planted))
}

struct Run {
    calls: usize,
    between: usize,
    world: World,
}

impl Run {
    fn new(seed: u64, planted: Planted) -> Self {
        let mut random = Random::new(seed);
        let (calls, between) = (1 + random.below(CALLS), 1 + random.below(BETWEEN));
        Self { calls, between, world: World::new(seed, random, planted) }
    }
}

impl Explore for Run {
    fn whole(&mut self) -> Result<(), Broken> {
        self.world.step(ClientInput::EndOfTurn);
        self.world.get_under_way()?;
        for n in 0..self.calls {
            self.world.call(n as u64);
            for _ in 0..self.between {
                self.world.tick();
            }
        }
        self.world.settle()?;
        self.world.check()
    }

    fn steps(&self) -> usize {
        self.world.steps
    }
}
