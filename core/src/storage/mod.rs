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
mod checkpoint;
mod config;
mod decide;
mod examine;
mod fold;
mod inconsistency;
mod index;
mod measure;
mod moving;
mod ranges;
mod reads;
mod refusal;
mod replica;
mod salvage;
mod scrub;
mod space;
#[cfg(any(test, feature = "planted-bugs"))]
#[cfg_attr(not(test), expect(dead_code, reason = "some of it only tests need"))]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{CreationId, Mark, Member, PartitionId, SessionId};
use crate::io::{Caller, Context, Ticket};
use crate::journal::{Entry, EntryHead, Place};
use crate::limits::Limits;
use crate::log::SetChange;
use crate::planted::{Planted, PlantedBug};
use crate::wire::{FromReplica, ReplicaAnswer, ReplicaRequest, ToReplica};

use answers::{Answers, Fate};
use checkpoint::{Checkpoints, Replay};
use decide::{Decision, Hosted, Terms};
use index::Body;
use moving::Moves;
use reads::{Query, Reads};
use scrub::Scrub;

pub use checkpoint::{NoCheckpoint, Replayed};
pub use config::{CheckpointConfig, ScrubConfig, SpaceConfig, StorageConfig};
pub use inconsistency::{Inconsistency, ReplayError};
pub use replica::Replica;

/// An answer on its way to whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StorageReply {
    /// Who asked.
    pub to: Caller,
    /// The answer.
    pub message: FromReplica,
    /// A run of records, or nothing.
    pub payload: Bytes,
}

/// Whom an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

/// Whose body is on its way to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Owner {
    Replica(PartitionId),
    Checkpoint,
}

/// All replicas of one storage node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Storage {
    limits: Limits,
    planted: Planted,
    member: Option<Member>,
    hosted: BTreeMap<PartitionId, Box<Hosted>>,
    answers: Answers,
    /// Entries with a body whose place is not known yet, in ticket order.
    unplaced: VecDeque<(Ticket, Owner)>,
    reads: Reads,
    scrub: Scrub,
    moves: Moves,
    checkpoints: Checkpoints,
    replay: Replay,
    /// The journal lost entries: what these replicas promised is not known.
    suspect: bool,
    /// The journal says that it belongs to a cluster.
    enrolled: bool,
    /// The disk has no room for the journal's next segment: what is left of it is kept for entries
    /// that trims, sessions and checkpoints need.
    is_full: bool,
    /// Bodies that recovery could not read; until the replay is over.
    damaged_places: BTreeSet<Place>,
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
            scrub: Scrub::default(),
            moves: Moves::default(),
            checkpoints: Checkpoints::default(),
            replay: Replay::default(),
            suspect: false,
            enrolled: false,
            is_full: false,
            damaged_places: BTreeSet::new(),
        }
    }

    /// The journal lost entries, nobody can tell which: from now on these replicas give sound
    /// records and nothing else, and write nothing.
    pub fn mark_suspect(&mut self) {
        self.suspect = true;
    }

    /// Whether the journal lost entries.
    pub fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Says who this node is. Once, after replay and before requests.
    pub fn identify(&mut self, member: Member, config: StorageConfig) {
        assert!(self.member.is_none(), "a storage node is identified once");
        self.member = Some(member);
        self.scrub.configure(config.scrub);
        self.moves.configure(config.space);
        for hosted in self.hosted.values_mut() {
            hosted.weigh(config.space.quota_bytes);
        }
        self.checkpoints.configure(config.checkpoints);
        self.find_damage();
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
        let is_read = matches!(request, ReplicaRequest::Read { .. });
        if self.suspect && !is_read && !self.planted.has(PlantedBug::SuspectVotes) {
            let replica = self.hosted.get(&partition).map(|hosted| &hosted.replica);
            let last = replica.filter(|replica| replica.creation() == creation);
            let last = last.map_or(Mark::NONE, Replica::last);
            replies.push(asker.reply(ReplicaAnswer::Suspect { last }));
            return;
        }
        if let ReplicaRequest::Open { version, replicas, learner } = &request {
            let set = SetChange::initial(*version, replicas.clone());
            self.create_if_named(cx, partition, creation, set, *learner);
        }
        let terms = Terms {
            storage: self.member().storage,
            limits: self.limits,
            is_full: self.is_full,
            planted: self.planted,
        };
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
        let resumes = matches!(request, ReplicaRequest::Resume);
        let trims = matches!(request, ReplicaRequest::Trim { .. });
        let begins = resumes || matches!(request, ReplicaRequest::Open { .. });
        match hosted.decide(session, request, payload, terms) {
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
        if let Some(hosted) = self.hosted.get_mut(&partition) {
            hosted.asked_from(session, from);
        }
        if resumes {
            // It may have been found out while there was no connection.
            self.tell_damage(partition, replies);
        }
        if trims && self.is_full {
            // What it gives up is given back.
            self.checkpoints.hasten();
        }
        if begins {
            self.tell_space(asker, replies);
        }
        self.weigh(cx, partition, replies);
        self.check(partition);
    }

    /// All entries up to a ticket are durable; `places` are those of bodies among them, in order.
    pub fn on_durable(
        &mut self,
        cx: &mut Context<'_>,
        up_to: Ticket,
        places: &[(Ticket, Place)],
        replies: &mut Vec<StorageReply>,
    ) {
        for (ticket, place) in places {
            if let Some(partition) = self.place(*ticket, *place) {
                self.weigh(cx, partition, replies);
            }
        }
        assert!(
            self.unplaced.front().is_none_or(|(ticket, _)| *ticket > up_to),
            "every durable body has a place"
        );
        self.checkpoints.on_durable(up_to);
        let (hosted, planted) = (&self.hosted, self.planted);
        self.answers.release(up_to, |asker| judge(hosted, planted, asker), replies);
    }

    /// Whoever asked is gone: its answers and reads are forgotten.
    pub fn on_closed(&mut self, from: Caller) {
        self.answers.forget(from);
        self.reads.forget(from);
        self.hosted.values_mut().for_each(|hosted| hosted.on_closed(from));
    }

    /// The node's cluster was formed. The journal says so from now on, though it may never get a
    /// replica: whoever knows nothing of that cluster must not take the disk for a new one.
    pub fn enroll(&mut self, cx: &mut Context<'_>) {
        if !self.enrolled && !self.suspect {
            self.record_enrolment(cx);
        }
    }

    /// Whether the disk belongs to a cluster, or may: it keeps replicas, says so, or lost what it
    /// said.
    pub fn is_used(&self) -> bool {
        self.enrolled || self.suspect || !self.hosted.is_empty()
    }

    fn record_enrolment(&mut self, cx: &mut Context<'_>) {
        self.record(cx, Entry { head: EntryHead::Enroll, body: Bytes::new() });
    }

    /// Every replica of this node, by partition.
    pub fn replicas(&self) -> impl Iterator<Item = (PartitionId, &Replica)> {
        self.hosted.iter().map(|(partition, hosted)| (*partition, &hosted.replica))
    }

    /// A partition this node never had comes to be here when its replica set, or the server that
    /// wants it to catch up, names exactly this node with exactly this disk.
    fn create_if_named(
        &mut self,
        cx: &mut Context<'_>,
        partition: PartitionId,
        creation: CreationId,
        set: SetChange,
        learner: Option<Member>,
    ) {
        let member = self.member();
        let named = set.replicas.contains(member) || learner == Some(member);
        if self.hosted.contains_key(&partition) || !named || !set.replicas.is_sound() {
            return;
        }
        let head = EntryHead::Create { partition, creation, set };
        self.record(cx, Entry { head, body: Bytes::new() });
    }

    /// Which disk this is, once it was told.
    pub fn identity(&self) -> Option<Member> {
        self.member
    }

    fn member(&self) -> Member {
        self.member.expect("a storage node is identified before it is asked anything")
    }

    /// Gives an entry to the journal and folds it in.
    fn record(&mut self, cx: &mut Context<'_>, entry: Entry) {
        let head = entry.head.clone();
        self.checkpoints.count(entry.body.len());
        if !matches!(head, EntryHead::Repair { .. }) {
            self.moves.written(entry.body.len() as u64);
        }
        let ticket = cx.append(entry);
        self.answers.appended(ticket);
        if let EntryHead::Records { partition, .. } | EntryHead::Repair { partition, .. } = head {
            self.unplaced.push_back((ticket, Owner::Replica(partition)));
        }
        self.fold(&head, Body::Awaited(ticket)).expect("a decided entry follows from the state");
    }

    fn answer_durably(
        &mut self,
        asker: Asker,
        answer: ReplicaAnswer,
        replies: &mut Vec<StorageReply>,
    ) {
        let early = match answer {
            ReplicaAnswer::Acked { .. } => self.planted.has(PlantedBug::AcknowledgeBeforeSync),
            ReplicaAnswer::Opened { .. } => self.planted.has(PlantedBug::PromiseBeforeSync),
            ReplicaAnswer::Joined => self.planted.has(PlantedBug::JoinBeforeSync),
            _ => false,
        };
        match early {
            true => replies.push(asker.reply(answer)),
            false => self.answers.wait(asker, answer, replies),
        }
    }

    /// A body has its place. Which replica's it is, if it is one's.
    fn place(&mut self, ticket: Ticket, place: Place) -> Option<PartitionId> {
        let (awaited, owner) = *self.unplaced.front()?;
        if awaited != ticket {
            assert!(awaited > ticket, "a place was left out");
            return None;
        }
        self.unplaced.pop_front();
        match owner {
            Owner::Replica(partition) => {
                let hosted = self.hosted.get_mut(&partition);
                hosted.expect("replicas are never removed").replica.placed(ticket, place);
                Some(partition)
            }
            Owner::Checkpoint => {
                self.checkpoints.placed(ticket, place);
                None
            }
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

/// What becomes of an answer that waited for the disk. From the moment a session is promised in
/// memory, nothing of a lower one leaves: it is fenced by the higher one.
fn judge(hosted: &BTreeMap<PartitionId, Box<Hosted>>, planted: Planted, asker: &Asker) -> Fate {
    let unfenced =
        planted.has(PlantedBug::SkipPromiseCheck) || planted.has(PlantedBug::OpenBeforeInFlight);
    let hosted = hosted.get(&asker.partition);
    let promise = hosted.and_then(|hosted| hosted.replica.promise());
    match promise.filter(|promise| asker.session < *promise) {
        Some(_) if planted.has(PlantedBug::StaleCompletion) => {
            let successor = hosted.and_then(|hosted| hosted.successor());
            successor.map_or(Fate::Late, Fate::Leaves)
        }
        Some(promise) if !unfenced => Fate::Fenced(promise),
        _ => Fate::Leaves(*asker),
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
