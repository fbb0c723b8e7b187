//! Smaller simulations than whole clusters: some machines alone, moved by hand from a seed,
//! thousands of runs a second. They reach the narrow windows that a whole cluster rarely meets.
//!
//! They are part of what is built with `planted-bugs`, so that a program can say of each broken rule
//! how many runs notice it; the tests of this crate run them with every rule unbroken.

mod clients;
mod draw;
mod explore;
mod journal;
mod locks;
mod mounts;
pub(crate) mod sessions;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::planted::{Planted, PlantedBug};
pub use explore::Violation;

/// Which machines run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Simulation {
    /// Sessions over real replicas, whose every step is checked against what was ever promised.
    Sessions,
    /// The mounts of one session, whose every reply is checked against what may be told by then.
    Mounts,
    /// A client and a small cluster that fails it: every call ends once, and as the log says.
    Clients,
    /// A served partition over one disk: its answers are those of a scan of the log, whoever serves.
    Locks,
    /// A journal that is lost and recovered, again and again.
    Journal,
}

impl fmt::Display for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sessions => "sessions",
            Self::Mounts => "mounts",
            Self::Clients => "clients",
            Self::Locks => "locks",
            Self::Journal => "journal",
        })
    }
}

impl Simulation {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Sessions, Self::Mounts, Self::Clients, Self::Locks, Self::Journal];

    /// The one that is to notice when this rule is broken. Rules without one show in whole clusters.
    pub fn of(bug: PlantedBug) -> Option<Self> {
        use PlantedBug::{
            AcceptStaleMount, AcknowledgeBeforeSync, ChangeBeforeCommitted, ChooseByLength,
            CopyAsOwn, CountBeforeJoin, CountLearner, CutToLowWater, DuplicateRequest,
            FailedIsLacking, FeedGap, FeedUncommitted, ForgetLocks, ForgetUnarchived, GiveUpHeld,
            IgnoreInFlightLocks, IgnoreLockFloor, JoinAnywhere, JoinBeforeSync, KeepLongerTail,
            LeaseForEver, OldBytesRevive, OpenBeforeInFlight, PromiseBeforeSync, QuorumMinusOne,
            ReadyWithoutDrain, ReadyWithoutRound, RepairUnchecked, ReplaceInOneStep,
            ResolveUndecided, ResumeBlindly, ReuseSession, SkipPromiseCheck, SkipUnarchived,
            StaleCompletion, SuspectVotes, TrimUncommitted, TrustStaleSet, WithdrawSent,
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
            FeedGap | SkipUnarchived | ForgetUnarchived | ReadyWithoutDrain | ReadyWithoutRound
            | AcceptStaleMount => Some(Self::Mounts),
            DuplicateRequest | ResolveUndecided | WithdrawSent => Some(Self::Clients),
            ForgetLocks | IgnoreInFlightLocks | IgnoreLockFloor | FeedUncommitted => {
                Some(Self::Locks)
            }
            OldBytesRevive => Some(Self::Journal),
            FailedIsLacking | GiveUpHeld | LeaseForEver => None,
        }
    }

    /// One run; everything in it follows from the seed.
    ///
    /// # Errors
    /// The first promise that was broken. A panic of the machines is one, too.
    pub fn run(self, seed: u64, planted: Planted) -> Result<(), Violation> {
        match self {
            Self::Sessions => sessions::run(seed, planted),
            Self::Mounts => mounts::run(seed, planted),
            Self::Clients => clients::run(seed, planted),
            Self::Locks => locks::run(seed, planted),
            Self::Journal => journal::run(seed, planted),
        }
    }
}
