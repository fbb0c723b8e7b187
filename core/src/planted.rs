//! Deliberate faults that the test suite must catch. They exist only with the `planted-bugs`
//! feature, which nothing but the simulation turns on; without it [`Planted::has`] is `false` at
//! compile time.

/// A protocol rule to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlantedBug {
    /// A replica answers `Acked` before the records are durable.
    AcknowledgeBeforeSync,
    /// A replica serves sessions lower than its promise.
    SkipPromiseCheck,
    /// A server takes one replica fewer than a majority for a quorum.
    QuorumMinusOne,
    /// Recovery takes batches of a former life of the journal for its own.
    OldBytesRevive,
}

/// Which rule is broken; none outside simulations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
