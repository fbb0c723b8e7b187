//! Smaller simulations than whole clusters: some machines alone, moved by hand from a seed,
//! thousands of runs a second. They reach the narrow windows that a whole cluster rarely meets.
//!
//! They are part of what is built with `planted-bugs`, so that a program can say of each broken rule
//! how many runs notice it; the tests of this crate run them with every rule unbroken.

pub(crate) mod sessions;

use std::fmt;

use crate::planted::{Planted, PlantedBug};

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

/// Which machines run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Simulation {
    /// Sessions over real replicas, whose every step is checked against what was ever promised.
    Sessions,
}

impl fmt::Display for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sessions => "sessions",
        })
    }
}

impl Simulation {
    /// The one that is to notice when this rule is broken, if one is.
    pub fn of(bug: PlantedBug) -> Option<Self> {
        use PlantedBug::{
            AcknowledgeBeforeSync, ChangeBeforeCommitted, ChooseByLength, CopyAsOwn,
            CountBeforeJoin, CountLearner, CutToLowWater, JoinAnywhere, JoinBeforeSync,
            KeepLongerTail, OpenBeforeInFlight, PromiseBeforeSync, QuorumMinusOne, RepairUnchecked,
            ReplaceInOneStep, ResumeBlindly, ReuseSession, SkipPromiseCheck, StaleCompletion,
            SuspectVotes, TrimUncommitted, TrustStaleSet,
        };
        match bug {
            AcknowledgeBeforeSync
            | PromiseBeforeSync
            | JoinBeforeSync
            | SkipPromiseCheck
            | OpenBeforeInFlight
            | StaleCompletion
            | QuorumMinusOne
            | CountBeforeJoin
            | ChooseByLength
            | TrustStaleSet
            | KeepLongerTail
            | CutToLowWater
            | JoinAnywhere
            | ReuseSession
            | ResumeBlindly
            | CopyAsOwn
            | SuspectVotes
            | RepairUnchecked
            | ReplaceInOneStep
            | ChangeBeforeCommitted
            | CountLearner
            | TrimUncommitted => Some(Self::Sessions),
            _ => None,
        }
    }

    /// One run; everything in it follows from the seed.
    ///
    /// # Errors
    /// The first promise that was broken. A panic of the machines is one, too.
    pub fn run(self, seed: u64, planted: Planted) -> Result<(), Violation> {
        match self {
            Self::Sessions => sessions::run(seed, planted),
        }
    }
}
