//! Random requests, syncs and crashes, against a model that keeps one session name an id.
//!
//! After every step memory equals the model's fold of the whole journal; what is answered is
//! true of the model's fold of the durable part alone; and at the end the replay of every prefix
//! equals the model's fold of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use crate::id::{Mark, SessionId, TransactionId};
use crate::journal::EntryHead;
use crate::storage::testing::{Rig, Written, replicas, run, session};
use crate::storage::{Replica, StorageReply};
use crate::wire::{LogSummary, ReplicaAnswer, ReplicaRequest};

/// A replica's log as the session of each id, and its marks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Model {
    log: Vec<SessionId>,
    promise: Option<SessionId>,
    normal: Option<SessionId>,
    low_water: Mark,
}

impl Model {
    fn fold<'a>(journal: impl IntoIterator<Item = &'a Written>) -> Self {
        let mut model = Self::default();
        journal.into_iter().for_each(|written| model.apply(&written.head));
        model
    }

    fn apply(&mut self, head: &EntryHead) {
        match head {
            EntryHead::Promise { session, .. } => self.promise = Some(*session),
            EntryHead::Join { session, .. } => self.normal = Some(*session),
            EntryHead::Cut { keep, .. } => self.log.truncate(keep.count() as usize),
            EntryHead::Records { session, count, low_water, .. } => {
                self.log.extend((0..*count).map(|_| *session));
                self.low_water = *low_water;
            }
            EntryHead::LowWater { mark, .. } => self.low_water = *mark,
            EntryHead::Create { .. } | EntryHead::Coordinator(_) => {}
        }
    }

    fn of(replica: &Replica) -> Self {
        let last = replica.last();
        let session = |id| replica.summary().session_at(TransactionId(id)).unwrap();
        Self {
            log: (0..last.count()).map(session).collect(),
            promise: replica.promise(),
            normal: replica.normal(),
            low_water: replica.low_water(),
        }
    }

    fn last(&self) -> Mark {
        Mark::before(TransactionId(self.log.len() as u64))
    }

    fn joined(&self, session: SessionId) -> bool {
        self.normal == Some(session)
    }

    /// How far two logs are the same, id by id.
    fn common(&self, chosen: &[SessionId]) -> usize {
        let pairs = self.log.iter().zip(chosen);
        pairs
            .enumerate()
            .filter(|(_, (a, b))| a == b)
            .map(|(id, _)| id + 1)
            .next_back()
            .unwrap_or(0)
    }
}

fn summary(log: &[SessionId]) -> LogSummary {
    let mut summary = LogSummary::default();
    for (id, session) in log.iter().enumerate() {
        let id = TransactionId(id as u64);
        summary.extend(*session, id, id.mark());
    }
    summary
}

fn is_refusal(reply: &StorageReply) -> bool {
    matches!(reply.message.answer, ReplicaAnswer::OutOfPlace { .. } | ReplicaAnswer::Unknown)
}

/// One thing that happens. Offsets are relative to where the log ends, so that most of it fits.
#[derive(Debug, Clone)]
enum Op {
    Open {
        epoch: u64,
    },
    /// A session's first choice is the replica's log without its last `drop` ids, later ones are
    /// its first without so many; `extend` ids of a session in between follow.
    Adopt {
        drop: usize,
        extend: usize,
    },
    Copy {
        back: u64,
        count: u64,
    },
    Join,
    Append {
        ahead: u64,
        back: u64,
        count: u64,
        lag: u64,
    },
    Commit {
        lag: u64,
    },
    Resume,
    Stale {
        epoch: u64,
    },
    Sync {
        count: usize,
    },
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (1..7_u64).prop_map(|half| Op::Open { epoch: half * 2 }),
        6 => (0..4_usize, 0..4_usize).prop_map(|(drop, extend)| Op::Adopt { drop, extend }),
        6 => (0..3_u64, 1..5_u64).prop_map(|(back, count)| Op::Copy { back, count }),
        8 => Just(Op::Join),
        12 => (0..8_u64, 0..3_u64, 1..5_u64, 0..9_u64).prop_map(|(ahead, back, count, lag)| {
            Op::Append { ahead: ahead / 7, back, count, lag }
        }),
        2 => (0..9_u64).prop_map(|lag| Op::Commit { lag }),
        2 => Just(Op::Resume),
        2 => (1..6_u64).prop_map(|epoch| Op::Stale { epoch }),
        8 => (1..6_usize).prop_map(|count| Op::Sync { count }),
        1 => Just(Op::Crash),
    ]
}

/// The node, the model of all it wrote, and what its servers remember.
struct Run {
    rig: Rig,
    model: Model,
    /// What each session had adopted last.
    choices: BTreeMap<u64, Vec<SessionId>>,
}

impl Run {
    fn promised(&self) -> u64 {
        self.model.promise.map_or(2, |session| session.epoch.0)
    }

    /// A session writes in one place: no two logs disagree about where that is. So sessions that
    /// are opened have even epochs, and the odd one before wrote only what its successor chose.
    fn choose(&self, epoch: u64, drop: usize, extend: usize) -> Vec<SessionId> {
        let (base, drop) = match self.choices.get(&epoch) {
            Some(before) => (before, drop / 3),
            None => (&self.model.log, drop),
        };
        let mut chosen = base[..base.len().saturating_sub(drop)].to_vec();
        chosen.extend(std::iter::repeat_n(session(epoch - 1), extend));
        chosen
    }

    fn chosen(&self) -> &[SessionId] {
        self.choices.get(&self.promised()).map_or(&[], Vec::as_slice)
    }

    fn play(&mut self, op: &Op) {
        let written = self.rig.journal.len();
        let replies = match op {
            Op::Sync { count } => self.rig.sync(*count),
            Op::Crash => {
                self.rig.restart();
                Vec::new()
            }
            Op::Stale { epoch } => {
                let below = self.promised().saturating_sub(*epoch);
                self.ask_stale(below)
            }
            Op::Open { epoch } => {
                let open = ReplicaRequest::Open { replicas: replicas() };
                self.rig.ask(*epoch, open, Bytes::new())
            }
            other => self.ask_promised(other),
        };
        self.check_written(written);
        self.check_answers(&replies);
        let replica = self.rig.replica().map(Model::of).unwrap_or_default();
        assert_eq!(replica, self.model);
    }

    fn ask_stale(&mut self, epoch: u64) -> Vec<StorageReply> {
        let (written, first) = (self.rig.journal.len(), self.model.log.len() as u64);
        let request =
            ReplicaRequest::Append { first: TransactionId(first), count: 1, committed: Mark::NONE };
        let replies = self.rig.ask(epoch, request, run(epoch, first, 1));
        let answer = &replies[0].message.answer;
        match self.model.promise {
            None => assert!(is_refusal(&replies[0]), "{answer:?}"),
            Some(promise) => assert_eq!(*answer, ReplicaAnswer::Fenced { promise }),
        }
        assert_eq!(self.rig.journal.len(), written);
        replies
    }

    fn ask_promised(&mut self, op: &Op) -> Vec<StorageReply> {
        let (epoch, length) = (self.promised(), self.model.log.len() as u64);
        let lagging = |lag: &u64| Mark::before(TransactionId(length.saturating_sub(*lag)));
        let (request, payload) = match *op {
            Op::Adopt { drop, extend } => {
                let chosen = self.choose(epoch, drop, extend);
                let adopt = ReplicaRequest::Adopt { chosen: summary(&chosen) };
                let replies = self.rig.ask(epoch, adopt, Bytes::new());
                if !replies.iter().any(is_refusal) {
                    self.choices.insert(epoch, chosen);
                }
                return replies;
            }
            Op::Copy { back, count } => {
                let first = length.saturating_sub(back);
                let origin = self.chosen().get(first as usize).copied().unwrap_or(session(epoch));
                let ids = first as usize..(first + count) as usize;
                let same = ids.take_while(|id| self.chosen().get(*id) == Some(&origin)).count();
                let count = (same as u64).max(1);
                let first_id = TransactionId(first);
                let copy = ReplicaRequest::Copy { origin, first: first_id, count: count as u32 };
                (copy, run(origin.epoch.0, first, count))
            }
            Op::Join => {
                let at = Mark::before(TransactionId(self.chosen().len() as u64));
                (ReplicaRequest::Join { at }, Bytes::new())
            }
            Op::Append { ahead, back, count, ref lag } => {
                let first = (length + ahead).saturating_sub(back);
                let (first_id, committed) = (TransactionId(first), lagging(lag));
                let count32 = count as u32;
                let append = ReplicaRequest::Append { first: first_id, count: count32, committed };
                (append, run(epoch, first, count))
            }
            Op::Commit { ref lag } => {
                (ReplicaRequest::Commit { committed: lagging(lag) }, Bytes::new())
            }
            _ => (ReplicaRequest::Resume, Bytes::new()),
        };
        self.rig.ask(epoch, request, payload)
    }

    /// What was written follows the rules, as far as the model can tell.
    fn check_written(&mut self, written: usize) {
        if self.rig.journal.len() < written {
            self.model = Model::fold(&self.rig.journal);
            return;
        }
        for written in &self.rig.journal[written..] {
            let before = self.model.clone();
            self.model.apply(&written.head);
            match &written.head {
                EntryHead::Cut { keep, .. } => {
                    assert_eq!(keep.count() as usize, before.common(self.chosen()));
                    assert!(*keep >= before.low_water && !before.joined(before.promise.unwrap()));
                }
                EntryHead::Join { session, .. } => {
                    assert_eq!(
                        (before.promise, before.log),
                        (Some(*session), self.chosen().to_vec())
                    );
                }
                EntryHead::Records { session, first, .. } => {
                    assert_eq!(first.0 as usize, before.log.len());
                    assert!(Some(*session) <= before.promise);
                }
                _ => {}
            }
            assert!(self.model.low_water >= before.low_water);
            assert!(self.model.promise >= before.promise);
        }
    }

    /// Whatever is answered is durable, and of the promised session.
    fn check_answers(&self, replies: &[StorageReply]) {
        let disk = Model::fold(&self.rig.journal[..self.rig.durable]);
        for reply in replies {
            let session = reply.message.session;
            let vows = match &reply.message.answer {
                ReplicaAnswer::Opened { normal, low_water, .. } => {
                    assert!(disk.normal >= *normal && disk.low_water >= *low_water);
                    assert!(disk.promise >= Some(session));
                    true
                }
                ReplicaAnswer::Adopted { last } | ReplicaAnswer::Copied { last } => {
                    assert!(disk.last() >= *last);
                    true
                }
                ReplicaAnswer::Joined => {
                    assert!(disk.joined(session));
                    true
                }
                ReplicaAnswer::Acked { last } => {
                    assert!(disk.joined(session) && disk.last() >= *last);
                    true
                }
                ReplicaAnswer::Resumed { joined, last } => {
                    // Before it joins, an impatient session may have had its own answer cut.
                    assert!(!joined || disk.joined(session) && disk.last() >= *last);
                    true
                }
                ReplicaAnswer::Fenced { promise } => {
                    assert_eq!(self.model.promise, Some(*promise));
                    false
                }
                _ => false,
            };
            assert!(!vows || self.model.promise == Some(session), "{reply:?}");
        }
    }

    /// Every record reads back as what its session wrote.
    fn check_reads(&mut self) {
        let epoch = self.promised();
        for first in 0..self.model.log.len() as u64 {
            let to = self.model.last();
            let first = TransactionId(first);
            let read = ReplicaRequest::Read { request: 1, first, to, max_bytes: 500 };
            assert_eq!(self.rig.ask(epoch, read, Bytes::new()), []);
            let mut next = first;
            for reply in self.rig.finish_read() {
                let ReplicaAnswer::Records { origin, first, count, .. } = reply.message.answer
                else {
                    panic!("{reply:?}")
                };
                assert_eq!(first, next);
                next = TransactionId(first.0 + u64::from(count));
                let ids = first.0 as usize..next.0 as usize;
                assert!(self.model.log[ids].iter().all(|session| *session == origin));
                assert_eq!(reply.payload, run(origin.epoch.0, first.0, u64::from(count)));
            }
            assert!(next > first);
        }
    }

    /// Any crash leaves what the durable entries say, and the whole journal leaves what is here.
    fn check_replay(&self) {
        for count in 0..=self.rig.journal.len() {
            let storage = self.rig.replayed(count);
            let replica = storage.replicas().next().map(|(_, replica)| Model::of(replica));
            let model = Model::fold(&self.rig.journal[..count]);
            assert_eq!(replica.unwrap_or_default(), model);
        }
        let storage = self.rig.replayed(self.rig.journal.len());
        let replayed = storage.replicas().next().map(|(_, replica)| replica);
        assert_eq!(replayed, self.rig.replica());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_answers_and_replay_agree_with_the_model(ops in prop::collection::vec(op(), 1..120)) {
        let mut run = Run { rig: Rig::new(), model: Model::default(), choices: BTreeMap::new() };
        for op in &ops {
            run.play(op);
        }
        let replies = run.rig.sync_all();
        run.check_answers(&replies);
        run.check_replay();
        run.check_reads();
    }
}
