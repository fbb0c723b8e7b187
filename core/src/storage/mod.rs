//! The storage node's replica machine: promises, joins, cuts, records and reads of every
//! partition this node keeps.
//!
//! The state of a replica is a fold over journal entries ([`Replica`]); replay and live requests
//! fold through the same code. Memory runs ahead of the disk: an entry is folded in when it is
//! given to the journal, which is first in, first out, and an answer leaves only in the step whose
//! [`Storage::on_durable`] covers every entry it speaks of.
//!
//! ```text
//! request ─▶ decide ─▶ entry ─▶ journal ······ durable ─▶ answer
//!              │         └────▶ fold (memory)                ▲
//!              └──────────────▶ answer waits behind the newest ticket
//! ```
//!
//! Invariants: low-water mark <= last id; normal session <= promise; the sessions of a log ascend;
//! the index covers the log without a gap; from the moment a session is promised in memory nothing
//! of a lower one is acknowledged, whatever completes.
//!
//! It does not know who serves a partition, what is committed beyond what servers tell it, nor how
//! entries reach the disk.

mod answers;
mod decide;
mod index;
mod reads;
mod refusal;
mod replica;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::id::{CreationId, Member, PartitionId, ReplicaSet, SessionId};
use crate::io::{Caller, Context, Level, Ticket};
use crate::journal::{Entry, EntryHead, Place};
use crate::limits::Limits;
use crate::planted::{Planted, PlantedBug};
use crate::wire::{FromReplica, ReplicaAnswer, ReplicaRequest, ToReplica};

use answers::Answers;
use decide::{Decision, Hosted};
use index::Body;
use reads::{Query, Reads};

pub use replica::{Inconsistency, ReplayError, Replica};

/// An answer on its way to whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StorageReply {
    /// Who asked.
    pub to: Caller,
    /// The answer.
    pub message: FromReplica,
    /// A run of records, or nothing.
    pub payload: Bytes,
}

/// Whom an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Asker {
    to: Caller,
    partition: PartitionId,
    session: SessionId,
}

impl Asker {
    fn reply(self, answer: ReplicaAnswer) -> StorageReply {
        self.reply_with(answer, Bytes::new())
    }

    fn reply_with(self, answer: ReplicaAnswer, payload: Bytes) -> StorageReply {
        let Self { to, partition, session } = self;
        StorageReply { to, message: FromReplica { partition, session, answer }, payload }
    }
}

/// All replicas of one storage node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Storage {
    limits: Limits,
    planted: Planted,
    member: Option<Member>,
    hosted: BTreeMap<PartitionId, Hosted>,
    answers: Answers,
    /// Entries with a body whose place is not known yet, in ticket order.
    unplaced: VecDeque<(Ticket, PartitionId)>,
    reads: Reads,
}

impl Storage {
    /// A storage node without any replica, before its journal is replayed.
    pub fn new(limits: Limits, planted: Planted) -> Self {
        Self {
            limits,
            planted,
            member: None,
            hosted: BTreeMap::new(),
            answers: Answers::default(),
            unplaced: VecDeque::new(),
            reads: Reads::default(),
        }
    }

    /// Folds in an entry that recovery read; `place` is where its body is, if it has one.
    ///
    /// # Errors
    /// When the entry does not follow from those before it.
    pub fn replay(&mut self, head: &EntryHead, place: Option<Place>) -> Result<(), ReplayError> {
        self.fold(head, place.map_or(Body::Missing, Body::At))
    }

    /// Says who this node is. Once, after replay and before requests.
    pub fn identify(&mut self, member: Member) {
        assert!(self.member.is_none(), "a storage node is identified once");
        self.member = Some(member);
    }

    /// A server asks something; `payload` is the frame's.
    pub fn on_request(
        &mut self,
        cx: &mut Context<'_>,
        from: Caller,
        request: ToReplica,
        payload: Bytes,
        replies: &mut Vec<StorageReply>,
    ) {
        let ToReplica { partition, creation, session, request } = request;
        let asker = Asker { to: from, partition, session };
        if let ReplicaRequest::Open { replicas } = &request {
            self.create_if_named(cx, partition, creation, replicas);
        }
        let known = self.hosted.get_mut(&partition);
        let known = known.filter(|hosted| hosted.replica.creation() == creation);
        let Some(hosted) = known else {
            replies.push(refuse_unknown(asker, &request));
            return;
        };
        if let ReplicaRequest::Read { request, first, to, max_bytes } = request {
            let max_bytes = max_bytes.min(self.limits.frame_payload);
            let query = Query { asker, request, first, to, max_bytes };
            if let Err(reason) = self.reads.start(cx, query, &hosted.replica) {
                replies.push(query.failed(reason));
            }
            return;
        }
        match hosted.decide(session, request, payload, &self.limits, self.planted) {
            Ok(Decision::AtOnce(answer)) => replies.push(asker.reply(answer)),
            Ok(Decision::Durably { entry, answer }) => {
                if let Some(entry) = entry {
                    self.record(cx, entry);
                }
                if let Some(answer) = answer {
                    self.answer_durably(asker, answer, replies);
                }
            }
            Err(refusal) => {
                if let Some(level) = refusal.level() {
                    cx.report(level, Some(partition), format!("session {session}: {refusal}"));
                }
                replies.push(asker.reply(refusal.answer()));
            }
        }
        self.check(partition);
    }

    /// All entries up to a ticket are durable; `places` are those of bodies among them, in order.
    pub fn on_durable(
        &mut self,
        _cx: &mut Context<'_>,
        up_to: Ticket,
        places: &[(Ticket, Place)],
        replies: &mut Vec<StorageReply>,
    ) {
        for (ticket, place) in places {
            self.place(*ticket, *place);
        }
        assert!(
            self.unplaced.front().is_none_or(|(ticket, _)| *ticket > up_to),
            "every durable body has a place"
        );
        let (hosted, planted) = (&self.hosted, self.planted);
        let promise = |partition: PartitionId| match planted.has(PlantedBug::SkipPromiseCheck) {
            true => None,
            false => hosted.get(&partition).and_then(|hosted| hosted.replica.promise()),
        };
        self.answers.release(up_to, promise, replies);
    }

    /// A read ended. Tickets of others are ignored.
    pub fn on_read(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        result: &Result<Vec<Bytes>, String>,
        replies: &mut Vec<StorageReply>,
    ) {
        let Some(read) = self.reads.take(ticket) else { return };
        let partition = read.query.asker.partition;
        let Some(hosted) = self.hosted.get(&partition) else {
            // Replicas are never removed, and a read starts only at one that is here.
            unreachable!("a read of {partition}, which this node does not keep");
        };
        let outcome = read.finish(&hosted.replica, result, &self.limits, replies);
        if let Err(fault) = outcome {
            cx.report(Level::Error, Some(partition), fault);
        }
    }

    /// Whoever asked is gone: its answers and reads are forgotten.
    pub fn on_closed(&mut self, from: Caller) {
        self.answers.forget(from);
        self.reads.forget(from);
    }

    /// Every replica of this node, by partition.
    pub fn replicas(&self) -> impl Iterator<Item = (PartitionId, &Replica)> {
        self.hosted.iter().map(|(partition, hosted)| (*partition, &hosted.replica))
    }

    /// A partition this node never had comes to be here when its replica set names exactly this
    /// node with exactly this disk.
    fn create_if_named(
        &mut self,
        cx: &mut Context<'_>,
        partition: PartitionId,
        creation: CreationId,
        replicas: &ReplicaSet,
    ) {
        let member = self.member.expect("a storage node is identified before it is asked anything");
        if self.hosted.contains_key(&partition) || !replicas.contains(member) {
            return;
        }
        let head = EntryHead::Create { partition, creation, replicas: replicas.clone() };
        self.record(cx, Entry { head, body: Bytes::new() });
    }

    /// Gives an entry to the journal and folds it in.
    fn record(&mut self, cx: &mut Context<'_>, entry: Entry) {
        let head = entry.head.clone();
        let ticket = cx.append(entry);
        self.answers.appended(ticket);
        if let EntryHead::Records { partition, .. } = head {
            self.unplaced.push_back((ticket, partition));
        }
        self.fold(&head, Body::Awaited(ticket)).expect("a decided entry follows from the state");
    }

    /// The fold: what an entry makes of the state, in replay and live.
    fn fold(&mut self, head: &EntryHead, body: Body) -> Result<(), ReplayError> {
        match head {
            EntryHead::Create { partition, creation, replicas } => {
                if self.hosted.contains_key(partition) {
                    return Err(Inconsistency::Created.at(*partition));
                }
                let replica = Replica::new(*partition, *creation, replicas.clone());
                self.hosted.insert(*partition, Hosted::new(replica));
                Ok(())
            }
            EntryHead::Promise { partition, session } => {
                self.hosted_mut(*partition)?.promise(*session)
            }
            EntryHead::Join { partition, session } => self.hosted_mut(*partition)?.join(*session),
            EntryHead::Cut { partition, keep } => self.hosted_mut(*partition)?.replica.cut(*keep),
            EntryHead::Records { partition, session, first, count, low_water } => {
                let replica = &mut self.hosted_mut(*partition)?.replica;
                replica.extend(*session, *first, *count, *low_water, body)
            }
            EntryHead::LowWater { partition, mark } => {
                self.hosted_mut(*partition)?.replica.raise_low_water(*mark)
            }
            EntryHead::Coordinator(_) => Ok(()),
        }
    }

    fn hosted_mut(&mut self, partition: PartitionId) -> Result<&mut Hosted, ReplayError> {
        self.hosted.get_mut(&partition).ok_or(Inconsistency::NotCreated.at(partition))
    }

    fn answer_durably(
        &mut self,
        asker: Asker,
        answer: ReplicaAnswer,
        replies: &mut Vec<StorageReply>,
    ) {
        let early = self.planted.has(PlantedBug::AcknowledgeBeforeSync)
            && matches!(answer, ReplicaAnswer::Acked { .. });
        match early {
            true => replies.push(asker.reply(answer)),
            false => self.answers.wait(asker, answer, replies),
        }
    }

    fn place(&mut self, ticket: Ticket, place: Place) {
        match self.unplaced.front() {
            Some((awaited, partition)) if *awaited == ticket => {
                let hosted = self.hosted.get_mut(partition);
                hosted.expect("replicas are never removed").replica.placed(ticket, place);
                self.unplaced.pop_front();
            }
            Some((awaited, _)) => assert!(*awaited > ticket, "a place was left out"),
            None => {}
        }
    }

    fn check(&self, partition: PartitionId) {
        debug_assert!(
            self.hosted.get(&partition).is_none_or(|hosted| hosted.replica.is_consistent()),
            "{:?}",
            self.hosted.get(&partition)
        );
    }
}

/// What someone hears who asks for a replica that is not here.
fn refuse_unknown(asker: Asker, request: &ReplicaRequest) -> StorageReply {
    match request {
        ReplicaRequest::Read { request, .. } => {
            let reason = "this node is no replica of that creation of the partition".to_owned();
            asker.reply(ReplicaAnswer::ReadFailed { request: *request, reason })
        }
        _ => asker.reply(ReplicaAnswer::Unknown),
    }
}

/// The session's name for people; there may be none.
fn named(session: Option<SessionId>) -> String {
    session.map_or_else(|| "none".to_owned(), |session| session.to_string())
}
