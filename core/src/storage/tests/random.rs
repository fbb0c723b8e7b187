//! Random requests, syncs, rot and crashes, against a naive model.
//!
//! After every step memory equals the model's fold of the whole journal; what is answered is
//! true of the model's fold of the durable part alone; no read ever gives a byte that was not
//! written; and at the end the replay of every prefix equals the model's fold of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::model::Model;
use crate::id::{IdRange, Mark, Position, SetVersion, TransactionId};
use crate::journal::EntryHead;
use crate::log::{LogSummary, SetChange};
use crate::storage::testing::{Rig, append, empty_log, member, open, replicas, run, session};
use crate::storage::{CheckpointConfig, SpaceConfig, Storage, StorageReply};
use crate::wire::{ReplicaAnswer, ReplicaRequest};

fn is_refusal(reply: &StorageReply) -> bool {
    matches!(reply.message.answer, ReplicaAnswer::OutOfPlace { .. } | ReplicaAnswer::Unknown)
}

/// One thing that happens. Offsets are relative to where the log ends, so that most of it fits.
#[derive(Debug, Clone)]
enum Op {
    Open {
        epoch: u64,
    },
    /// A session's first choice is the replica's log without its last `drop` ids; `extend` ids of
    /// a session in between follow, and a change of the replica set if `changes`. All but its last
    /// `keep` ids are trimmed. Later it tells its choice again, perhaps longer, or a shorter one
    /// arrives that was told before.
    Adopt {
        drop: u64,
        extend: u64,
        changes: bool,
        keep: u64,
    },
    Copy {
        back: u64,
        count: u64,
    },
    CopyChange,
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
    Change,
    Trim {
        lag: u64,
    },
    Rot {
        back: u64,
        bit: usize,
    },
    Read {
        back: u64,
    },
    Repair {
        before: u64,
        count: u64,
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
    let adopt = (0..4_u64, 0..4_u64, any::<bool>(), prop_oneof![3 => Just(99), 1 => 0..6_u64]);
    prop_oneof![
        3 => (1..7_u64).prop_map(|half| Op::Open { epoch: half * 2 }),
        6 => adopt.prop_map(|(drop, extend, changes, keep)| {
            Op::Adopt { drop, extend, changes, keep }
        }),
        6 => (0..3_u64, 1..5_u64).prop_map(|(back, count)| Op::Copy { back, count }),
        3 => Just(Op::CopyChange),
        8 => Just(Op::Join),
        12 => (0..8_u64, 0..3_u64, 1..5_u64, 0..9_u64).prop_map(|(ahead, back, count, lag)| {
            Op::Append { ahead: ahead / 7, back, count, lag }
        }),
        2 => (0..9_u64).prop_map(|lag| Op::Commit { lag }),
        2 => Just(Op::Change),
        2 => (0..9_u64).prop_map(|lag| Op::Trim { lag }),
        3 => (0..12_u64, 0..300_usize).prop_map(|(back, bit)| Op::Rot { back, bit }),
        4 => (0..12_u64).prop_map(|back| Op::Read { back }),
        4 => (0..3_u64, 1..5_u64).prop_map(|(before, count)| Op::Repair { before, count }),
        2 => Just(Op::Resume),
        2 => (1..6_u64).prop_map(|epoch| Op::Stale { epoch }),
        8 => (1..6_usize).prop_map(|count| Op::Sync { count }),
        1 => Just(Op::Crash),
    ]
}

/// The node, the model of all it wrote, and what its servers remember.
struct Play {
    rig: Rig,
    model: Model,
    /// The log that each session has chosen, as far as it told.
    choices: BTreeMap<u64, LogSummary>,
    /// The chosen log that was told last, perhaps late.
    told: LogSummary,
}

impl Play {
    fn promised(&self) -> u64 {
        self.model.promise.map_or(2, |session| session.epoch.0)
    }

    fn log(&self) -> LogSummary {
        self.rig.replica().map_or_else(empty_log, |replica| replica.summary().clone())
    }

    /// A session writes in one place: no two logs disagree about where that is. So sessions that
    /// are opened have even epochs, and the odd one before wrote only what its successor chose.
    fn choose(&self, epoch: u64, drop: u64, extend: u64, changes: bool, keep: u64) -> LogSummary {
        let before = self.choices.get(&epoch);
        let (mut chosen, drop) = match before {
            Some(before) => (before.clone(), drop / 3),
            None => (self.log(), drop),
        };
        let kept = chosen.last.count().saturating_sub(drop).max(chosen.start.count());
        chosen.cut(chosen.position_at(Mark::before(TransactionId(kept))));
        if before.is_some_and(|before| chosen.position() < before.position()) {
            return chosen;
        }
        if extend > 0 {
            let first = chosen.last.next();
            let last = Mark::before(TransactionId(first.0 + extend));
            chosen.extend(session(epoch - 1), first, last);
        }
        if changes && before.is_none() {
            chosen.change(next_set(&chosen, epoch - 1));
        }
        let start = Mark::before(TransactionId(chosen.last.count().saturating_sub(keep)));
        if start > chosen.start {
            chosen.trim(start);
        }
        chosen
    }

    fn chosen(&self) -> LogSummary {
        self.choices.get(&self.promised()).cloned().unwrap_or_else(empty_log)
    }

    fn play(&mut self, op: &Op) {
        let written = self.rig.journal.len();
        let replies = match op {
            Op::Sync { count } => {
                let mut replies = self.rig.sync(*count);
                while !self.rig.reads.is_empty() {
                    replies.extend(self.rig.finish_read());
                }
                replies.extend(self.rig.wake());
                replies
            }
            Op::Crash => {
                self.rig.restart();
                // Who was not promised durably has chosen nothing: it never heard of a log.
                let promise = self.rig.replica().and_then(|replica| replica.promise());
                let promised = promise.map_or(0, |session| session.epoch.0);
                self.choices.retain(|epoch, _| *epoch <= promised);
                Vec::new()
            }
            Op::Stale { epoch } => {
                let below = self.promised().saturating_sub(*epoch);
                self.ask_stale(below)
            }
            Op::Open { epoch } => self.rig.ask(*epoch, open(), Bytes::new()),
            Op::Rot { back, bit } => {
                let id = self.model.last.count().saturating_sub(*back + 1);
                if self.is_durable(id) {
                    self.rig.flip(id, *bit);
                }
                Vec::new()
            }
            Op::Read { back } => self.read(self.model.last.count().saturating_sub(*back)),
            other => self.ask_promised(other),
        };
        self.check_written(written);
        self.check_answers(&replies);
        let replica = self.rig.replica().map_or_else(Model::new, Model::of);
        assert_eq!(replica.without_places(), self.model.clone().without_places());
    }

    fn is_durable(&self, id: u64) -> bool {
        let Some(replica) = self.rig.replica() else { return false };
        let id = TransactionId(id);
        replica.index().pieces(id, Mark::at(id), replica.last()).count() > 0
            && !replica.summary().start.includes(id)
    }

    fn ask_stale(&mut self, epoch: u64) -> Vec<StorageReply> {
        let (written, first) = (self.rig.journal.len(), self.model.last.count());
        let replies = self.rig.ask(epoch, append(first, 1, Mark::NONE), run(epoch, first, 1));
        let answer = &replies[0].message.answer;
        match self.model.promise {
            None => assert!(is_refusal(&replies[0]), "{answer:?}"),
            Some(promise) => assert_eq!(*answer, ReplicaAnswer::Fenced { promise }),
        }
        assert_eq!(self.rig.journal.len(), written);
        replies
    }

    fn ask_promised(&mut self, op: &Op) -> Vec<StorageReply> {
        let (epoch, length) = (self.promised(), self.model.last.count());
        let lagging = |lag: &u64| Mark::before(TransactionId(length.saturating_sub(*lag)));
        let (request, payload) = match *op {
            Op::Adopt { drop, extend, changes, keep } => {
                let chosen = self.choose(epoch, drop, extend, changes, keep);
                self.told.clone_from(&chosen);
                let adopt = ReplicaRequest::Adopt { chosen: chosen.clone() };
                let replies = self.rig.ask(epoch, adopt, Bytes::new());
                let longer = |before: &LogSummary| chosen.position() >= before.position();
                let is_news = self.choices.get(&epoch).is_none_or(longer);
                if is_news && !replies.iter().any(is_refusal) {
                    self.choices.insert(epoch, chosen);
                }
                return replies;
            }
            Op::Copy { back, count } => {
                let first = length.saturating_sub(back);
                let chosen = self.chosen();
                let at = |id| chosen.session_at(TransactionId(id));
                let origin = at(first).unwrap_or(session(epoch));
                let same = (first..first + count).take_while(|id| at(*id) == Some(origin)).count();
                let count = (same as u64).max(1);
                let first_id = TransactionId(first);
                let copy = ReplicaRequest::Copy { origin, first: first_id, count: count as u32 };
                (copy, run(origin.epoch.0, first, count))
            }
            Op::CopyChange => {
                let next = self.chosen().change_after(self.model.version()).cloned();
                let Some(next) = next else { return Vec::new() };
                (ReplicaRequest::Change(next), Bytes::new())
            }
            Op::Join => (ReplicaRequest::Join { at: self.chosen().position() }, Bytes::new()),
            Op::Append { ahead, back, count, ref lag } => {
                let first = (length + ahead).saturating_sub(back);
                (append(first, count, lagging(lag)), run(epoch, first, count))
            }
            Op::Commit { ref lag } => {
                (ReplicaRequest::Commit { committed: lagging(lag) }, Bytes::new())
            }
            Op::Change => (ReplicaRequest::Change(next_set(&self.log(), epoch)), Bytes::new()),
            Op::Trim { ref lag } => (ReplicaRequest::Trim { start: lagging(lag) }, Bytes::new()),
            Op::Repair { before, count } => {
                let damaged = self.rig.replica().and_then(|r| r.damage_from(TransactionId(0)));
                let Some(IdRange { first, .. }) = damaged else { return Vec::new() };
                return self.repair(first.0.saturating_sub(before), count);
            }
            _ => (ReplicaRequest::Resume, Bytes::new()),
        };
        self.rig.ask(epoch, request, payload)
    }

    /// Repairs with what the session of the first record wrote, however far.
    fn repair(&mut self, first: u64, count: u64) -> Vec<StorageReply> {
        let Some(kept) = self.model.log.get(&first) else { return Vec::new() };
        let (origin, first_id) = (kept.session, TransactionId(first));
        let request = ReplicaRequest::Repair { origin, first: first_id, count: count as u32 };
        let written = self.rig.journal.len();
        let replies = self.rig.ask(self.promised(), request, run(origin.epoch.0, first, count));
        if let [one, ..] = &self.rig.journal[written..] {
            assert!(matches!(one.head, EntryHead::Repair { session, .. } if session == origin));
        }
        replies
    }

    /// Reads from an id on, as far as can be, and checks what comes.
    fn read(&mut self, first: u64) -> Vec<StorageReply> {
        let (first, to) = (TransactionId(first), self.model.last);
        let read = ReplicaRequest::Read { request: 1, first, to, max_bytes: 500 };
        let mut replies = self.rig.ask(self.promised(), read, Bytes::new());
        replies.extend(self.rig.finish_reads());
        let mut next = first;
        for reply in &replies {
            let ReplicaAnswer::Records { origin, first, count, .. } = reply.message.answer else {
                continue;
            };
            assert_eq!(first, next);
            next = TransactionId(first.0 + u64::from(count));
            let mut sessions = (first.0..next.0).map(|id| self.model.log[&id].session);
            assert!(sessions.all(|session| session == origin));
            assert_eq!(reply.payload, run(origin.epoch.0, first.0, u64::from(count)));
        }
        replies
    }

    /// What was written follows the rules, as far as the model can tell.
    fn check_written(&mut self, written: usize) {
        if self.rig.journal.len() < written {
            self.model = Model::fold(&self.rig.journal);
            return;
        }
        for written in &self.rig.journal[written..] {
            let before = self.model.clone();
            self.model.apply(written);
            match &written.head {
                EntryHead::Cut { keep, .. } => {
                    assert_eq!(*keep, before.common(&self.told));
                    assert!(keep.last >= before.low_water);
                    assert!(!before.joined(before.promise.unwrap()));
                }
                EntryHead::Reset { base, .. } => {
                    assert!(base.start >= before.low_water);
                    assert!(base.start > before.common(&self.told).last);
                }
                EntryHead::Join { session, .. } => {
                    assert_eq!(before.promise, Some(*session));
                    let chosen = self.chosen();
                    assert_eq!(before.position(), chosen.position());
                    assert_eq!(before.common(&chosen), chosen.position());
                }
                EntryHead::Records { session, first, .. } => {
                    assert_eq!(*first, before.last.next());
                    assert!(Some(*session) <= before.promise);
                }
                EntryHead::Trim { start, .. } => assert!(*start <= before.low_water),
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
                ReplicaAnswer::Opened { normal, low_water, damaged, .. } => {
                    assert!(disk.normal >= *normal && disk.low_water >= *low_water);
                    assert!(disk.promise >= Some(session));
                    assert!(damaged.iter().all(|range| range.first <= range.last));
                    true
                }
                ReplicaAnswer::Adopted { at, .. } | ReplicaAnswer::Changed { at } => {
                    assert!(disk.position() >= *at);
                    true
                }
                ReplicaAnswer::Copied { last } => {
                    assert!(disk.last >= *last);
                    true
                }
                ReplicaAnswer::Joined => {
                    assert!(disk.joined(session));
                    true
                }
                ReplicaAnswer::Acked { last } => {
                    assert!(disk.joined(session) && disk.last >= *last);
                    true
                }
                ReplicaAnswer::Resumed { joined, at, .. } => {
                    // Before it joins, an impatient session may have had its own answer cut.
                    assert!(!joined || disk.joined(session) && disk.position() >= *at);
                    true
                }
                ReplicaAnswer::Damaged { .. } => true,
                ReplicaAnswer::Fenced { promise } => {
                    assert_eq!(self.model.promise, Some(*promise));
                    false
                }
                _ => false,
            };
            assert!(!vows || self.model.promise == Some(session), "{reply:?}");
        }
    }

    /// Every record reads back as what its session wrote, once what is rotten is repaired.
    fn check_reads(&mut self) {
        self.rig.restart();
        let chosen = ReplicaRequest::Adopt { chosen: self.log() };
        self.rig.ask(99, open(), Bytes::new());
        self.rig.ask(99, chosen, Bytes::new());
        self.model.apply(self.rig.journal.last().expect("a promise"));
        for id in self.model.start.count()..self.model.last.count() {
            let is_read = |replies: &[StorageReply]| {
                let records = |reply: &StorageReply| {
                    matches!(reply.message.answer, ReplicaAnswer::Records { .. })
                };
                replies.iter().any(records)
            };
            if !is_read(&self.read(id)) {
                self.repair(id, 1);
                self.rig.sync_all();
                assert!(is_read(&self.read(id)), "{id} is repaired");
            }
        }
        assert!(self.rig.replica().is_none_or(|replica| replica.is_whole()));
    }

    /// Any crash leaves what the durable entries say, whether the replay begins with the first
    /// entry or with any checkpoint; and the whole journal leaves what is here.
    fn check_replay(&self) {
        let of = |storage: &Storage| {
            storage.replicas().next().map_or_else(Model::new, |(_, replica)| Model::of(replica))
        };
        let journal = &self.rig.journal;
        let is_begin =
            |index: &usize| matches!(journal[*index].head, EntryHead::Checkpoint { part: 0, .. });
        let begins: Vec<_> = (0..journal.len()).filter(is_begin).collect();
        for count in 0..=journal.len() {
            let model = Model::fold(&journal[..count]);
            assert_eq!(of(&self.rig.replayed_from(0, count)), model);
            for begin in begins.iter().filter(|begin| **begin > 0 && **begin < count) {
                let mut replayed = self.rig.replayed_from(*begin, count);
                let mut rest = journal[*begin..count].iter();
                let ended = rest.any(|w| matches!(w.head, EntryHead::CheckpointEnd { .. }));
                assert_eq!(replayed.end_replay().is_ok(), ended);
                if ended {
                    assert_eq!(of(&replayed), model, "from {begin} to {count}");
                }
            }
        }
        assert_eq!(of(&self.rig.storage), Model::fold(journal));
    }
}

/// The next replica set: with a fourth replica, or without it again.
fn next_set(log: &LogSummary, epoch: u64) -> SetChange {
    let Position { last: at, version } = log.position();
    let version = SetVersion(version.0 + 1);
    let replicas = match version.0 % 2 {
        1 => replicas().with(member(4)),
        _ => replicas(),
    };
    SetChange { version, session: Some(session(epoch)), at, replicas }
}

/// A node that often writes a checkpoint, in small segments.
fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.config.checkpoints =
        CheckpointConfig { every_bytes: 300, runs_per_part: 2, bytes_at_once: 200 };
    // Whatever is old is too much.
    rig.config.space = SpaceConfig {
        segment_bytes: 1 << 20,
        slack_bytes: 0,
        bytes_per_second: u32::MAX,
        ..SpaceConfig::default()
    };
    rig.segment_entries = 5;
    rig.restart();
    rig
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_answers_and_replay_agree_with_the_model(ops in prop::collection::vec(op(), 1..250)) {
        let (choices, told) = (BTreeMap::new(), empty_log());
        let mut play = Play { rig: rig(), model: Model::new(), choices, told };
        for op in &ops {
            play.play(op);
        }
        let replies = play.rig.sync_all();
        play.check_answers(&replies);
        play.check_replay();
        play.check_reads();
    }
}
