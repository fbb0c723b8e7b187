//! Checkpoints: what they cost, what they give back, and what is needed of them.

use bytes::Bytes;

use crate::coordinator::{Change, Coordinator, Revision};
use crate::id::{Mark, PartitionId, TransactionId};
use crate::io::Level;
use crate::journal::EntryHead;
use crate::storage::testing::{self, Rig, run};
use crate::storage::{CheckpointConfig, NoCheckpoint, Replayed};
use crate::wire::{ReplicaAnswer, ReplicaRequest, ToReplica};

/// A node that has joined session 1, with four entries in a segment.
fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.segment_entries = 4;
    rig.config.checkpoints =
        CheckpointConfig { every_bytes: 2000, runs_per_part: 3, bytes_at_once: 0 };
    rig.restart();
    rig.begin(1, &[], Mark::NONE);
    rig
}

/// Appends and commits so many runs of two records, a sync each; reads end at once.
fn append(rig: &mut Rig, runs: u64) {
    for _ in 0..runs {
        append_only(rig);
        rig.finish_reads();
    }
}

fn settle(rig: &mut Rig) {
    rig.sync_all();
    rig.finish_reads();
}

fn trim(rig: &mut Rig, last: u64) {
    let start = Mark::at(TransactionId(last));
    rig.ask(1, ReplicaRequest::Trim { start }, Bytes::new());
    settle(rig);
}

/// Where the journal's checkpoints begin and end.
fn bounds(rig: &Rig) -> (Vec<usize>, Vec<usize>) {
    let of = |wanted: fn(&EntryHead) -> bool| {
        (0..rig.journal.len()).filter(|index| wanted(&rig.journal[*index].head)).collect()
    };
    let begins = of(|head| matches!(head, EntryHead::Checkpoint { part: 0, .. }));
    (begins, of(|head| matches!(head, EntryHead::CheckpointEnd { .. })))
}

fn read_all(rig: &mut Rig) {
    let (start, last) = (rig.replica().unwrap().summary().start, rig.replica().unwrap().last());
    let mut next = start.next();
    while last.includes(next) {
        let read = ReplicaRequest::Read { request: 1, first: next, to: last, max_bytes: 1000 };
        assert_eq!(rig.ask(1, read, Bytes::new()), []);
        for reply in rig.finish_read() {
            let ReplicaAnswer::Records { first, count, .. } = reply.message.answer else {
                panic!("{reply:?}")
            };
            assert_eq!((first, &reply.payload), (next, &run(1, next.0, count.into())));
            next = TransactionId(next.0 + u64::from(count));
        }
    }
}

#[test]
fn parts_are_bounded_and_come_one_at_a_time_between_other_entries() {
    let mut rig = rig();
    append(&mut rig, 60);
    let (begins, ends) = bounds(&rig);
    assert!(begins.len() >= 3 && ends.len() >= 2, "{begins:?} {ends:?}");
    let parts: Vec<_> =
        (0..rig.journal.len()).filter(|index| is_part(&rig.journal[*index].head)).collect();
    assert!(parts.windows(2).all(|pair| pair[1] > pair[0] + 1), "{parts:?}");
    assert!(parts.iter().all(|index| rig.journal[*index].body.len() < 200));
}

#[test]
fn many_small_replicas_take_few_syncs_and_reads() {
    // How many syncs and reads a checkpoint of 100 replicas takes.
    let cost = |bytes_at_once| {
        let mut rig = Rig::new();
        rig.config.checkpoints =
            CheckpointConfig { every_bytes: 1, bytes_at_once, ..CheckpointConfig::default() };
        for partition in 0..100 {
            let (partition, creation) = (PartitionId(partition), testing::CREATION);
            let session = testing::session(1);
            let request = ToReplica { partition, creation, session, request: testing::open() };
            rig.send(testing::caller(1), request, Bytes::new());
        }
        rig.sync_all();
        rig.restart();
        let (mut syncs, mut reads) = (0, 0);
        while rig.durable < rig.journal.len() || syncs == 0 {
            rig.sync_all();
            syncs += 1;
        }
        while !rig.reads.is_empty() {
            rig.finish_read();
            reads += 1;
        }
        assert_eq!((rig.storage.checkpoints.begun(), bounds(&rig).1.len()), (1, 1));
        let parts = rig.journal.iter().filter(|written| is_part(&written.head)).count();
        assert_eq!(parts, 102, "a beginning, the coordinator, and the replicas");
        (syncs, reads)
    };
    assert_eq!(cost(0), (104, 102));
    assert_eq!(cost(u64::MAX), (4, 1));
}

fn is_part(head: &EntryHead) -> bool {
    matches!(head, EntryHead::Checkpoint { .. })
}

/// What an entry is taken to cost beside its body.
const HEAD_BYTES: usize = 64;

#[test]
fn no_more_is_written_for_checkpoints_than_for_all_else() {
    let mut rig = rig();
    rig.config.checkpoints = CheckpointConfig { every_bytes: 1, ..CheckpointConfig::default() };
    for _ in 0..3 {
        rig.restart();
        append(&mut rig, 150);
        let bytes_of = |parts: bool| {
            let wanted = rig.journal.iter().filter(|written| is_part(&written.head) == parts);
            wanted.map(|written| HEAD_BYTES + written.body.len()).sum::<usize>()
        };
        let (parts, others) = (bytes_of(true), bytes_of(false));
        assert!(parts <= others, "{parts} bytes of checkpoints beside {others} bytes");
    }
    assert!(bounds(&rig).1.len() > 3);
}

#[test]
fn segments_are_released_as_far_as_neither_checkpoints_nor_records_need_them() {
    let mut rig = rig();
    append(&mut rig, 80);
    assert_eq!(rig.released, 1, "the first records are in the first segment");
    let last = rig.replica().unwrap().last().count() - 10;
    trim(&mut rig, last);
    assert_eq!(rig.released, 1, "nothing is released before a checkpoint knows of the trim");
    append(&mut rig, 60);
    let (begins, ends) = bounds(&rig);
    let released = (rig.released as usize - 1) * rig.segment_entries;
    assert!(released > 0 && released <= begins[ends.len() - 2], "{released} {begins:?} {ends:?}");

    let before = rig.replica().unwrap().clone();
    rig.restart();
    assert_eq!(rig.replica(), Some(&before));
    read_all(&mut rig);
    append(&mut rig, 60);
    rig.restart();
    read_all(&mut rig);
}

#[test]
fn a_part_that_can_not_be_read_back_gives_nothing_back() {
    let mut rig = rig();
    append(&mut rig, 20);
    let last = rig.replica().unwrap().last().count() - 2;
    trim(&mut rig, last);
    let mut reports = Vec::new();
    for _ in 0..200 {
        append_only(&mut rig);
        while let Some((_, places)) = rig.reads.front() {
            let place = places[0];
            let read = rig.journal.iter().find(|written| written.place == Some(place));
            let is_part = read.is_some_and(|written| is_part(&written.head));
            match is_part {
                true => rig.fail_read("input/output error"),
                false => rig.finish_read(),
            };
            reports.append(&mut rig.reports);
        }
    }
    assert!(bounds(&rig).1.len() >= 3);
    assert_eq!(rig.released, 0);
    assert!(reports.iter().all(|report| report.level == Level::Error), "{reports:?}");
    assert!(reports[0].text.contains("checkpoint 1 can't be read back"), "{reports:?}");
}

fn append_only(rig: &mut Rig) {
    let last = rig.replica().unwrap().last();
    rig.ask(1, testing::append(last.count(), 2, last), run(1, last.count(), 2));
    rig.sync_all();
}

/// Replays from the first checkpoint's beginning, with one entry damaged; how it ends, and whether
/// the replica is what it is.
fn replayed_with_rot(rig: &mut Rig, rotten: usize) -> (Result<(), NoCheckpoint>, bool) {
    let sound = rig.journal[rotten].clone();
    rig.journal[rotten].spoil();
    let mut storage = rig.replayed_from(bounds(rig).0[0], rig.journal.len());
    rig.journal[rotten] = sound;
    let ended = storage.end_replay();
    let mut replicas = storage.replicas().map(|(_, replica)| replica);
    (ended, replicas.next() == rig.replica())
}

#[test]
fn a_damaged_checkpoint_leaves_the_next_one() {
    let mut rig = rig();
    append(&mut rig, 60);
    let (begins, ends) = bounds(&rig);
    assert!(ends.len() >= 2);
    for index in begins[0]..ends[0] {
        if is_part(&rig.journal[index].head) {
            assert_eq!(replayed_with_rot(&mut rig, index), (Ok(()), true), "part at {index}");
        }
    }
}

#[test]
fn without_a_checkpoint_a_released_beginning_is_an_error_unless_the_journal_is_suspect() {
    let mut rig = rig();
    append(&mut rig, 10);
    let (_, ends) = bounds(&rig);
    let count = ends.first().copied().unwrap_or(rig.journal.len());
    let mut storage = rig.replayed_from(1, count);
    assert_eq!(storage.end_replay(), Err(NoCheckpoint));
    let mut storage = rig.replayed_from(1, count);
    storage.mark_suspect();
    assert_eq!(storage.end_replay(), Ok(()));
    assert_eq!(storage.replicas().count(), 0);
}

#[test]
fn the_coordinators_state_comes_with_the_checkpoint() {
    let mut rig = rig();
    let change = |revision| Change {
        revision: Revision(revision),
        key: "nodes/1".to_owned(),
        value: Some((Bytes::from_static(b"here"), None)),
    };
    rig.coordinator.replay(&change(1)).unwrap();
    append(&mut rig, 60);
    let (begins, _) = bounds(&rig);
    let said = rig.meanings(begins[0]);
    assert_eq!(said[0], Replayed::Restarted);
    let restored = said.iter().find_map(|replayed| match replayed {
        Replayed::Coordinator(snapshot) => Some(Coordinator::restored(snapshot.clone())),
        _ => None,
    });
    assert_eq!(restored.as_ref(), Some(&rig.coordinator));
    assert!(restored.is_some_and(|mut restored| restored.replay(&change(2)).is_ok()));
}

#[test]
fn that_a_disk_belongs_to_a_cluster_outlives_restarts_and_released_segments() {
    let mut rig = Rig::new();
    assert!(!rig.storage.is_used());
    rig.enroll();
    rig.enroll();
    assert_eq!(rig.journal.len(), 1, "once is enough");
    rig.sync_all();
    rig.restart();
    assert!(rig.storage.is_used() && rig.replica().is_none());

    rig.segment_entries = 4;
    rig.config.checkpoints =
        CheckpointConfig { every_bytes: 2000, runs_per_part: 3, bytes_at_once: 300 };
    rig.restart();
    rig.begin(1, &[], Mark::NONE);
    append(&mut rig, 40);
    let last = rig.replica().unwrap().last().count() - 2;
    trim(&mut rig, last);
    append(&mut rig, 60);
    rig.restart();
    assert!(rig.released > 1 && rig.storage.enrolled, "released below {}", rig.released);
}
