//! How far one replica has come in a session.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::id::{IdRange, Mark, Position, SetVersion, StorageId};
use crate::time::Time;
use crate::wire::Version;

/// Where a replica stands.
///
/// ```text
/// Unreachable ─▶ Opening ─▶ Answered ─▶ Adopting ─▶ Repairing ─▶ Copying ─▶ Joining ─▶ Joined
///      ▲            ▲                      ▲           (back to Unreachable on a lost
///      └─ any ──────┴── Resuming ──────────┴─────────── connection, then Resuming)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Stage {
    /// No connection.
    Unreachable,
    /// Asked to promise.
    Opening,
    /// Promised; the choice is not made.
    Answered,
    /// Asked to cut what differs from the chosen log.
    Adopting,
    /// Being given again what it can't read of the chosen log.
    Repairing,
    /// Being given the rest of the chosen log.
    Copying,
    /// Asked to join.
    Joining,
    /// Counts.
    Joined,
    /// Asked where it stands, over a new connection.
    Resuming,
    /// It said something that does not fit; it is asked again at this time.
    Resting(Time),
    /// It is no replica of this partition: not with the disk it has on this connection.
    Foreign,
    /// It can't tell what it had promised; it gives records up to here, if they are sound.
    Suspect(Mark),
}

impl Stage {
    /// Whether the replica's answer is waited for.
    pub(super) fn awaits_answer(self) -> bool {
        match self {
            Self::Opening
            | Self::Adopting
            | Self::Repairing
            | Self::Copying
            | Self::Joining
            | Self::Resuming => true,
            Self::Unreachable
            | Self::Answered
            | Self::Joined
            | Self::Resting(_)
            | Self::Foreign
            | Self::Suspect(_) => false,
        }
    }

    /// In a word, for people.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Opening => "opening",
            Self::Answered => "answered",
            Self::Adopting => "adopting",
            Self::Repairing => "repairing",
            Self::Copying => "copying",
            Self::Joining => "joining",
            Self::Joined => "joined",
            Self::Resuming => "resuming",
            Self::Resting(_) => "resting",
            Self::Foreign => "foreign",
            Self::Suspect(_) => "suspect",
        }
    }
}

/// One replica in one session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Where it stands.
    pub(super) stage: Stage,
    /// The version of the protocol agreed on for its connection.
    pub(super) speaks: Version,
    /// Whether it has promised this session.
    pub(super) promised: bool,
    /// The disk that promised; it is that disk that counts, or does not.
    pub(super) storage: Option<StorageId>,
    /// Up to here its log was the chosen one when it promised.
    pub(super) agreed: Mark,
    /// The end of the chosen log as it was told.
    pub(super) goal: Position,
    /// Its last durable id that the session may count on, once adopted.
    pub(super) last: Mark,
    /// The newest replica set that it durably has, once adopted.
    pub(super) version: SetVersion,
    /// What was sent to it.
    pub(super) sent: Mark,
    /// The newest replica set that was sent to it.
    pub(super) sent_version: SetVersion,
    /// The committed mark it was last told.
    pub(super) told: Mark,
    /// The start mark it was last told.
    pub(super) trimmed: Mark,
    /// A read for its catching up is under way.
    pub(super) reading: bool,
    /// What it can't read, as it said last.
    pub(super) damaged: Vec<IdRange>,
    /// A repair is under way.
    pub(super) repairing: bool,
    /// It has no room for records; as it said last on this connection.
    pub(super) is_full: bool,
    /// It has as much of the log as it may; as it said last on this connection.
    pub(super) is_over_quota: bool,
    /// What was sent and not yet acknowledged: where each part ends, and its bytes.
    unacknowledged: VecDeque<(Mark, usize)>,
    unacknowledged_bytes: usize,
}

impl Progress {
    /// A replica nothing is known of.
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Unreachable,
            speaks: Version::FIRST,
            promised: false,
            storage: None,
            agreed: Mark::NONE,
            goal: Position::default(),
            last: Mark::NONE,
            version: SetVersion::FIRST,
            sent: Mark::NONE,
            sent_version: SetVersion::FIRST,
            told: Mark::NONE,
            trimmed: Mark::NONE,
            reading: false,
            damaged: Vec::new(),
            repairing: false,
            is_full: false,
            is_over_quota: false,
            unacknowledged: VecDeque::new(),
            unacknowledged_bytes: 0,
        }
    }

    /// Whether it can be told of changed replica sets, trims and repairs.
    pub(super) fn takes_upkeep(&self) -> bool {
        self.speaks >= Version::UPKEEP
    }

    /// Whether it is dealt with as a replica, and is to be told of a changed replica set.
    pub(super) fn follows_changes(&self) -> bool {
        !matches!(self.stage, Stage::Unreachable | Stage::Foreign | Stage::Suspect(_))
    }

    /// Where it stands, for people; also what holds it back.
    pub(super) fn words(&self) -> String {
        let stage = self.stage.word();
        match self.stage {
            Stage::Unreachable => stage.to_owned(),
            _ if self.is_full => format!("{stage}, disk full"),
            _ if self.is_over_quota => format!("{stage}, at its quota"),
            _ if self.takes_upkeep() => stage.to_owned(),
            _ => format!("{stage}, protocol {}", self.speaks),
        }
    }

    /// It durably has everything up to `at` and nothing is on its way.
    pub(super) fn stands_at(&mut self, at: Position) {
        (self.last, self.version) = (at.last, at.version);
        (self.sent, self.sent_version) = (at.last, at.version);
        self.unacknowledged.clear();
        self.unacknowledged_bytes = 0;
    }

    /// Something was sent to it.
    pub(super) fn on_sent(&mut self, to: Mark, bytes: usize) {
        assert!(to > self.sent, "what is sent goes forward");
        self.sent = to;
        self.unacknowledged.push_back((to, bytes));
        self.unacknowledged_bytes += bytes;
    }

    /// It durably has everything up to `last`. False: it was never sent that much.
    #[must_use]
    pub(super) fn on_acknowledged(&mut self, last: Mark) -> bool {
        if last > self.sent {
            return false;
        }
        self.last = self.last.max(last);
        while let Some((to, bytes)) = self.unacknowledged.front().copied() {
            if to > last {
                break;
            }
            self.unacknowledged.pop_front();
            self.unacknowledged_bytes -= bytes;
        }
        true
    }

    /// Whether it has answered all that was sent to it, and nothing is read for it.
    pub(super) fn has_nothing_under_way(&self) -> bool {
        self.sent == self.last
            && self.sent_version == self.version
            && !self.reading
            && !self.repairing
    }

    /// What is under way for it is void.
    pub(super) fn forget_reads(&mut self) {
        self.reading = false;
        self.repairing = false;
    }

    /// Bytes on their way to it.
    pub(super) fn unacknowledged_bytes(&self) -> usize {
        self.unacknowledged_bytes
    }
}
