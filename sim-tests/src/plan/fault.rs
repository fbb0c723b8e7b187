//! The kinds of fault, and how often each comes.

use std::time::Duration;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal $percent:literal $low:literal..=$high:literal;)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FaultKind {
            $($(#[$doc])* $kind,)*
        }

        impl FaultKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Its name on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// In how many of a hundred seeds it comes, and within which bounds it is drawn then.
            pub(super) fn odds(self) -> (u64, (u64, u64)) {
                match self {
                    $(Self::$kind => ($percent, ($low, $high)),)*
                }
            }
        }
    };
}

// The bounds are milliseconds from one to the next, or for what lasts through the whole storm its
// strength in parts per million.
kinds! {
    /// A process is killed.
    Kill "kill" 55 400..=6_000;
    /// The next process in turn is killed and comes back with the other version of the protocol.
    Roll "roll" 30 1_500..=6_000;
    /// A host loses power: unsynced writes are lost, torn or reordered.
    Power "power" 55 400..=6_000;
    /// All hosts lose power at once.
    Blackout "blackout" 15 2_000..=8_000;
    /// A node is cut off, perhaps with some clients.
    Split "split" 45 400..=6_000;
    /// One direction between two hosts is cut.
    OneWay "one-way" 40 400..=4_000;
    /// A link between two hosts comes and goes.
    Flap "flap" 30 800..=5_000;
    /// Connections between two hosts are reset.
    Reset "reset" 45 50..=3_000;
    /// The link between two hosts is slow and uneven: connections overtake each other.
    SlowLink "slow-link" 30 500..=4_000;
    /// The coordinator's node is cut off.
    CoordinatorOutage "coordinator-outage" 35 1_000..=6_000;
    /// Only the coordinator loses sight of a server, and has it replaced.
    Duel "duel" 40 1_000..=6_000;
    /// A process stands still for a while.
    Pause "pause" 30 400..=5_000;
    /// A clock jumps forward.
    Jump "jump" 25 400..=5_000;
    /// A disk becomes slow for a while.
    SlowDisk "slow-disk" 35 400..=5_000;
    /// A sync fails, and the node stops.
    FailingSync "failing-sync" 25 800..=6_000;
    /// A write fails, and the node stops.
    FailingWrite "failing-write" 20 800..=6_000;
    /// Reads fail for a while.
    FailingRead "failing-read" 25 800..=5_000;
    /// A disk has no room for a while.
    FullDisk "full-disk" 20 800..=6_000;
    /// A bit of a record turns around at rest.
    Rot "rot" 35 300..=5_000;
    /// A sector of a record is overwritten by another one.
    Misdirect "misdirect" 25 300..=5_000;
    /// A disk is lost for good, and the node comes back with an empty one.
    Wipe "wipe" 30 1_500..=6_000;
    /// Part of a journal is lost, and the node can't tell any more what it had promised.
    Smear "smear" 25 1_500..=6_000;
    /// A node and its disk are lost for good.
    Death "death" 20 1_500..=8_000;
    /// A host loses power while a promise or a step of catching up is on its way to its disk.
    Brink "brink" 35 100..=3_000;
    /// An operator moves a partition's replicas.
    Move "move" 40 300..=4_000;
    /// An operator trims a partition.
    Trim "trim" 35 300..=4_000;
    /// Packets are lost.
    Loss "loss" 35 500..=30_000;
    /// Packets come twice.
    Duplication "duplication" 35 500..=30_000;
    /// Something on the way forgets connections.
    Forgetting "forgetting" 25 50..=1_000;
    /// Packets take up to so many microseconds: they overtake each other.
    Delay "delay" 40 1_000..=20_000;
    /// Clocks run up to so many parts per million too fast or too slow.
    Drift "drift" 40 1_000..=200_000;
    /// An operator drains a node or lets it work again, or prefers one, or no longer.
    Operate "operate" 35 300..=4_000;
    /// An operator adds partitions.
    Grow "grow" 25 1_500..=6_000;
    /// The archive is away for a while, where there is one.
    ArchiveOutage "archive-outage" 60 500..=4_000;
}

impl FaultKind {
    /// Whether it came when plans of others had been kept: it must not change what those draw.
    pub(super) fn came_later(self) -> bool {
        matches!(self, Self::Operate | Self::Grow | Self::ArchiveOutage)
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// A kind that a seed turned on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strength(pub u64);

impl Strength {
    /// About how long from one to the next.
    pub(crate) fn every(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// Parts per million.
    pub(crate) fn per_million(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}
