//! A storage node, its journal in memory, and two hands to feed them.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    CREATION, PARTITION, Written, append, caller, empty_log, member, open, position, run, session,
};
use crate::coordinator::Coordinator;
use crate::id::{Mark, Member};
use crate::io::{Caller, Context, Effect, Report, Ticket, Tickets};
use crate::journal::{Entry, FoundEntry, Place};
use crate::limits::Limits;
use crate::planted::Planted;
use crate::storage::{
    CheckpointConfig, Replayed, Replica, ScrubConfig, Storage, StorageConfig, StorageReply,
};
use crate::time::{Random, Time};
use crate::wire::{ReplicaRequest, ToReplica};

/// The node and its journal.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) storage: Storage,
    pub(crate) member: Member,
    planted: Planted,
    /// No scrub, unless a test wants one.
    pub(crate) config: StorageConfig,
    pub(crate) now: Time,
    tickets: Tickets,
    /// Everything appended, in order; the first `durable` of it is on the disk.
    pub(crate) journal: Vec<Written>,
    pub(crate) durable: usize,
    /// The coordinator whose state this node's checkpoints tell.
    pub(crate) coordinator: Coordinator,
    /// How many entries a segment has.
    pub(crate) segment_entries: usize,
    /// Segments below this one are given up.
    pub(crate) released: u32,
    /// The segment that a replay may begin with.
    pub(crate) replay_from: Option<u32>,
    /// How many of the journal's entries an earlier life of the process wrote.
    inherited: usize,
    /// The journal lost entries, and every recovery finds that out.
    is_suspect: bool,
    pub(crate) reads: VecDeque<(Ticket, Vec<Place>)>,
    /// What the last step reported.
    pub(crate) reports: Vec<Report>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::of(member(1), Planted::NONE)
    }

    pub(crate) fn of(member: Member, planted: Planted) -> Self {
        let scrub = ScrubConfig { bytes_per_second: 0, ..ScrubConfig::default() };
        let checkpoints = CheckpointConfig { every_bytes: 0, ..CheckpointConfig::default() };
        let config = StorageConfig { scrub, checkpoints, ..StorageConfig::default() };
        let mut storage = Storage::new(Limits::default(), planted);
        storage.identify(member, config);
        Self {
            storage,
            member,
            planted,
            config,
            now: Time::ZERO,
            tickets: Tickets::default(),
            journal: Vec::new(),
            durable: 0,
            coordinator: Coordinator::new(),
            segment_entries: usize::MAX,
            released: 0,
            replay_from: None,
            inherited: 0,
            is_suspect: false,
            reads: VecDeque::new(),
            reports: Vec::new(),
        }
    }

    /// The session of that epoch opens and joins an empty log and appends a run of each of the
    /// counts, all of it durably.
    pub(crate) fn begin(&mut self, epoch: u64, counts: &[u64], committed: Mark) {
        self.ask(epoch, open(), Bytes::new());
        self.ask(epoch, ReplicaRequest::Adopt { chosen: empty_log() }, Bytes::new());
        self.ask(epoch, ReplicaRequest::Join { at: position(Mark::NONE) }, Bytes::new());
        let mut next = 0;
        for &count in counts {
            self.ask(epoch, append(next, count, committed), run(epoch, next, count));
            next += count;
        }
        self.sync_all();
        let last = self.replica().map(|replica| replica.last().count());
        assert_eq!(last, Some(next), "a new session takes what follows its log");
    }

    /// The node's one replica.
    pub(crate) fn replica(&self) -> Option<&Replica> {
        self.storage.replicas().next().map(|(_, replica)| replica)
    }

    /// Asks as the session of that epoch.
    pub(crate) fn ask(
        &mut self,
        epoch: u64,
        request: ReplicaRequest,
        payload: Bytes,
    ) -> Vec<StorageReply> {
        self.ask_as(caller(1), epoch, request, payload)
    }

    pub(crate) fn ask_as(
        &mut self,
        from: Caller,
        epoch: u64,
        request: ReplicaRequest,
        payload: Bytes,
    ) -> Vec<StorageReply> {
        let request = ToReplica {
            partition: PARTITION,
            creation: CREATION,
            session: session(epoch),
            request,
        };
        self.send(from, request, payload)
    }

    pub(crate) fn send(
        &mut self,
        from: Caller,
        request: ToReplica,
        payload: Bytes,
    ) -> Vec<StorageReply> {
        self.step(|storage, cx, replies| storage.on_request(cx, from, request, payload, replies))
    }

    /// Makes the next `count` entries durable, in one sync.
    pub(crate) fn sync(&mut self, count: usize) -> Vec<StorageReply> {
        let to = self.journal.len().min(self.durable.saturating_add(count));
        let newly = self.durable..to;
        self.durable = to;
        let ticket = |index: usize| Ticket((index + 1 - self.inherited) as u64);
        let places: Vec<_> = newly
            .filter_map(|index| self.journal[index].place.map(|place| (ticket(index), place)))
            .collect();
        let up_to = Ticket((to - self.inherited) as u64);
        let coordinator = self.coordinator.clone();
        self.step(|storage, cx, replies| {
            storage.on_durable(cx, up_to, &places, replies);
            storage.checkpoint(cx, &coordinator);
        })
    }

    pub(crate) fn sync_all(&mut self) -> Vec<StorageReply> {
        self.sync(usize::MAX)
    }

    /// Ends the oldest read with what the journal holds.
    pub(crate) fn finish_read(&mut self) -> Vec<StorageReply> {
        let (ticket, places) = self.reads.pop_front().expect("a read is under way");
        let body = |place: &Place| {
            assert!(place.segment >= self.released, "nothing is read that was given up");
            let written = self.journal.iter().find(|written| written.place == Some(*place));
            written.expect("a place of the journal").body.clone()
        };
        let bodies = Ok(places.iter().map(body).collect());
        let coordinator = self.coordinator.clone();
        self.step(|storage, cx, replies| {
            storage.on_read(cx, ticket, &bodies, replies);
            storage.checkpoint(cx, &coordinator);
        })
    }

    /// Ends all reads, those included that come of others.
    pub(crate) fn finish_reads(&mut self) -> Vec<StorageReply> {
        let mut replies = Vec::new();
        while !self.reads.is_empty() {
            replies.extend(self.finish_read());
        }
        replies
    }

    pub(crate) fn fail_read(&mut self, error: &str) -> Vec<StorageReply> {
        let (ticket, _) = self.reads.pop_front().expect("a read is under way");
        let result = Err(error.to_owned());
        self.step(|storage, cx, replies| storage.on_read(cx, ticket, &result, replies))
    }

    /// The node's cluster is there.
    pub(crate) fn enroll(&mut self) {
        self.step(|storage, cx, _| storage.enroll(cx));
    }

    /// The disk has no room for records, or has again.
    pub(crate) fn fill(&mut self, is_full: bool) -> Vec<StorageReply> {
        self.step(|storage, cx, replies| storage.on_space(cx, is_full, replies))
    }

    /// Whoever asked is gone.
    pub(crate) fn close(&mut self, from: Caller) {
        self.storage.on_closed(from);
    }

    /// A crash: what is not durable is lost, the rest is replayed.
    pub(crate) fn restart(&mut self) {
        self.journal.truncate(self.durable);
        self.storage = self.replayed(self.durable);
        if self.is_suspect {
            self.storage.mark_suspect();
        }
        self.tickets = Tickets::default();
        self.inherited = self.durable;
        self.reads.clear();
        self.identify();
    }

    /// A crash that takes all but the first `count` entries, and the next start knows only that
    /// there were more.
    pub(crate) fn restart_suspect(&mut self, count: usize) {
        self.durable = self.durable.min(count);
        self.is_suspect = true;
        self.restart();
    }

    fn identify(&mut self) {
        self.storage.identify(self.member, self.config);
        self.step(|storage, cx, _| storage.start(cx));
    }

    /// The time that the node asked for comes, if it asked.
    pub(crate) fn wake(&mut self) -> Vec<StorageReply> {
        self.now = self.storage.deadline().map_or(self.now, |time| time.max(self.now));
        let coordinator = self.coordinator.clone();
        self.step(|storage, cx, _| {
            storage.on_timer(cx);
            storage.checkpoint(cx, &coordinator);
        })
    }

    /// What the first `count` entries of the journal fold to, as far as they are still there: from
    /// where a replay may begin, if that suffices.
    pub(crate) fn replayed(&self, count: usize) -> Storage {
        let before =
            |segment| (0..count).take_while(|index| self.segment(*index) < segment).count();
        let gone = before(self.released);
        let hinted = self.replay_from.map(before).filter(|from| *from > gone);
        let shortened = hinted.map(|from| self.replayed_from(from, count));
        let mut storage = shortened
            .filter(Storage::is_replay_founded)
            .unwrap_or_else(|| self.replayed_from(gone, count));
        storage.end_replay().expect("a checkpoint is there");
        storage
    }

    /// What recovery does with entries `from..to`, but for its end.
    pub(crate) fn replayed_from(&self, from: usize, to: usize) -> Storage {
        self.replay(from, to, |_| ())
    }

    /// What the entries from `from` on mean beyond the storage.
    pub(crate) fn meanings(&self, from: usize) -> Vec<Replayed> {
        let mut meanings = Vec::new();
        self.replay(from, self.journal.len(), |replayed| meanings.push(replayed));
        meanings
    }

    fn replay(&self, from: usize, to: usize, mut hear: impl FnMut(Replayed)) -> Storage {
        let mut storage = Storage::new(Limits::default(), self.planted);
        storage.begin_replay(from > 0);
        for written in &self.journal[from..to] {
            let Written { head, place, body, .. } = written;
            let is_damaged = written.is_rotten();
            let body = if is_damaged { &[][..] } else { &body[..] };
            let found = FoundEntry { head: head.clone(), place: *place, body, is_damaged };
            hear(storage.replay(&found).expect("what was written fits"));
        }
        storage
    }

    fn segment(&self, index: usize) -> u32 {
        (index / self.segment_entries) as u32 + 1
    }

    /// Flips a bit in the newest copy of a stored record.
    pub(crate) fn rot(&mut self, id: u64) {
        self.flip(id, 30 * 8 + 2);
    }

    /// Flips one bit of the newest copy of a record.
    pub(crate) fn flip(&mut self, id: u64, bit: usize) {
        let written = self.journal.iter_mut().rfind(|written| written.holds(id));
        written.expect("the id is stored").flip(id, bit);
    }

    fn step(
        &mut self,
        step: impl FnOnce(&mut Storage, &mut Context<'_>, &mut Vec<StorageReply>),
    ) -> Vec<StorageReply> {
        let (mut random, mut effects, mut replies) = (Random::new(1), Vec::new(), Vec::new());
        let mut cx = Context {
            now: self.now,
            random: &mut random,
            tickets: &mut self.tickets,
            effects: &mut effects,
        };
        step(&mut self.storage, &mut cx, &mut replies);
        self.reports.clear();
        for effect in effects {
            match effect {
                Effect::Append { entry, ticket } => self.write(entry, ticket),
                Effect::Read { ticket, places } => self.reads.push_back((ticket, places)),
                Effect::Release { below } => self.released = below,
                Effect::ReplayFrom { segment } => self.replay_from = Some(segment),
                Effect::Report(report) => self.reports.push(report),
                other => panic!("a storage node does not {other:?}"),
            }
        }
        if let Some(replica) = self.replica() {
            assert!(replica.is_consistent() && replica.index().is_gapless(), "{replica:?}");
        }
        replies
    }

    fn write(&mut self, entry: Entry, ticket: Ticket) {
        let index = self.journal.len();
        assert_eq!(ticket.0, (index + 1 - self.inherited) as u64);
        assert_eq!(entry.body.is_empty(), entry.head.is_control());
        let place = (!entry.body.is_empty()).then(|| Place {
            segment: self.segment(index),
            offset: index as u32 * 1000,
            length: entry.body.len() as u32,
        });
        self.journal.push(Written::new(entry, place));
    }
}
