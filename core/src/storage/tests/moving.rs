//! Records of old segments are written again where the journal takes too much space.

use bytes::Bytes;

use crate::id::{Mark, PartitionId, TransactionId};
use crate::journal::EntryHead;
use crate::planted::Planted;
use crate::storage::testing::{
    self, CREATION, PARTITION, Rig, caller, empty_log, member, open, position, run, session,
};
use crate::storage::{CheckpointConfig, SpaceConfig};
use crate::wire::{ReplicaAnswer, ReplicaRequest, ToReplica};

/// Busy, and trimmed behind; the other one is idle.
const BUSY: PartitionId = PartitionId(9);
const SEGMENT_ENTRIES: usize = 4;

fn ask(rig: &mut Rig, partition: PartitionId, request: ReplicaRequest, payload: Bytes) {
    let (creation, session) = (CREATION, session(1));
    rig.send(caller(1), ToReplica { partition, creation, session, request }, payload);
}

/// Two replicas, and old records in one of them.
fn rig(slack_segments: u64) -> Rig {
    rig_with(slack_segments, Planted::NONE)
}

fn rig_with(slack_segments: u64, planted: Planted) -> Rig {
    let mut rig = Rig::of(member(1), planted);
    rig.segment_entries = SEGMENT_ENTRIES;
    rig.config.checkpoints =
        CheckpointConfig { every_bytes: 3000, runs_per_part: 8, ..CheckpointConfig::default() };
    rig.config.space = SpaceConfig {
        segment_bytes: 1000,
        slack_bytes: 1000 * slack_segments,
        bytes_per_second: 1_000_000,
        ..SpaceConfig::default()
    };
    rig.restart();
    rig.begin(1, &[3, 1, 2], Mark::at(TransactionId(5)));
    ask(&mut rig, BUSY, open(), Bytes::new());
    ask(&mut rig, BUSY, ReplicaRequest::Adopt { chosen: empty_log() }, Bytes::new());
    ask(&mut rig, BUSY, ReplicaRequest::Join { at: position(Mark::NONE) }, Bytes::new());
    rig.sync_all();
    rig
}

/// Appends to the busy log and trims it, and lets everything else happen.
fn churn(rig: &mut Rig, from: u64, rounds: u64, mut each: impl FnMut(&Rig)) {
    for id in from..from + rounds {
        let committed = Mark::before(TransactionId(id));
        ask(rig, BUSY, testing::append(id, 1, committed), run(1, id, 1));
        if id > 2 {
            let start = Mark::at(TransactionId(id - 2));
            ask(rig, BUSY, ReplicaRequest::Trim { start }, Bytes::new());
        }
        settle(rig);
        each(rig);
    }
}

fn settle(rig: &mut Rig) {
    let is_busy = |rig: &Rig| {
        let is_written = rig.durable == rig.journal.len();
        !is_written || !rig.reads.is_empty() || rig.storage.deadline().is_some()
    };
    while is_busy(rig) {
        rig.sync_all();
        rig.finish_reads();
        rig.wake();
    }
}

fn span(rig: &Rig) -> usize {
    rig.journal.len() / SEGMENT_ENTRIES + 1 - rig.released.max(1) as usize
}

/// All records of the idle log, as they are read.
fn idle_records(rig: &mut Rig) -> Vec<(u64, Bytes)> {
    let mut records = Vec::new();
    while records.len() < 6 {
        let first = TransactionId(records.last().map_or(0, |(id, _)| id + 1));
        let to = Mark::at(first);
        let read = ReplicaRequest::Read { request: 1, first, to, max_bytes: 1 };
        ask(rig, PARTITION, read, Bytes::new());
        for reply in rig.finish_read() {
            let ReplicaAnswer::Records { first, .. } = reply.message.answer else {
                panic!("{reply:?}")
            };
            records.push((first.0, reply.payload));
        }
    }
    records
}

#[test]
fn the_journal_stays_short_although_old_records_are_kept() {
    let mut rig = rig(8);
    let (before, mut longest) = (idle_records(&mut rig), 0);
    churn(&mut rig, 0, 600, |rig| longest = longest.max(span(rig)));
    // What two checkpoints wait for comes on top.
    assert!(longest < 50, "{longest} segments");
    assert!(rig.storage.moves.bytes() > 0 && rig.released > 100, "{}", rig.released);
    assert_eq!(idle_records(&mut rig), before);

    let replica = rig.replica().unwrap().clone();
    rig.restart();
    assert_eq!(idle_records(&mut rig), before);
    assert_eq!(rig.replica().unwrap().last(), replica.last());
    churn(&mut rig, 600, 1, |_| ());
}

#[test]
fn without_that_one_old_record_pins_everything_since() {
    let mut rig = rig(1 << 40);
    churn(&mut rig, 0, 600, |_| ());
    assert_eq!((rig.storage.moves.bytes(), rig.released), (0, 1));
}

/// What is given up before it was moved is lost.
#[cfg(feature = "planted-bugs")]
#[test]
#[should_panic(expected = "nothing is read that was given up")]
fn giving_up_what_is_held_shows() {
    use crate::planted::PlantedBug;

    let mut rig = rig_with(1 << 40, Planted::bug(PlantedBug::GiveUpHeld));
    churn(&mut rig, 0, 600, |_| ());
    assert!(rig.released > 1);
    idle_records(&mut rig);
}

#[test]
fn an_idle_node_comes_to_rest() {
    let mut rig = rig(0);
    churn(&mut rig, 0, 100, |_| ());
    let before = rig.journal.len();
    rig.sync_all();
    settle(&mut rig);
    assert!(rig.storage.deadline().is_none() && rig.journal.len() == before);
}

#[test]
fn what_can_not_be_read_is_reported_and_the_rest_is_moved() {
    let mut rig = rig(0);
    rig.rot(3);
    let mut reports = Vec::new();
    churn(&mut rig, 0, 40, |rig| reports.extend(rig.reports.clone()));
    assert_eq!(rig.replica().unwrap().damaged_records(), 1);
    let moved = |head: &EntryHead| match head {
        EntryHead::Repair { partition: PARTITION, first, .. } => Some(first.0),
        _ => None,
    };
    let moved: Vec<_> = rig.journal.iter().filter_map(|written| moved(&written.head)).collect();
    assert!(moved.contains(&0) && moved.contains(&4) && !moved.contains(&3), "{moved:?}");
}

#[test]
fn what_was_trimmed_meanwhile_is_not_written_again() {
    let mut rig = rig(0);
    let mut id = 0;
    while rig.storage.moves.deadline().is_some() || rig.storage.moves.bytes() == 0 {
        let committed = Mark::before(TransactionId(id));
        ask(&mut rig, BUSY, testing::append(id, 1, committed), run(1, id, 1));
        rig.sync_all();
        id += 1;
        // The idle log's records are on their way from the disk: now they go.
        if rig.reads.front().is_some_and(|(_, places)| places.len() > 1) {
            let start = Mark::at(TransactionId(5));
            ask(&mut rig, PARTITION, ReplicaRequest::Trim { start }, Bytes::new());
            break;
        }
        if !rig.reads.is_empty() {
            rig.finish_read();
        }
    }
    rig.finish_reads();
    let again = |head: &EntryHead| matches!(head, EntryHead::Repair { partition: PARTITION, .. });
    assert!(!rig.journal.iter().any(|written| again(&written.head)));
    rig.sync_all();
    rig.restart();
    assert_eq!(rig.replica().unwrap().last(), Mark::at(TransactionId(5)));
}
