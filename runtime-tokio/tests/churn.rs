//! A storage node over real files for a long time: busy logs that are trimmed, and idle ones whose
//! few old records lie in segments that nobody else needs. The directory stays small, and every
//! record that was not trimmed is there in the end.
//!
//! `cargo test -p waltz-runtime-tokio --test churn -- --ignored` does it for a few minutes.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use waltz_core::coordinator::Coordinator;
use waltz_core::id::{
    ClientId, ClusterKey, CreationId, Epoch, Generation, Mark, Member, NodeId, PartitionId,
    ReplicaSet, ReqId, SessionId, SetVersion, StorageId, TransactionId,
};
use waltz_core::io::{Caller, Context, Effect, Ticket, Tickets};
use waltz_core::journal::{Entry, Place};
use waltz_core::limits::Limits;
use waltz_core::log::{LogSummary, SetChange};
use waltz_core::node::Recovered;
use waltz_core::planted::Planted;
use waltz_core::record::{NewRecord, RecordView, append_with_id};
use waltz_core::storage::{Storage, StorageConfig, StorageReply};
use waltz_core::time::{Random, Time};
use waltz_core::wire::{ReplicaAnswer, ReplicaRequest, ToReplica};
use waltz_runtime::journal::{Journal, JournalConfig, Reader};
use waltz_runtime_tokio::FileDisk;

const MEMBER: Member = Member { node: NodeId(1), storage: StorageId(1) };
const SESSION: SessionId = SessionId { epoch: Epoch(1), server: NodeId(1), nonce: 1 };
const SEGMENT_BYTES: u32 = 64 << 10;
const SLACK_BYTES: u64 = 12 * SEGMENT_BYTES as u64;
const CHECKPOINT_EVERY: u64 = 8 * SEGMENT_BYTES as u64;
/// What comes on top is written until one checkpoint counts and the next one does, and their parts,
/// each padded to a block.
const MARGIN_BYTES: u64 = 6 * CHECKPOINT_EVERY;
/// As many as nearly fill two blocks with a record each.
const BUSY: u32 = 6;
const IDLE: u32 = 10;
/// How many records a busy log keeps.
const KEPT: u64 = 20;

fn limits() -> Limits {
    Limits { frame_head: 1 << 10, frame_payload: 32 << 10, ..Limits::default() }
}

fn config() -> JournalConfig {
    JournalConfig {
        cluster: ClusterKey(1),
        node: MEMBER.node,
        segment_bytes: SEGMENT_BYTES,
        limits: limits(),
        planted: Planted::NONE,
    }
}

/// The machine and its journal, without a network.
struct Node {
    disk: FileDisk,
    journal: Journal<FileDisk>,
    reader: Reader<FileDisk>,
    storage: Storage,
    tickets: Tickets,
    now: Time,
    batch: Vec<(Ticket, Entry)>,
    reads: VecDeque<(Ticket, Vec<Place>)>,
    /// Of each log the first id that is kept, and the next one.
    logs: Vec<(u64, u64)>,
    /// What was read.
    records: Vec<Bytes>,
}

impl Node {
    fn open(directory: &Path, slack_bytes: u64, logs: Vec<(u64, u64)>) -> Self {
        let disk = FileDisk::open(directory).unwrap();
        let mut recovered = Recovered::new(limits(), Planted::NONE);
        let (journal, recovery) =
            Journal::open(disk.clone(), config(), recovery_bits(&logs), &mut recovered).unwrap();
        assert_eq!(recovery.suspect, None);
        let mut storage = recovered.storage().clone();
        let mut settings = StorageConfig::default();
        settings.scrub.bytes_per_second = 0;
        settings.checkpoints.every_bytes = CHECKPOINT_EVERY;
        settings.space.segment_bytes = SEGMENT_BYTES;
        settings.space.slack_bytes = slack_bytes;
        storage.identify(MEMBER, settings);
        let reader = Reader::new(disk.clone());
        let (batch, reads, records) = (Vec::new(), VecDeque::new(), Vec::new());
        let (tickets, now) = (Tickets::default(), Time::ZERO);
        Self { disk, journal, reader, storage, tickets, now, batch, reads, logs, records }
    }

    fn begin(directory: &Path, slack_bytes: u64) -> Self {
        let logs = vec![(0, 0); (BUSY + IDLE) as usize];
        let mut node = Self::open(directory, slack_bytes, logs);
        for partition in 0..BUSY + IDLE {
            let set = ReplicaSet(vec![MEMBER]);
            let chosen = LogSummary::new(SetChange::initial(SetVersion::FIRST, set.clone()));
            let at = chosen.position();
            let version = SetVersion::FIRST;
            let open = ReplicaRequest::Open { version, replicas: set, learner: None };
            for request in [open, ReplicaRequest::Adopt { chosen }, ReplicaRequest::Join { at }] {
                node.ask(partition, request, Bytes::new());
            }
        }
        node.settle();
        node
    }

    fn append(&mut self, partition: u32) {
        let (_, next) = &mut self.logs[partition as usize];
        let (first, committed) = (TransactionId(*next), Mark::before(TransactionId(*next)));
        *next += 1;
        let request = ReplicaRequest::Append { first, count: 1, committed };
        self.ask(partition, request, record(partition, first.0));
    }

    fn trim(&mut self, partition: u32, to: u64) {
        let start = Mark::at(TransactionId(to));
        self.ask(partition, ReplicaRequest::Trim { start }, Bytes::new());
        self.logs[partition as usize].0 = to + 1;
    }

    fn ask(&mut self, partition: u32, request: ReplicaRequest, payload: Bytes) {
        let (partition, creation) = (PartitionId(partition), CreationId(1));
        let asked = ToReplica { partition, creation, session: SESSION, request };
        self.step(|storage, cx, out| storage.on_request(cx, Caller::Local, asked, payload, out));
    }

    /// Makes durable what was appended, and does what comes of that and is due.
    fn settle(&mut self) {
        let is_due = |node: &Self| node.storage.deadline().is_some_and(|due| due <= node.now);
        while !self.batch.is_empty() || !self.reads.is_empty() || is_due(self) {
            if is_due(self) {
                self.step(|storage, cx, _| storage.on_timer(cx));
            }
            self.journal.write(std::mem::take(&mut self.batch)).unwrap();
            let synced = self.journal.sync().unwrap();
            self.step(|storage, cx, out| {
                storage.on_durable(cx, synced.up_to, &synced.places, out);
                storage.checkpoint(cx, &Coordinator::new());
            });
            if let Some((ticket, places)) = self.reads.pop_front() {
                let result = self.reader.read(&places).map_err(|error| error.to_string());
                self.step(|storage, cx, out| {
                    storage.on_read(cx, ticket, &result, out);
                    storage.checkpoint(cx, &Coordinator::new());
                });
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.settle();
    }

    fn step(&mut self, step: impl FnOnce(&mut Storage, &mut Context<'_>, &mut Vec<StorageReply>)) {
        let (mut effects, mut replies, mut random) = (Vec::new(), Vec::new(), Random::new(1));
        let (now, tickets) = (self.now, &mut self.tickets);
        let mut cx = Context { now, random: &mut random, tickets, effects: &mut effects };
        step(&mut self.storage, &mut cx, &mut replies);
        for effect in effects {
            match effect {
                Effect::Append { entry, ticket } => self.batch.push((ticket, entry)),
                Effect::Read { ticket, places } => self.reads.push_back((ticket, places)),
                Effect::ReplayFrom { segment } => self.journal.replay_from(segment),
                Effect::Release { below } => {
                    for released in self.journal.release(below).unwrap() {
                        released.remove(&mut self.disk).unwrap();
                    }
                    self.reader.release(below);
                }
                other => panic!("a healthy storage node does not {other:?}"),
            }
        }
        for reply in replies {
            match reply.message.answer {
                ReplicaAnswer::Records { .. } => self.records.push(reply.payload),
                ReplicaAnswer::OutOfPlace { reason } | ReplicaAnswer::ReadFailed { reason, .. } => {
                    panic!("{reason}")
                }
                _ => {}
            }
        }
    }

    /// Every record of every log is what was appended.
    fn check_records(&mut self) {
        for (partition, (start, next)) in (0..).zip(self.logs.clone()) {
            for id in start..next {
                let first = TransactionId(id);
                let to = Mark::at(first);
                let read = ReplicaRequest::Read { request: id, first, to, max_bytes: 1 };
                self.ask(partition, read, Bytes::new());
                self.settle();
                let expected = record(partition, id);
                assert_eq!(self.records.pop(), Some(expected), "record {id} of {partition}");
            }
        }
    }

    fn live_bytes(&self) -> u64 {
        let bytes = |(partition, (start, next)): (u32, &(u64, u64))| {
            (next - start) * record(partition, 0).len() as u64
        };
        (0..).zip(&self.logs).map(bytes).sum()
    }
}

/// Never the same for two openings.
fn recovery_bits(logs: &[(u64, u64)]) -> u64 {
    logs.iter().map(|(_, next)| next).sum()
}

/// About a kilobyte that says whose it is.
fn record(partition: u32, id: u64) -> Bytes {
    let (client, generation) = (ClientId(1), Generation(1));
    let (partition, sequence) = (PartitionId(partition), id + 1);
    let new = NewRecord {
        req_id: ReqId { client, generation, partition, sequence },
        header: 0,
        computed_at: Mark::NONE,
        writes: &[],
        reads: &[],
        appends: &[],
        data: &[id as u8; 1000],
    };
    let (mut encoded, mut run) = (BytesMut::new(), BytesMut::new());
    new.encode(&limits(), &mut encoded).unwrap();
    let (view, _) = RecordView::parse(&encoded, &limits()).unwrap();
    append_with_id(&view, TransactionId(id), &mut run);
    run.freeze()
}

fn directory_bytes(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// So many rounds with a record for each busy log; the most bytes beyond what is allowed.
fn churn(directory: &Path, slack_bytes: u64, rounds: u64) -> (Node, i64) {
    let mut node = Node::begin(directory, slack_bytes);
    for partition in (BUSY..BUSY + IDLE).cycle().take(3 * IDLE as usize) {
        node.append(partition);
        node.settle();
    }
    let mut most = i64::MIN;
    for round in 0..rounds {
        for partition in 0..BUSY {
            node.append(partition);
            if round >= KEPT {
                node.trim(partition, round - KEPT);
            }
        }
        if round % 200 == 0 {
            // Now and then an idle log gets a record, and keeps the older ones.
            node.append(BUSY + (round / 200) as u32 % IDLE);
        }
        node.settle();
        node.pass(Duration::from_millis(10));
        // Of the records, once more what is being moved, and once more what is written meanwhile.
        let allowed = 4 * node.live_bytes() + SLACK_BYTES + MARGIN_BYTES;
        most = most.max(directory_bytes(directory) as i64 - allowed as i64);
    }
    (node, most)
}

fn check(rounds: u64) {
    let directory = tempfile::tempdir().unwrap();
    let (mut node, most) = churn(directory.path(), SLACK_BYTES, rounds);
    assert!(most <= 0, "{most} bytes more than what is allowed");
    node.check_records();
    let logs = std::mem::take(&mut node.logs);
    drop(node);
    let mut node = Node::open(directory.path(), SLACK_BYTES, logs);
    node.check_records();
}

#[test]
fn the_directory_stays_small_and_nothing_is_lost() {
    check(2_000);
}

#[test]
#[ignore = "it takes minutes"]
fn the_directory_stays_small_for_long_and_nothing_is_lost() {
    check(200_000);
}

#[test]
fn without_moving_records_it_would_not() {
    let directory = tempfile::tempdir().unwrap();
    let (_, most) = churn(directory.path(), u64::MAX / 2, 1_000);
    assert!(most > 0, "{most}");
}
