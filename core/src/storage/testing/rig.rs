//! A storage node, its journal in memory, and two hands to feed them.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::id::{
    ClientId, CreationId, Epoch, Generation, Mark, Member, NodeId, PartitionId, ReplicaSet, ReqId,
    SessionId, StorageId, TransactionId,
};
use crate::io::{Caller, ConnectionId, Context, Effect, Report, Ticket, Tickets};
use crate::journal::{Entry, EntryHead, Place};
use crate::limits::Limits;
use crate::planted::Planted;
use crate::record::{NewRecord, RecordView, append_with_id};
use crate::storage::{Replica, Storage, StorageReply};
use crate::time::{Random, Time};
use crate::wire::{ReplicaRequest, ToReplica};

pub(crate) const PARTITION: PartitionId = PartitionId(7);
pub(crate) const CREATION: CreationId = CreationId(42);

/// A node with its first disk.
pub(crate) fn member(n: u32) -> Member {
    Member { node: NodeId(n), storage: StorageId(u64::from(n) + 10) }
}

pub(crate) fn session(epoch: u64) -> SessionId {
    SessionId { epoch: Epoch(epoch), server: NodeId(1), nonce: 5 }
}

pub(crate) fn replicas() -> ReplicaSet {
    ReplicaSet((1..=3).map(member).collect())
}

pub(crate) fn caller(n: u64) -> Caller {
    Caller::Peer(ConnectionId::accepted(n))
}

/// `count` records from `first` on; what they hold names the session.
pub(crate) fn run(epoch: u64, first: u64, count: u64) -> Bytes {
    let mut bytes = BytesMut::new();
    for id in first..first + count {
        let req_id = ReqId {
            client: ClientId(epoch),
            generation: Generation(1),
            partition: PARTITION,
            sequence: id,
        };
        let new = NewRecord {
            req_id,
            header: 0,
            computed_at: Mark::NONE,
            writes: &[],
            reads: &[],
            appends: &[],
            data: &vec![b'x'; (id % 7) as usize * 8],
        };
        let (limits, mut encoded) = (Limits::default(), BytesMut::new());
        new.encode(&limits, &mut encoded).unwrap();
        let (record, _) = RecordView::parse(&encoded, &limits).unwrap();
        append_with_id(&record, TransactionId(id), &mut bytes);
    }
    bytes.freeze()
}

/// An entry, where its body went, and its body.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) head: EntryHead,
    pub(crate) place: Option<Place>,
    pub(crate) body: Bytes,
}

/// The node and its journal.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) storage: Storage,
    member: Member,
    planted: Planted,
    tickets: Tickets,
    /// Everything appended, in order; the first `durable` of it is on the disk.
    pub(crate) journal: Vec<Written>,
    pub(crate) durable: usize,
    /// How many of the journal's entries an earlier life of the process wrote.
    inherited: usize,
    pub(crate) reads: VecDeque<(Ticket, Vec<Place>)>,
    /// What the last step reported.
    pub(crate) reports: Vec<Report>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::of(member(1), Planted::NONE)
    }

    pub(crate) fn of(member: Member, planted: Planted) -> Self {
        let mut storage = Storage::new(Limits::default(), planted);
        storage.identify(member);
        Self {
            storage,
            member,
            planted,
            tickets: Tickets::default(),
            journal: Vec::new(),
            durable: 0,
            inherited: 0,
            reads: VecDeque::new(),
            reports: Vec::new(),
        }
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
        self.step(|storage, cx, replies| storage.on_durable(cx, up_to, &places, replies))
    }

    pub(crate) fn sync_all(&mut self) -> Vec<StorageReply> {
        self.sync(usize::MAX)
    }

    /// Ends the oldest read with what the journal holds.
    pub(crate) fn finish_read(&mut self) -> Vec<StorageReply> {
        let (ticket, places) = self.reads.pop_front().expect("a read is under way");
        let body = |place: &Place| {
            let written = self.journal.iter().find(|written| written.place == Some(*place));
            written.expect("a place of the journal").body.clone()
        };
        let bodies = Ok(places.iter().map(body).collect());
        self.step(|storage, cx, replies| storage.on_read(cx, ticket, &bodies, replies))
    }

    pub(crate) fn fail_read(&mut self, error: &str) -> Vec<StorageReply> {
        let (ticket, _) = self.reads.pop_front().expect("a read is under way");
        let result = Err(error.to_owned());
        self.step(|storage, cx, replies| storage.on_read(cx, ticket, &result, replies))
    }

    /// Whoever asked is gone.
    pub(crate) fn close(&mut self, from: Caller) {
        self.storage.on_closed(from);
    }

    /// A crash: what is not durable is lost, the rest is replayed.
    pub(crate) fn restart(&mut self) {
        self.journal.truncate(self.durable);
        self.storage = self.replayed(self.durable);
        self.storage.identify(self.member);
        self.tickets = Tickets::default();
        self.inherited = self.durable;
        self.reads.clear();
    }

    /// What the first `count` entries of the journal fold to.
    pub(crate) fn replayed(&self, count: usize) -> Storage {
        let mut storage = Storage::new(Limits::default(), self.planted);
        for written in &self.journal[..count] {
            storage.replay(&written.head, written.place).expect("what was written fits");
        }
        storage
    }

    /// Flips a bit in the stored record.
    pub(crate) fn rot(&mut self, id: u64) {
        let holds = |written: &&mut Written| {
            matches!(written.head, EntryHead::Records { first, count, .. }
                if first.0 <= id && id < first.0 + u64::from(count))
        };
        let written = self.journal.iter_mut().rev().find(holds).expect("the id is stored");
        let EntryHead::Records { first, .. } = written.head else { unreachable!() };
        let (mut body, limits) = (BytesMut::from(&written.body[..]), Limits::default());
        let mut offset = 0;
        for _ in first.0..id {
            let (record, _) = RecordView::parse(&written.body[offset..], &limits).unwrap();
            offset += record.bytes().len();
        }
        body[offset + 30] ^= 4;
        written.body = body.freeze();
    }

    fn step(
        &mut self,
        step: impl FnOnce(&mut Storage, &mut Context<'_>, &mut Vec<StorageReply>),
    ) -> Vec<StorageReply> {
        let (mut random, mut effects, mut replies) = (Random::new(1), Vec::new(), Vec::new());
        let mut cx = Context {
            now: Time::ZERO,
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
            segment: 1,
            offset: index as u32 * 1000,
            length: entry.body.len() as u32,
        });
        self.journal.push(Written { head: entry.head, place, body: entry.body });
    }
}
