//! One client's mount.

use serde::{Deserialize, Serialize};

use crate::id::{Mark, MountId, TransactionId};
use crate::io::ConnectionId;
use crate::record::Run;
use crate::wire::FeedMode;

/// Where a feed's next records come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Source {
    /// From memory, if they are there; else from the storage.
    Any,
    /// From the storage, when it is this feed's turn.
    Waiting,
    /// From a read under way that was to begin at `from`.
    Reading { request: u64, from: TransactionId },
    /// From nowhere: a read failed.
    Stuck,
}

/// How much of what `Ready` says holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Standing {
    /// No quorum has confirmed the session since the mount was made.
    Unconfirmed {
        /// The round that will.
        round: u64,
        /// What the client says it has applied.
        after: Mark,
        /// The last id numbered when the mount was made.
        sequenced: Mark,
    },
    /// Confirmed; ready when everything up to here has been fed.
    Confirmed { target: Mark },
    /// The client was told so.
    Ready,
}

/// One client's mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mount {
    pub(super) id: MountId,
    pub(super) conn: ConnectionId,
    pub(super) mode: FeedMode,
    /// Bytes of payload that may be sent; below zero by less than the last record sent.
    pub(super) credit: i64,
    /// The next record to feed.
    pub(super) next: TransactionId,
    pub(super) source: Source,
    pub(super) standing: Standing,
    /// How many of its conflicts are held.
    pub(super) held: usize,
    /// The sequence of the last attempt that came.
    pub(super) sequence: Option<u64>,
}

impl Mount {
    /// What has been fed, and what the client had before.
    pub(super) fn fed(&self) -> Mark {
        Mark::before(self.next)
    }

    /// How many bytes may be sent; none when a read has to come first.
    pub(super) fn room(&self) -> Option<usize> {
        let credit = usize::try_from(self.credit).ok().filter(|credit| *credit > 0)?;
        (self.source == Source::Any).then_some(credit)
    }

    /// Takes from a run that was read what may be sent next: it must fit right after what was fed.
    pub(super) fn part_of(&self, run: &Run, committed: Mark) -> Option<Run> {
        let credit = usize::try_from(self.credit).ok().filter(|credit| *credit > 0)?;
        let part = run.slice(self.next, committed).filter(|part| part.first == self.next)?;
        Some(part.prefix(credit))
    }

    /// Counts a run as sent.
    pub(super) fn sent(&mut self, run: &Run) {
        assert_eq!(self.next, run.first, "a feed has no gaps");
        assert!(self.credit > 0, "a feed is sent on credit");
        self.next = run.last().next();
        self.credit -= run.bytes.len() as i64;
    }

    /// Whether the read under this number is for this mount.
    pub(super) fn awaits(&self, request: u64) -> bool {
        matches!(self.source, Source::Reading { request: awaited, .. } if awaited == request)
    }

    /// Whether `Ready` is owed now; it is owed once.
    pub(super) fn becomes_ready(&mut self) -> bool {
        match self.standing {
            Standing::Confirmed { target } if self.fed() >= target => {
                self.standing = Standing::Ready;
                true
            }
            _ => false,
        }
    }
}
