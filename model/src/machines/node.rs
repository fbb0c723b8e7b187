//! A storage node, its disk, and what is between them.

use std::collections::VecDeque;

use bytes::Bytes;
use waltz_core::id::{NodeId, SessionId, TransactionId};
use waltz_core::io::{Caller, Context, Effect, Level, Ticket, Tickets};
use waltz_core::journal::{Entry, EntryHead, FoundEntry, Place};
use waltz_core::limits::Limits;
use waltz_core::planted::Planted;
use waltz_core::storage::{Replica, Storage, StorageConfig, StorageReply};
use waltz_core::time::{Random, Time};
use waltz_core::transcript::entry_text;

use super::{Answer, Request, member, record, records, session_id};
use crate::shared::{Machine, Shared};

/// A journal entry that is not durable yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Unsynced {
    ticket: Ticket,
    head: EntryHead,
    place: Option<Place>,
}

/// What comes of a step of a node.
#[derive(Debug, Default)]
pub(crate) struct NodeStep {
    /// Answers, and over which connections they go.
    pub(crate) answers: Vec<(Caller, Shared<Answer>)>,
    /// What was given to the journal.
    pub(crate) wrote: Vec<Wrote>,
    /// What sound disks and honest peers can't be the reason of.
    pub(crate) alarms: Vec<String>,
}

/// An entry given to the journal.
#[derive(Debug)]
pub(crate) struct Wrote(EntryHead);

impl Wrote {
    pub(crate) fn text(&self) -> String {
        entry_text(&self.0)
    }

    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.0, EntryHead::Cut { .. })
    }
}

/// What can happen to a node.
#[derive(Debug, Clone, Hash)]
pub(crate) enum NodeOperation {
    /// A request arrives over this connection.
    Request(Caller, Shared<Request>),
    /// Everything written becomes durable.
    Sync,
    /// The oldest read ends.
    Read,
    /// A connection is gone.
    Closed(Caller),
    /// Power is lost and comes back. So many of the entries that were not known to be durable
    /// are; the others are gone.
    Crash { keep: usize },
}

/// A storage node, its disk, and what is between them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    id: NodeId,
    storage: Storage,
    /// What the durable entries fold to: all that is left after a crash.
    disk: Storage,
    unsynced: VecDeque<Unsynced>,
    reads: VecDeque<(Ticket, Vec<Place>)>,
    tickets: Tickets,
    planted: Planted,
}

impl Node {
    pub(crate) fn new(id: NodeId, planted: Planted) -> Self {
        let disk = Storage::new(Limits::default(), planted);
        let mut node = Self {
            id,
            storage: disk.clone(),
            disk,
            unsynced: VecDeque::new(),
            reads: VecDeque::new(),
            tickets: Tickets::default(),
            planted,
        };
        node.restart();
        node
    }

    fn restart(&mut self) {
        self.storage = self.disk.clone();
        self.storage.identify(member(self.id), StorageConfig::default());
        self.unsynced.clear();
        self.reads.clear();
        self.tickets = Tickets::default();
    }

    /// How many entries are not durable yet.
    pub(crate) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    pub(crate) fn is_reading(&self) -> bool {
        !self.reads.is_empty()
    }

    /// The session that wrote the record that is durable at an id.
    pub(crate) fn durable_at(&self, id: usize) -> Option<SessionId> {
        written_by(&self.disk, id)
    }

    /// The session that wrote the record at an id of the log in memory.
    pub(crate) fn held_at(&self, id: usize) -> Option<SessionId> {
        written_by(&self.storage, id)
    }

    /// How many records it knows to be committed.
    pub(crate) fn low_water(&self) -> usize {
        let (_, replica) = self.storage.replicas().next().unzip();
        replica.map_or(0, |replica| replica.low_water().count() as usize)
    }

    /// The oldest entry is on the disk.
    fn write_out(&mut self) -> Result<Unsynced, String> {
        let entry = self.unsynced.pop_front().expect("an entry waits");
        let found = FoundEntry {
            head: entry.head.clone(),
            place: entry.place,
            body: &[],
            is_damaged: false,
        };
        let folded = self.disk.replay(&found);
        folded.map(|_| entry).map_err(|error| error.to_string())
    }

    fn sync(&mut self) -> NodeStep {
        let (mut up_to, mut places) = (Ticket::default(), Vec::new());
        while !self.unsynced.is_empty() {
            match self.write_out() {
                Ok(Unsynced { ticket, place, .. }) => {
                    up_to = ticket;
                    places.extend(place.map(|place| (ticket, place)));
                }
                Err(error) => return NodeStep { alarms: vec![error], ..NodeStep::default() },
            }
        }
        self.step(|storage, cx, replies| storage.on_durable(cx, up_to, &places, replies))
    }

    fn finish_read(&mut self) -> NodeStep {
        let (ticket, places) = self.reads.pop_front().expect("a read is under way");
        let bodies = Ok(places.iter().map(|place| body(*place)).collect());
        self.step(|storage, cx, replies| storage.on_read(cx, ticket, &bodies, replies))
    }

    fn crash(&mut self, keep: usize) -> NodeStep {
        let kept: Result<Vec<_>, _> = (0..keep).map(|_| self.write_out()).collect();
        self.restart();
        NodeStep { alarms: kept.err().into_iter().collect(), ..NodeStep::default() }
    }

    fn step(
        &mut self,
        step: impl FnOnce(&mut Storage, &mut Context<'_>, &mut Vec<StorageReply>),
    ) -> NodeStep {
        let (mut random, mut effects, mut replies) = (Random::new(1), Vec::new(), Vec::new());
        let mut cx = Context {
            now: Time::ZERO,
            random: &mut random,
            tickets: &mut self.tickets,
            effects: &mut effects,
        };
        step(&mut self.storage, &mut cx, &mut replies);
        let mut came = NodeStep::default();
        for effect in effects {
            match effect {
                Effect::Append { entry, ticket } => self.write(entry, ticket, &mut came),
                Effect::Read { ticket, places } => self.reads.push_back((ticket, places)),
                Effect::Report(report) if report.level > Level::Info => {
                    came.alarms.push(report.text);
                }
                Effect::Report(_) => {}
                other => came.alarms.push(format!("a storage node does not {other:?}")),
            }
        }
        if !self.storage.replicas().all(|(_, replica)| replica.is_consistent()) {
            came.alarms.push("the replica contradicts itself".to_owned());
        }
        let answer = |StorageReply { to, message, payload }| {
            (to, Shared::new(Answer { answer: message.answer, payload }))
        };
        came.answers.extend(replies.into_iter().map(answer));
        came
    }

    fn write(&mut self, entry: Entry, ticket: Ticket, came: &mut NodeStep) {
        let Entry { head, body: bytes } = entry;
        let mut place = None;
        if let EntryHead::Records { session, first, count, .. } = head {
            let there = place_of(session, first, bytes.len());
            if bytes != records(session, first, count) {
                came.alarms.push(format!("other records than {session} numbered from {first}"));
            }
            place = Some(there);
        }
        came.wrote.push(Wrote(head.clone()));
        self.unsynced.push_back(Unsynced { ticket, head, place });
    }
}

impl Machine for Node {
    type Operation = NodeOperation;
    type Step = NodeStep;

    fn apply(&mut self, operation: NodeOperation) -> NodeStep {
        match operation {
            NodeOperation::Request(from, request) => {
                let Request { message, payload } = (*request).clone();
                self.step(|storage, cx, replies| {
                    storage.on_request(cx, from, message, payload, replies);
                })
            }
            NodeOperation::Sync => self.sync(),
            NodeOperation::Read => self.finish_read(),
            NodeOperation::Closed(from) => {
                self.storage.on_closed(from);
                NodeStep::default()
            }
            NodeOperation::Crash { keep } => self.crash(keep),
        }
    }
}

fn replica(storage: &Storage) -> Option<&Replica> {
    storage.replicas().next().map(|(_, replica)| replica)
}

fn written_by(storage: &Storage, id: usize) -> Option<SessionId> {
    replica(storage)?.summary().session_at(TransactionId(id as u64))
}

/// A place that says what is there.
fn place_of(session: SessionId, first: TransactionId, length: usize) -> Place {
    let (segment, offset) = (session.epoch.0 as u32, first.0 as u32);
    Place { segment, offset, length: length as u32 }
}

fn body(place: Place) -> Bytes {
    let (session, first) = (session_id(u64::from(place.segment)), place.offset);
    let one = record(session, TransactionId(0)).len() as u32;
    records(session, TransactionId(u64::from(first)), place.length / one)
}
