//! Where a replay may begin instead of with the oldest entry, and what if it may not.

use bytes::Bytes;

use crate::id::{Mark, TransactionId};
use crate::journal::{EntryHead, FoundEntry};
use crate::storage::testing::{Rig, append, run};
use crate::storage::{CheckpointConfig, Storage};
use crate::wire::{ReplicaAnswer, ReplicaRequest};

/// A node that has joined session 1 and written so many runs, with four entries in a segment.
fn rig(runs: u64) -> Rig {
    let mut rig = Rig::new();
    rig.segment_entries = 4;
    rig.config.checkpoints =
        CheckpointConfig { every_bytes: 2000, runs_per_part: 3, bytes_at_once: 0 };
    rig.restart();
    rig.begin(1, &[], Mark::NONE);
    for _ in 0..runs {
        write(&mut rig);
        rig.finish_reads();
    }
    rig
}

fn write(rig: &mut Rig) {
    let last = rig.replica().expect("it is there").last();
    rig.ask(1, append(last.count(), 2, last), run(1, last.count(), 2));
    rig.sync_all();
}

/// The index of the first entry of every part and end of the journal's checkpoints.
fn parts(rig: &Rig) -> Vec<Vec<usize>> {
    let mut checkpoints: Vec<Vec<usize>> = Vec::new();
    for (index, written) in rig.journal.iter().enumerate() {
        match (written.head.clone(), checkpoints.last_mut()) {
            (EntryHead::Checkpoint { part: 0, .. }, _) => checkpoints.push(vec![index]),
            (EntryHead::Checkpoint { .. }, Some(parts)) => parts.push(index),
            _ => {}
        }
    }
    checkpoints
}

/// The first entry of the segment that a replay may begin with.
fn beginning(rig: &Rig) -> usize {
    let segment = rig.replay_from.expect("a checkpoint is complete") as usize;
    (segment - 1) * rig.segment_entries
}

/// The checkpoints that begin where a replay may begin or later, oldest first.
fn recent(rig: &Rig) -> Vec<Vec<usize>> {
    parts(rig).into_iter().filter(|parts| parts[0] >= beginning(rig)).collect()
}

fn replayed(rig: &Rig) -> Storage {
    rig.replayed_from(beginning(rig), rig.journal.len())
}

fn agrees(rig: &Rig, mut storage: Storage) -> bool {
    assert!(storage.is_replay_founded());
    storage.end_replay().expect("a checkpoint came");
    storage.replicas().next().map(|(_, replica)| replica) == rig.replica()
}

#[test]
fn the_first_complete_checkpoint_serves_until_there_are_two() {
    let mut rig = rig(0);
    let mut told = Vec::new();
    for _ in 0..60 {
        write(&mut rig);
        rig.finish_reads();
        told.extend(rig.replay_from.filter(|segment| told.last() != Some(segment)));
    }
    let segments = |parts: &Vec<usize>| (parts[0] / rig.segment_entries) as u32 + 1;
    let begun: Vec<_> = parts(&rig).iter().map(segments).collect();
    // The second one to be complete changes nothing: the first is now what is fallen back on.
    assert!(told.len() >= 2, "{told:?}");
    assert_eq!(told, begun[..told.len()]);
    assert!(agrees(&rig, replayed(&rig)));
}

#[test]
fn recovery_finds_out_by_itself_where_the_next_one_may_begin() {
    // A checkpoint that is there and was not read back yet, recovery has read by the way.
    let (mut same, mut newer) = (0, 0);
    for rig in (60..90).map(rig) {
        for from in [0, beginning(&rig)] {
            let found = rig.replayed_from(from, rig.journal.len()).replay_from();
            assert!(found >= rig.replay_from, "{found:?} from entry {from}");
            if found == rig.replay_from { same += 1 } else { newer += 1 }
        }
    }
    assert!(same > newer && newer > 0, "{same} and {newer}");
}

#[test]
fn a_checkpoint_that_was_not_read_back_is_never_relied_on() {
    let mut rig = rig(0);
    for _ in 0..60 {
        write(&mut rig);
        while !rig.reads.is_empty() {
            rig.fail_read("input/output error");
        }
    }
    assert!(parts(&rig).len() >= 3);
    assert_eq!(rig.replay_from, None);
}

#[test]
fn rot_in_one_checkpoint_leaves_the_next_one_and_rot_in_all_of_them_leaves_the_beginning() {
    let mut rig = rig(60);
    let recent = recent(&rig);
    assert!(recent.len() >= 2, "{recent:?}");
    let sound = rig.journal.clone();
    for &part in &recent[0] {
        rig.journal[part].spoil();
        assert!(agrees(&rig, replayed(&rig)), "part at {part}");
        rig.journal.clone_from(&sound);
    }
    for checkpoint in &recent {
        rig.journal[checkpoint[0]].spoil();
    }
    assert!(!replayed(&rig).is_replay_founded());
    assert!(agrees(&rig, rig.replayed_from(0, rig.journal.len())));
}

#[test]
fn a_journal_that_ends_within_its_checkpoints_is_not_founded() {
    let rig = rig(60);
    let is_end =
        |index: &usize| matches!(rig.journal[*index].head, EntryHead::CheckpointEnd { .. });
    let end = (beginning(&rig)..rig.journal.len()).find(is_end).expect("one is complete");
    for count in [end, end + 1] {
        let storage = rig.replayed_from(beginning(&rig), count);
        assert_eq!(storage.is_replay_founded(), count > end);
    }
}

#[test]
fn a_second_replay_forgets_the_first() {
    let rig = rig(60);
    let mut storage = replayed(&rig);
    storage.mark_suspect();
    storage.begin_replay(false);
    for written in &rig.journal {
        let (head, place, body) = (written.head.clone(), written.place, &written.body[..]);
        let found = FoundEntry { head, place, body, is_damaged: false };
        storage.replay(&found).expect("what was written fits");
    }
    assert_eq!(storage, rig.replayed_from(0, rig.journal.len()));
}

#[test]
fn rot_in_what_is_passed_over_is_found_by_reading_and_never_served() {
    let mut rig = rig(60);
    rig.rot(3);
    rig.restart();
    let replica = rig.replica().expect("it is there");
    assert!(replica.is_whole(), "nobody has read it yet");
    let (first, to) = (TransactionId(2), Mark::at(TransactionId(3)));
    let read = ReplicaRequest::Read { request: 1, first, to, max_bytes: 1000 };
    assert_eq!(rig.ask(1, read, Bytes::new()), []);
    let replies = rig.finish_reads();
    for reply in &replies {
        if let ReplicaAnswer::Records { first, count, .. } = reply.message.answer {
            assert_eq!((first, count, &reply.payload), (TransactionId(2), 1, &run(1, 2, 1)));
        }
    }
    assert!(!rig.replica().expect("it is there").is_whole(), "{replies:?}");
}
