//! Replaying a journal, from its first entry or from a checkpoint in it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Complete;
use super::parts::Part;
use crate::coordinator::{Change, Snapshot};
use crate::id::{CheckpointNumber, PartitionId, TransactionId};
use crate::journal::{EntryHead, FoundEntry, Place};
use crate::storage::decide::Hosted;
use crate::storage::inconsistency::Inconsistency;
use crate::storage::index::Body;
use crate::storage::{ReplayError, Replica, Storage};

/// What an entry means beyond the storage itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// Nothing.
    Taken,
    /// A checkpoint begins, and what came before it counts no more.
    Restarted,
    /// The coordinator's state at this point.
    Coordinator(Snapshot),
    /// The coordinator's next change.
    Change(Change),
}

/// A journal whose beginning was released has to have a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the journal's oldest segments were released, and no complete and sound checkpoint is in \
     those that are left; bring the node back as a new replica with an empty journal"
)]
pub struct NoCheckpoint;

/// From where on entries count.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
enum Mode {
    /// All of them do, and checkpoints say nothing new.
    #[default]
    Whole,
    /// A checkpoint has to begin first.
    Waiting,
    /// One has begun.
    Loading(Loading),
}

/// What is still to come of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Loading {
    number: CheckpointNumber,
    parts: u32,
    lacks_coordinator: bool,
    /// Replicas of which nothing came yet.
    lacks: BTreeSet<PartitionId>,
    /// The replica whose runs are coming: from which id on, and up to which.
    index: Option<(PartitionId, TransactionId, TransactionId)>,
}

/// A checkpoint that recovery comes by, whether it is needed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Seen {
    begun: Complete,
    parts: u32,
    bytes: u64,
}

/// How far a replay is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub(in crate::storage) struct Replay {
    mode: Mode,
    seen: Option<Seen>,
}

impl Storage {
    /// Before the first entry. If a `checkpoint` is needed, as the journal's beginning was released
    /// or is passed over, nothing counts before one. What was replayed before is forgotten.
    pub fn begin_replay(&mut self, checkpoint: bool) {
        *self = Self::new(self.limits, self.planted);
        self.replay.mode = if checkpoint { Mode::Waiting } else { Mode::Whole };
    }

    /// Whether what was replayed so far rests on nothing that did not come: it began with the
    /// journal's first entry, or a checkpoint has come since, complete and sound.
    pub fn is_replay_founded(&self) -> bool {
        self.replay.mode == Mode::Whole
    }

    /// The segment with which a later replay may begin: in it begins the older one of the two newest
    /// checkpoints that count, or the only one. `None` if there is none.
    pub fn replay_from(&self) -> Option<u32> {
        self.checkpoints.replay_from()
    }

    /// Takes in an entry that recovery found.
    ///
    /// # Errors
    /// When the entry does not follow from those before it.
    pub fn replay(&mut self, entry: &FoundEntry<'_>) -> Result<Replayed, ReplayError> {
        let FoundEntry { ref head, place, body, is_damaged } = *entry;
        let length = place.map_or(0, |place| place.length as usize);
        self.checkpoints.count(length);
        if let Some(seen) = &mut self.replay.seen {
            seen.bytes += super::HEAD_BYTES + length as u64;
        }
        match head {
            EntryHead::Checkpoint { number, part } => {
                let sound = place.filter(|_| !is_damaged);
                self.see_part(*number, *part, sound);
                return self.take_part(*number, *part, body, sound.is_some());
            }
            EntryHead::CheckpointEnd { number, parts } => {
                self.see_end(*number, *parts);
                self.take_end(*number, *parts);
                return Ok(Replayed::Taken);
            }
            _ => {}
        }
        // What a checkpoint says later may rest on it, even if the entry itself counts no more.
        if is_damaged {
            self.damaged_places.extend(place);
        }
        if !self.replay.mode.counts(head) {
            return Ok(Replayed::Taken);
        }
        if let EntryHead::Coordinator(change) = head {
            return Ok(Replayed::Change(change.clone()));
        }
        self.fold(head, place.map_or(Body::Missing, Body::At))?;
        Ok(Replayed::Taken)
    }

    /// After the last entry.
    ///
    /// # Errors
    /// When what came began nowhere. Of a suspect journal nothing is expected: what can't be told is
    /// not there.
    pub fn end_replay(&mut self) -> Result<(), NoCheckpoint> {
        match std::mem::take(&mut self.replay).mode {
            Mode::Whole => Ok(()),
            Mode::Waiting | Mode::Loading(_) if self.suspect => {
                self.hosted.clear();
                Ok(())
            }
            Mode::Waiting | Mode::Loading(_) => Err(NoCheckpoint),
        }
    }

    /// Notes where checkpoints are that count.
    fn see_part(&mut self, number: CheckpointNumber, part: u32, sound: Option<Place>) {
        self.checkpoints.found(number);
        self.replay.seen = match (self.replay.seen, sound) {
            (_, Some(place)) if part == 0 => {
                let bytes = u64::from(place.length);
                let begun = Complete { number, segment: place.segment, bytes };
                Some(Seen { begun, parts: 1, bytes: 0 })
            }
            (Some(mut seen), Some(place)) if (seen.begun.number, seen.parts) == (number, part) => {
                seen.begun.bytes += u64::from(place.length);
                Some(Seen { parts: part + 1, ..seen })
            }
            _ => None,
        };
    }

    fn see_end(&mut self, number: CheckpointNumber, parts: u32) {
        let seen = self.replay.seen.take();
        if let Some(Seen { begun, bytes, .. }) =
            seen.filter(|seen| (seen.begun.number, seen.parts) == (number, parts))
        {
            self.checkpoints.completed(begun, bytes);
        }
    }

    /// Takes in a part, if a checkpoint is wanted. One that lacks a part is of no use: the next
    /// one is waited for.
    fn take_part(
        &mut self,
        number: CheckpointNumber,
        part: u32,
        body: &[u8],
        is_sound: bool,
    ) -> Result<Replayed, ReplayError> {
        let loading = match std::mem::replace(&mut self.replay.mode, Mode::Waiting) {
            Mode::Whole => {
                self.replay.mode = Mode::Whole;
                return Ok(Replayed::Taken);
            }
            Mode::Waiting => None,
            Mode::Loading(loading) => Some(loading),
        };
        let Some(decoded) = Part::decode(body).filter(|_| is_sound) else {
            return Ok(Replayed::Taken);
        };
        match (decoded, loading) {
            (Part::Begin { partitions }, _) if part == 0 => {
                self.hosted.clear();
                let loading = Loading {
                    number,
                    parts: 1,
                    lacks_coordinator: true,
                    lacks: partitions,
                    index: None,
                };
                self.replay.mode = Mode::Loading(loading);
                Ok(Replayed::Restarted)
            }
            (decoded, Some(mut loading)) if (loading.number, loading.parts) == (number, part) => {
                loading.parts += 1;
                let Some(replayed) = self.load(&mut loading, decoded)? else {
                    return Ok(Replayed::Taken);
                };
                self.replay.mode = Mode::Loading(loading);
                Ok(replayed)
            }
            _ => Ok(Replayed::Taken),
        }
    }

    /// Takes in what a part says; none if it is not its turn.
    fn load(&mut self, loading: &mut Loading, part: Part) -> Result<Option<Replayed>, ReplayError> {
        match part {
            Part::Begin { .. } => Ok(None),
            Part::Coordinator(snapshot) => {
                loading.lacks_coordinator = false;
                Ok(Some(Replayed::Coordinator(snapshot)))
            }
            Part::Replica { state, end } => {
                let partition = state.partition;
                if !loading.lacks.remove(&partition) || loading.index.is_some() {
                    return Ok(None);
                }
                let hosted = Hosted::new(Replica::restored(state));
                self.hosted.insert(partition, Box::new(hosted));
                let next = TransactionId::FIRST;
                loading.index = (next < end).then_some((partition, next, end));
                Ok(Some(Replayed::Taken))
            }
            Part::Runs { partition, part } => {
                let Some((of, next, end)) = loading.index.take() else { return Ok(None) };
                if (of, next) != (partition, part.from) || part.to <= next || part.to > end {
                    return Ok(None);
                }
                let to = part.to;
                let hosted = self.hosted.get_mut(&partition);
                let hosted = hosted.ok_or(Inconsistency::NotCreated.at(partition))?;
                hosted.replica.load(part);
                if to < end {
                    loading.index = Some((partition, to, end));
                } else {
                    hosted.replica.loaded()?;
                }
                Ok(Some(Replayed::Taken))
            }
        }
    }

    fn take_end(&mut self, number: CheckpointNumber, parts: u32) {
        self.replay.mode = match std::mem::replace(&mut self.replay.mode, Mode::Waiting) {
            Mode::Loading(loading)
                if (loading.number, loading.parts) == (number, parts) && loading.is_complete() =>
            {
                Mode::Whole
            }
            Mode::Loading(_) | Mode::Waiting => Mode::Waiting,
            Mode::Whole => Mode::Whole,
        };
    }
}

impl Mode {
    /// Whether an entry is to be folded in.
    fn counts(&self, head: &EntryHead) -> bool {
        match self {
            Self::Whole => true,
            Self::Waiting => false,
            Self::Loading(_) if *head == EntryHead::Enroll => true,
            Self::Loading(loading) => match head.partition() {
                Some(partition) => !loading.lacks.contains(&partition),
                None => !loading.lacks_coordinator,
            },
        }
    }
}

impl Loading {
    fn is_complete(&self) -> bool {
        !self.lacks_coordinator && self.lacks.is_empty() && self.index.is_none()
    }
}
