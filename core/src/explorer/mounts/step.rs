//! What can happen in a run, how often it does, and where.

use super::world::{CLIENTS, RECORDS};
use crate::explorer::draw::Draw;
use crate::time::Random;

/// Something that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A client mounts, on a connection of its own.
    Mount { client: u64, after: u64, headers: bool, credit: u32 },
    /// More feed is welcome.
    Credit { client: u64, bytes: u32 },
    /// A client ends its mount.
    Unmount { client: u64 },
    /// A client's connection is gone.
    Close { client: u64 },
    /// The session numbers records.
    Number { records: u64 },
    /// Some of them are committed.
    Commit { records: u64 },
    /// A read is answered, with so many records.
    Answer { read: usize, records: u64, done: bool },
    /// A read fails.
    Fail { read: usize },
    /// The log's beginning is trimmed.
    Trim { to: u64 },
    /// The archive does not have what a read of it begins with.
    Lack { read: usize },
    /// Feeds whose reads failed are read for once more.
    Retry,
    /// The quorum round under way succeeds.
    Confirm,
    /// A client's append conflicts with a record.
    Conflict { client: u64, id: u64 },
}

/// How often each happens, beside the others; where is drawn when it does.
pub(super) const WEIGHTS: [(Step, u64); 13] = [
    (Step::Mount { client: 0, after: 0, headers: false, credit: 0 }, 3),
    (Step::Credit { client: 0, bytes: 0 }, 4),
    (Step::Unmount { client: 0 }, 1),
    (Step::Close { client: 0 }, 1),
    (Step::Number { records: 0 }, 3),
    (Step::Commit { records: 0 }, 4),
    (Step::Answer { read: 0, records: 0, done: false }, 4),
    (Step::Fail { read: 0 }, 1),
    (Step::Trim { to: 0 }, 1),
    (Step::Lack { read: 0 }, 1),
    (Step::Retry, 1),
    (Step::Confirm, 3),
    (Step::Conflict { client: 0, id: 0 }, 2),
];

impl Step {
    /// What no run gets anywhere without.
    pub(super) fn must(self) -> bool {
        matches!(self, Self::Mount { .. } | Self::Number { .. })
    }

    /// Such a step with all of it drawn.
    pub(super) fn drawn(self, random: &mut Random) -> Self {
        let client = 1 + random.below(CLIENTS as usize) as u64;
        let mut below = |bound: u64| random.below(bound as usize) as u64;
        match self {
            Self::Mount { .. } => Self::Mount {
                client,
                after: below(RECORDS),
                headers: below(2) == 0,
                credit: below(2000) as u32,
            },
            Self::Credit { .. } => Self::Credit { client, bytes: 1 + below(1000) as u32 },
            Self::Unmount { .. } => Self::Unmount { client },
            Self::Close { .. } => Self::Close { client },
            Self::Number { .. } => Self::Number { records: 1 + below(4) },
            Self::Commit { .. } => Self::Commit { records: 1 + below(4) },
            Self::Answer { .. } => Self::Answer {
                read: below(RECORDS) as usize,
                records: below(6),
                done: below(2) == 0,
            },
            Self::Fail { .. } => Self::Fail { read: below(RECORDS) as usize },
            Self::Trim { .. } => Self::Trim { to: below(RECORDS) },
            Self::Lack { .. } => Self::Lack { read: below(RECORDS) as usize },
            Self::Conflict { .. } => Self::Conflict { client, id: below(RECORDS) },
            Self::Retry | Self::Confirm => self,
        }
    }
}
