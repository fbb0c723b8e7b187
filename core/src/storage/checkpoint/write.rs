//! Writing checkpoints, reading them back, and giving up what they make superfluous.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::parts::Part;
use super::{Complete, HEAD_BYTES};
use crate::coordinator::Coordinator;
use crate::id::{CheckpointNumber, Mark, PartitionId, TransactionId};
use crate::io::{Context, Effect, Level, Ticket};
use crate::journal::{Entry, EntryHead, Place};
use crate::planted::PlantedBug;
use crate::storage::reads::Wanted;
use crate::storage::{CheckpointConfig, Owner, Replica, Storage};

/// A part on its way to the disk, or there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct WrittenPart {
    ticket: Ticket,
    bytes: u32,
    checksum: u32,
    place: Option<Place>,
}

impl WrittenPart {
    /// What it costs to write or to read it, roughly.
    fn cost(&self) -> u64 {
        HEAD_BYTES + u64::from(self.bytes)
    }
}

/// The bytes of records in each segment, of those that a checkpoint told of. Whatever was written
/// since it began lies in later segments, and what was moved or given up since only makes them
/// fewer: the lowest segment here bounds those that are needed from below.
type Live = BTreeMap<u32, u64>;

/// A replica's index, as far as it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Cursor {
    partition: PartitionId,
    next: TransactionId,
    end: TransactionId,
}

/// A checkpoint that is being written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Writing {
    number: CheckpointNumber,
    parts: Vec<WrittenPart>,
    /// How many of the parts have places, and what the others cost.
    placed: usize,
    awaited_bytes: u64,
    /// It was due by itself, and no records were being moved: what it tells of is where they stay.
    may_begin_moving: bool,
    is_coordinator_told: bool,
    replicas: BTreeSet<PartitionId>,
    cursor: Option<Cursor>,
    live: Live,
}

/// A checkpoint that is written, until every part was read back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Reading {
    number: CheckpointNumber,
    parts: Vec<WrittenPart>,
    may_begin_moving: bool,
    live: Live,
    /// Its end; nothing is read before that is durable.
    end: Ticket,
    next: usize,
    /// The read that is under way, and of how many parts from the next one on.
    under_way: Option<(Ticket, usize)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
enum Stage {
    #[default]
    Idle,
    Writing(Writing),
    Reading(Reading),
}

/// What there is of checkpoints, and when the next one is due.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub(in crate::storage) struct Checkpoints {
    config: CheckpointConfig,
    /// What was given to the journal since the last checkpoint began.
    bytes: u64,
    /// What the newest complete one took.
    last_bytes: u64,
    /// The number of the last one that began.
    last: Option<CheckpointNumber>,
    stage: Stage,
    /// One is due, however little was written.
    is_hastened: bool,
    /// The newest ones that count, oldest first.
    complete: VecDeque<Complete>,
    durable: Ticket,
    /// Segments below this one are given up once everything up to the ticket is durable.
    release: Option<(Ticket, u32)>,
    /// Segments below this one are given up.
    released: u32,
}

impl Checkpoints {
    /// How many were begun, ever.
    pub(in crate::storage) fn begun(&self) -> u64 {
        self.last.map_or(0, |last| last.0 + 1)
    }

    /// Sets when one is due.
    pub(in crate::storage) fn configure(&mut self, config: CheckpointConfig) {
        self.config = config;
    }

    /// An entry was given to the journal, or recovery found it.
    pub(in crate::storage) fn count(&mut self, body_bytes: usize) {
        self.bytes += HEAD_BYTES + body_bytes as u64;
    }

    /// Everything up to a ticket is durable.
    pub(in crate::storage) fn on_durable(&mut self, up_to: Ticket) {
        self.durable = up_to;
    }

    /// A part's place is known.
    pub(in crate::storage) fn placed(&mut self, ticket: Ticket, place: Place) {
        let Stage::Writing(writing) = &mut self.stage else {
            unreachable!("parts are awaited before a checkpoint ends");
        };
        let part = &mut writing.parts[writing.placed];
        assert_eq!(part.ticket, ticket, "parts get their places in order");
        part.place = Some(place);
        writing.awaited_bytes -= part.cost();
        writing.placed += 1;
    }

    /// The number of the last checkpoint that began was found by recovery.
    pub(super) fn found(&mut self, number: CheckpointNumber) {
        self.last = self.last.max(Some(number));
    }

    /// A checkpoint counts, `bytes` ago.
    pub(super) fn completed(&mut self, complete: Complete, bytes: u64) {
        self.bytes = bytes;
        self.last_bytes = complete.bytes;
        self.complete.push_back(complete);
        if self.complete.len() > 2 {
            self.complete.pop_front();
        }
    }

    /// The segment in which the oldest one begins that is kept to fall back on.
    pub(super) fn replay_from(&self) -> Option<u32> {
        self.complete.front().map(|complete| complete.segment)
    }

    /// The next one is due at once.
    pub(in crate::storage) fn hasten(&mut self) {
        self.is_hastened = true;
    }

    fn is_due(&self) -> bool {
        // A node with a large index must not write more for its checkpoints than for its records.
        let every = self.config.every_bytes;
        every > 0 && (self.is_hastened || self.bytes >= every.max(self.last_bytes))
    }
}

impl Storage {
    /// Goes on with a checkpoint, or begins one if it is time; called whenever entries became
    /// durable and reads ended. `coordinator` has the coordinator's state, if there ever was one on this node.
    pub fn checkpoint(&mut self, cx: &mut Context<'_>, coordinator: &Coordinator) {
        if self.suspect {
            return;
        }
        self.release(cx);
        let durable = self.checkpoints.durable;
        match &mut self.checkpoints.stage {
            Stage::Idle => {
                if self.checkpoints.is_due() {
                    self.begin_checkpoint(cx);
                }
            }
            Stage::Writing(_) => self.write_more(cx, coordinator),
            Stage::Reading(reading) => {
                if reading.end <= durable {
                    reading.advance(cx, self.checkpoints.config.bytes_at_once);
                }
            }
        }
    }

    /// Writes as many parts as may be on their way together; ends the checkpoint once all are there.
    fn write_more(&mut self, cx: &mut Context<'_>, coordinator: &Coordinator) {
        while let Stage::Writing(writing) = &mut self.checkpoints.stage {
            let is_idle = writing.placed == writing.parts.len();
            if !is_idle && writing.awaited_bytes >= self.checkpoints.config.bytes_at_once {
                return;
            }
            if writing.is_all_told() {
                if is_idle {
                    self.end_checkpoint(cx);
                }
                return;
            }
            let Some(part) = self.next_part(coordinator) else { return };
            self.write_part(cx, &part);
        }
    }

    fn begin_checkpoint(&mut self, cx: &mut Context<'_>) {
        let replicas: BTreeSet<_> = self.hosted.keys().copied().collect();
        let begin = Part::Begin { partitions: replicas.clone() };
        let is_hastened = std::mem::take(&mut self.checkpoints.is_hastened);
        let may_begin_moving = !is_hastened && !self.moves.is_under_way();
        let number = CheckpointNumber(self.checkpoints.last.map_or(0, |last| last.0 + 1));
        (self.checkpoints.last, self.checkpoints.bytes) = (Some(number), 0);
        self.checkpoints.stage = Stage::Writing(Writing {
            number,
            parts: Vec::new(),
            placed: 0,
            awaited_bytes: 0,
            may_begin_moving,
            is_coordinator_told: false,
            replicas,
            cursor: None,
            live: Live::new(),
        });
        self.write_part(cx, &begin);
        if self.enrolled {
            self.record_enrolment(cx);
        }
    }

    /// What is to be told next, unless it is not settled yet.
    fn next_part(&mut self, coordinator: &Coordinator) -> Option<Part> {
        let runs_per_part = self.checkpoints.config.runs_per_part;
        let Stage::Writing(writing) = &mut self.checkpoints.stage else { return None };
        if !std::mem::replace(&mut writing.is_coordinator_told, true) {
            return Some(Part::Coordinator(coordinator.snapshot()));
        }
        if let Some(Cursor { partition, next, end }) = writing.cursor {
            let replica = &self.hosted[&partition].replica;
            let part = replica.index().part(next, end, runs_per_part)?;
            count_live(&mut writing.live, replica, next, part.to);
            let rest = Cursor { partition, next: part.to, end };
            writing.cursor = Some(rest).filter(|rest| rest.next < rest.end);
            return Some(Part::Runs { partition, part });
        }
        let replica = &self.hosted[&writing.replicas.pop_first()?].replica;
        let (partition, next, end) =
            (replica.partition(), TransactionId::FIRST, replica.last().next());
        writing.cursor = (next < end).then_some(Cursor { partition, next, end });
        Some(Part::Replica { state: replica.state(), end })
    }

    fn write_part(&mut self, cx: &mut Context<'_>, part: &Part) {
        let body = Bytes::from(part.encode());
        let Stage::Writing(writing) = &mut self.checkpoints.stage else { return };
        let part = writing.parts.len() as u32;
        let head = EntryHead::Checkpoint { number: writing.number, part };
        let (bytes, checksum) = (body.len() as u32, crc32c::crc32c(&body));
        let ticket = cx.append(Entry { head, body });
        let part = WrittenPart { ticket, bytes, checksum, place: None };
        writing.awaited_bytes += part.cost();
        writing.parts.push(part);
        self.unplaced.push_back((ticket, Owner::Checkpoint));
    }

    fn end_checkpoint(&mut self, cx: &mut Context<'_>) {
        let Stage::Writing(Writing { number, parts, may_begin_moving, live, .. }) =
            std::mem::take(&mut self.checkpoints.stage)
        else {
            return;
        };
        let head = EntryHead::CheckpointEnd { number, parts: parts.len() as u32 };
        let end = cx.append(Entry { head, body: Bytes::new() });
        let (next, under_way) = (0, None);
        let reading = Reading { number, parts, may_begin_moving, live, end, next, under_way };
        self.checkpoints.stage = Stage::Reading(reading);
    }

    /// A read ended, of a part perhaps. Whether it was one.
    pub(in crate::storage) fn on_part_read(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        result: &Result<Vec<Bytes>, String>,
    ) -> bool {
        let Stage::Reading(reading) = &mut self.checkpoints.stage else { return false };
        let Some((_, count)) = reading.under_way.take_if(|(under_way, _)| *under_way == ticket)
        else {
            return false;
        };
        if let Some((part, fault)) = reading.fault(count, result) {
            let text = format!(
                "part {part} of checkpoint {} can't be read back: {fault}; no space is given \
                 back before a later checkpoint is sound",
                reading.number
            );
            cx.report(Level::Error, None, text);
            self.checkpoints.stage = Stage::Idle;
            return true;
        }
        reading.next += count;
        if reading.next < reading.parts.len() {
            reading.advance(cx, self.checkpoints.config.bytes_at_once);
            return true;
        }
        let places = reading.parts.iter().map(|part| part.place.expect("it was read back"));
        let bytes = places.clone().map(|place| u64::from(place.length)).sum();
        let segment = places.map(|place| place.segment).min().expect("there is a first part");
        let complete = Complete { number: reading.number, segment, bytes };
        let (may_begin_moving, live) =
            (reading.may_begin_moving, std::mem::take(&mut reading.live));
        self.checkpoints.stage = Stage::Idle;
        self.checkpoints.completed(complete, self.checkpoints.bytes);
        let replay_from = self.checkpoints.replay_from();
        cx.effects.extend(replay_from.map(|segment| Effect::ReplayFrom { segment }));
        if let [older, _] = self.checkpoints.complete.make_contiguous() {
            // Neither the two checkpoints that count need what is below, nor any record of a log;
            // but a crash may bring back a log as it was before what is on its way to the disk.
            let records = live.keys().next().map_or(segment, |lowest| segment.min(*lowest));
            let below = match self.planted.has(PlantedBug::GiveUpHeld) {
                true => older.segment,
                false => records.min(older.segment),
            };
            self.checkpoints.release = Some((cx.tickets.appended, below));
            if self.is_full && below < records {
                self.checkpoints.hasten();
            }
            self.release(cx);
        }
        if may_begin_moving {
            self.begin_moving(cx, &live, segment);
        }
        true
    }

    /// Gives up the segments that nothing needs.
    fn release(&mut self, cx: &mut Context<'_>) {
        let durable = self.checkpoints.durable;
        let ready = self.checkpoints.release.take_if(|(after, _)| *after <= durable);
        if let Some((_, below)) = ready.filter(|(_, below)| *below > self.checkpoints.released) {
            self.checkpoints.released = below;
            cx.effects.push(Effect::Release { below });
        }
    }
}

/// Counts a replica's records from an id on and before another one, whose places are known.
fn count_live(live: &mut Live, replica: &Replica, from: TransactionId, to: TransactionId) {
    let first = from.max(replica.summary().start.next());
    let mut last = None;
    for Wanted { piece, .. } in Wanted::all(replica, first, Mark::before(to)) {
        let place = piece.run.place;
        // What was cut out of a run is there as long as the rest of it.
        if last.replace(place) != Some(place) {
            *live.entry(place.segment).or_default() += u64::from(place.length);
        }
    }
}

impl Writing {
    fn is_all_told(&self) -> bool {
        self.is_coordinator_told && self.cursor.is_none() && self.replicas.is_empty()
    }
}

impl Reading {
    /// Reads the next parts, unless some are being read.
    fn advance(&mut self, cx: &mut Context<'_>, bytes_at_once: u64) {
        if self.under_way.is_some() {
            return;
        }
        let mut bytes = 0;
        let parts = self.parts[self.next..].iter().take_while(|part| {
            let is_taken = bytes == 0 || bytes < bytes_at_once;
            bytes += part.cost();
            is_taken
        });
        let places: Vec<_> =
            parts.map(|part| part.place.expect("a durable part has a place")).collect();
        let count = places.len();
        self.under_way = Some((cx.read(places), count));
    }

    /// What is wrong with the next `count` parts as they were read, and in which one.
    fn fault<'a>(
        &self,
        count: usize,
        result: &'a Result<Vec<Bytes>, String>,
    ) -> Option<(usize, &'a str)> {
        let bodies = match result {
            Ok(bodies) => bodies,
            Err(error) => return Some((self.next, error)),
        };
        (self.next..self.next + count).enumerate().find_map(|(read, part)| {
            let is_sound = bodies
                .get(read)
                .is_some_and(|body| crc32c::crc32c(body) == self.parts[part].checksum);
            (!is_sound).then_some((part, "it is not what was written"))
        })
    }
}
