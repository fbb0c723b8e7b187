//! What all smaller simulations have in common: a run, and what it broke.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is broken, in words.
pub(super) type Broken = String;

/// This, or what is broken.
pub(super) fn ensure(holds: bool, otherwise: &str) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

/// A promise that a run broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The run's seed.
    pub seed: u64,
    /// After how many steps.
    pub step: usize,
    /// What is broken, in words.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, step {}: {}", self.seed, self.step, self.what)
    }
}

/// One run of a simulation.
pub(super) trait Explore {
    /// Everything that happens, and its end, when nothing fails any more.
    fn whole(&mut self) -> Result<(), Broken>;

    /// How many steps it has taken so far.
    fn steps(&self) -> usize;
}

/// A whole run, and what it broke; a panic of the machines, or of a model that asserts, is a
/// violation, too.
pub(super) fn explore(seed: u64, run: &mut impl Explore) -> Result<(), Violation> {
    let outcome = catch_unwind(AssertUnwindSafe(|| run.whole()));
    let outcome = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("a panic: {}", text.unwrap_or("without words")))
    });
    outcome.map_err(|what| Violation { seed, step: run.steps(), what })
}
