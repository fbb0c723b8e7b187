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

pub(super) const PARTITION: PartitionId = PartitionId(7);
pub(super) const CREATION: CreationId = CreationId(42);
const MEMBER: Member = Member { node: NodeId(1), storage: StorageId(11) };

pub(super) fn session(epoch: u64) -> SessionId {
    SessionId { epoch: Epoch(epoch), server: NodeId(1), nonce: 5 }
}

pub(super) fn replicas() -> ReplicaSet {
    let other = |n: u32| Member { node: NodeId(n), storage: StorageId(u64::from(n) + 10) };
    ReplicaSet(vec![MEMBER, other(2), other(3)])
}

pub(super) fn caller(n: u64) -> Caller {
    Caller::Peer(ConnectionId::accepted(n))
}

/// `count` records from `first` on; what they hold names the session.
pub(super) fn run(epoch: u64, first: u64, count: u64) -> Bytes {
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
pub(super) struct Written {
    pub(super) head: EntryHead,
    pub(super) place: Option<Place>,
    pub(super) body: Bytes,
}

/// The node and its journal.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) storage: Storage,
    planted: Planted,
    tickets: Tickets,
    /// Everything appended, in order; the first `durable` of it is on the disk.
    pub(super) journal: Vec<Written>,
    pub(super) durable: usize,
    /// How many of the journal's entries an earlier life of the process wrote.
    inherited: usize,
    pub(super) reads: VecDeque<(Ticket, Vec<Place>)>,
    /// What the last step reported.
    pub(super) reports: Vec<Report>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::planted(Planted::NONE)
    }

    pub(super) fn planted(planted: Planted) -> Self {
        let mut storage = Storage::new(Limits::default(), planted);
        storage.identify(MEMBER);
        Self {
            storage,
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
    pub(super) fn replica(&self) -> Option<&Replica> {
        self.storage.replicas().next().map(|(_, replica)| replica)
    }

    /// Asks as the session of that epoch.
    pub(super) fn ask(
        &mut self,
        epoch: u64,
        request: ReplicaRequest,
        payload: Bytes,
    ) -> Vec<StorageReply> {
        self.ask_as(caller(1), epoch, request, payload)
    }

    pub(super) fn ask_as(
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

    pub(super) fn send(
        &mut self,
        from: Caller,
        request: ToReplica,
        payload: Bytes,
    ) -> Vec<StorageReply> {
        self.step(|storage, cx, replies| storage.on_request(cx, from, request, payload, replies))
    }

    /// Makes the next `count` entries durable, in one sync.
    pub(super) fn sync(&mut self, count: usize) -> Vec<StorageReply> {
        let to = self.journal.len().min(self.durable + count);
        let newly = self.durable..to;
        self.durable = to;
        let ticket = |index: usize| Ticket((index + 1 - self.inherited) as u64);
        let places: Vec<_> = newly
            .filter_map(|index| self.journal[index].place.map(|place| (ticket(index), place)))
            .collect();
        let up_to = Ticket((to - self.inherited) as u64);
        self.step(|storage, cx, replies| storage.on_durable(cx, up_to, &places, replies))
    }

    pub(super) fn sync_all(&mut self) -> Vec<StorageReply> {
        self.sync(usize::MAX - self.durable)
    }

    /// Ends the oldest read with what the journal holds.
    pub(super) fn finish_read(&mut self) -> Vec<StorageReply> {
        let (ticket, places) = self.reads.pop_front().expect("a read is under way");
        let body = |place: &Place| {
            let written = self.journal.iter().find(|written| written.place == Some(*place));
            written.expect("a place of the journal").body.clone()
        };
        let bodies = Ok(places.iter().map(body).collect());
        self.step(|storage, cx, replies| storage.on_read(cx, ticket, &bodies, replies))
    }

    pub(super) fn fail_read(&mut self, error: &str) -> Vec<StorageReply> {
        let (ticket, _) = self.reads.pop_front().expect("a read is under way");
        let result = Err(error.to_owned());
        self.step(|storage, cx, replies| storage.on_read(cx, ticket, &result, replies))
    }

    /// A crash: what is not durable is lost, the rest is replayed.
    pub(super) fn restart(&mut self) {
        self.journal.truncate(self.durable);
        self.storage = self.replayed(self.durable);
        self.storage.identify(MEMBER);
        self.tickets = Tickets::default();
        self.inherited = self.durable;
        self.reads.clear();
    }

    /// What the first `count` entries of the journal fold to.
    pub(super) fn replayed(&self, count: usize) -> Storage {
        let mut storage = Storage::new(Limits::default(), self.planted);
        for written in &self.journal[..count] {
            storage.replay(&written.head, written.place).expect("what was written fits");
        }
        storage
    }

    /// Flips a bit in the stored record.
    pub(super) fn rot(&mut self, id: u64) {
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
