//! A fold that can do with the end of a journal, and a node that writes checkpoints of it.
//!
//! Its state is a number: each control entry has to be the next one. A checkpoint is one part with
//! that number, and its end.

use bytes::Bytes;
use waltz_core::id::CheckpointNumber;
use waltz_core::journal::{Damage, Entry, EntryHead, Fold, FoundEntry};

use super::memory_disk::MemoryDisk;
use super::tests::{config, control};
use super::{Journal, JournalError, Recovery};
use waltz_core::io::Ticket;

/// What a journal of numbers comes to.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The last number.
    pub(super) last: u64,
    /// Whether a checkpoint was needed, each time that recovery began.
    pub(super) begun: Vec<bool>,
    pub(super) suspect: bool,
    /// Entries count: from the first one on, or since a checkpoint has begun.
    counts: bool,
    is_founded: bool,
    /// The checkpoint that is coming, and where it began.
    coming: Option<(CheckpointNumber, u32)>,
    /// Where the newest two complete checkpoints begin, oldest first.
    complete: Vec<u32>,
    /// The number of the last checkpoint that was begun.
    checkpoint: u64,
}

impl Ledger {
    pub(super) fn completed(&mut self, segment: u32) {
        self.complete.push(segment);
        if self.complete.len() > 2 {
            self.complete.remove(0);
        }
    }

    /// What can be given up: segments before the older of two checkpoints.
    pub(super) fn releasable(&self) -> Option<u32> {
        (self.complete.len() == 2).then(|| self.complete[0])
    }
}

impl Fold for Ledger {
    fn begin(&mut self, checkpoint: bool) -> Result<(), String> {
        let mut begun = std::mem::take(&mut self.begun);
        begun.push(checkpoint);
        let counts = !checkpoint;
        *self = Self { begun, counts, is_founded: counts, ..Self::default() };
        Ok(())
    }

    fn entry(&mut self, entry: FoundEntry<'_>) -> Result<(), String> {
        match entry.head {
            EntryHead::Promise { session, .. } if self.counts => {
                if session.epoch.0 != self.last + 1 {
                    return Err(format!("{} follows {}", session.epoch.0, self.last));
                }
                self.last += 1;
            }
            EntryHead::Checkpoint { number, .. } => {
                self.checkpoint = self.checkpoint.max(number.0);
                let sound = entry.body.try_into().ok().map(u64::from_le_bytes);
                self.coming = sound.zip(entry.place).map(|(_, place)| (number, place.segment));
                if let Some(last) = sound.filter(|_| !self.is_founded) {
                    (self.last, self.counts) = (last, true);
                }
            }
            EntryHead::CheckpointEnd { number, .. } => {
                let coming = self.coming.take();
                if let Some((_, segment)) = coming.filter(|(coming, _)| *coming == number) {
                    self.completed(segment);
                    self.is_founded = true;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn has_checkpoint(&self) -> bool {
        self.is_founded
    }

    fn end(&mut self, suspect: Option<&Damage>) -> Result<(), String> {
        self.suspect = suspect.is_some();
        if self.is_founded || self.suspect { Ok(()) } else { Err("no checkpoint".to_owned()) }
    }

    fn replay_from(&self) -> Option<u32> {
        self.complete.first().copied()
    }
}

/// A node that writes numbers.
#[derive(Debug)]
pub(super) struct Clerk {
    pub(super) journal: Journal<MemoryDisk>,
    pub(super) ledger: Ledger,
    pub(super) recovery: Recovery,
}

impl Clerk {
    pub(super) fn open(disk: &MemoryDisk, random: u64) -> Result<Self, JournalError> {
        let mut ledger = Ledger::default();
        let (journal, recovery) = Journal::open(disk.clone(), config(), random, &mut ledger)?;
        Ok(Self { journal, ledger, recovery })
    }

    /// Writes so many numbers, a sync each.
    pub(super) fn count(&mut self, numbers: u64) -> Result<(), JournalError> {
        for _ in 0..numbers {
            self.commit(control(self.ledger.last + 1))?;
            self.ledger.last += 1;
        }
        Ok(())
    }

    /// Writes a checkpoint and says where a replay may begin.
    pub(super) fn checkpoint(&mut self) -> Result<(), JournalError> {
        self.ledger.checkpoint += 1;
        let number = CheckpointNumber(self.ledger.checkpoint);
        let body = Bytes::copy_from_slice(&self.ledger.last.to_le_bytes());
        let part = Entry { head: EntryHead::Checkpoint { number, part: 0 }, body };
        let segment = self.commit(part)?.expect("a part has a place");
        self.count(1)?;
        let head = EntryHead::CheckpointEnd { number, parts: 1 };
        self.commit(Entry { head, body: Bytes::new() })?;
        self.ledger.completed(segment);
        if let Some(segment) = self.ledger.replay_from() {
            self.journal.replay_from(segment);
        }
        Ok(())
    }

    /// Writes an entry durably; returns the segment of its body.
    fn commit(&mut self, entry: Entry) -> Result<Option<u32>, JournalError> {
        self.journal.write(vec![(Ticket(1), entry)])?;
        let synced = self.journal.sync()?;
        Ok(synced.places.first().map(|(_, place)| place.segment))
    }
}
