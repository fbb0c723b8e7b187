//! Deliberate faults that the test suite must catch. They exist only with the `planted-bugs`
//! feature, which nothing but the simulation turns on; without it [`Planted::has`] is `false` at
//! compile time.

use serde::{Deserialize, Serialize};

/// A protocol rule to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PlantedBug {
    /// A replica answers `Acked` before the records are durable.
    AcknowledgeBeforeSync,
    /// A replica answers `Opened` before the promise is durable.
    PromiseBeforeSync,
    /// A replica answers `Joined` before the join is durable.
    JoinBeforeSync,
    /// A replica serves sessions lower than its promise.
    SkipPromiseCheck,
    /// A replica still acknowledges a lower session after it has received an `Open`, if the
    /// records were on their way to the disk.
    OpenBeforeInFlight,
    /// What completes of a lower session is acknowledged under the promised one, as soon as that
    /// has written. (Answers leave in the order of the journal: before that nobody would listen.)
    StaleCompletion,
    /// A server takes one replica fewer than a majority for a quorum.
    QuorumMinusOne,
    /// A server counts copies on replicas that are still catching up.
    CountBeforeJoin,
    /// A server chooses the longest log, whatever session joined it last.
    ChooseByLength,
    /// A server counts majorities against the replica set it was told, not the log's.
    TrustStaleSet,
    /// A replica keeps what lies beyond the chosen log's end.
    KeepLongerTail,
    /// A replica cuts everything above its low-water mark, not only what differs.
    CutToLowWater,
    /// A replica joins before its log equals the chosen one.
    JoinAnywhere,
    /// A server opens every session of an epoch under one name.
    ReuseSession,
    /// After a reconnection a server takes everything it had sent for durable.
    ResumeBlindly,
    /// Copied records are taken for records of the copying session.
    CopyAsOwn,
    /// A suspect replica promises, votes and joins like any other.
    SuspectVotes,
    /// A replica takes repaired records of whatever session. (A sound server gives none: it shows
    /// where one is made to lie.)
    RepairUnchecked,
    /// A server replaces a replica in one change of the set.
    ReplaceInOneStep,
    /// A server changes the set again before the last change is committed.
    ChangeBeforeCommitted,
    /// A server counts replicas that the set does not name.
    CountLearner,
    /// A replica trims beyond what it knows to be committed. (A sound server never asks for it: it
    /// shows where one is made to lie.)
    TrimUncommitted,
    /// A new session serves with an empty lock table that claims to know everything.
    ForgetLocks,
    /// Locks of records that are not committed yet do not count.
    IgnoreInFlightLocks,
    /// A mark below the lock window passes as if nothing had changed.
    IgnoreLockFloor,
    /// Clients are fed records before they are committed.
    FeedUncommitted,
    /// A feed that moves from the disk to memory leaves out a run.
    FeedGap,
    /// A feed that has read from the archive goes on with the log, whatever is still between.
    SkipUnarchived,
    /// A feed for which the archive could not be read is not read for again.
    ForgetUnarchived,
    /// An archive that can't be read now is taken for one that lacks what was asked for.
    FailedIsLacking,
    /// A mount is ready before earlier requests of its client are decided.
    ReadyWithoutDrain,
    /// A mount is ready without a quorum round.
    ReadyWithoutRound,
    /// Appends of a former mount are taken.
    AcceptStaleMount,
    /// A client sends an undecided append again under its old ReqId.
    DuplicateRequest,
    /// A client that is asked about an attempt in doubt tells that it is not in the log, as long as
    /// that is not decided.
    ResolveUndecided,
    /// A client tells of what was sent and is withdrawn that it never will be in the log.
    WithdrawSent,
    /// Recovery takes batches of a former life of the journal for its own.
    OldBytesRevive,
    /// A storage node gives up the segments before its checkpoints, whatever records they hold.
    GiveUpHeld,
    /// The coordinator never ends a lease.
    LeaseForEver,
}

impl PlantedBug {
    /// Every rule that can be broken.
    pub const ALL: [Self; 39] = [
        Self::AcknowledgeBeforeSync,
        Self::PromiseBeforeSync,
        Self::JoinBeforeSync,
        Self::SkipPromiseCheck,
        Self::OpenBeforeInFlight,
        Self::StaleCompletion,
        Self::QuorumMinusOne,
        Self::CountBeforeJoin,
        Self::ChooseByLength,
        Self::TrustStaleSet,
        Self::KeepLongerTail,
        Self::CutToLowWater,
        Self::JoinAnywhere,
        Self::ReuseSession,
        Self::ResumeBlindly,
        Self::CopyAsOwn,
        Self::SuspectVotes,
        Self::RepairUnchecked,
        Self::ReplaceInOneStep,
        Self::ChangeBeforeCommitted,
        Self::CountLearner,
        Self::TrimUncommitted,
        Self::ForgetLocks,
        Self::IgnoreInFlightLocks,
        Self::IgnoreLockFloor,
        Self::FeedUncommitted,
        Self::FeedGap,
        Self::SkipUnarchived,
        Self::ForgetUnarchived,
        Self::FailedIsLacking,
        Self::ReadyWithoutDrain,
        Self::ReadyWithoutRound,
        Self::AcceptStaleMount,
        Self::DuplicateRequest,
        Self::ResolveUndecided,
        Self::WithdrawSent,
        Self::OldBytesRevive,
        Self::GiveUpHeld,
        Self::LeaseForEver,
    ];
}

/// Which rule is broken; none outside simulations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Planted {
    #[cfg(feature = "planted-bugs")]
    bug: Option<PlantedBug>,
}

impl Planted {
    /// Every rule holds.
    pub const NONE: Self = Self {
        #[cfg(feature = "planted-bugs")]
        bug: None,
    };

    /// Breaks one rule.
    #[cfg(feature = "planted-bugs")]
    pub fn bug(bug: PlantedBug) -> Self {
        Self { bug: Some(bug) }
    }

    /// Whether this rule is broken.
    #[cfg_attr(not(feature = "planted-bugs"), expect(unused_variables))]
    pub fn has(self, bug: PlantedBug) -> bool {
        #[cfg(feature = "planted-bugs")]
        {
            self.bug == Some(bug)
        }
        #[cfg(not(feature = "planted-bugs"))]
        {
            false
        }
    }
}
