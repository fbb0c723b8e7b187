//! Segments that are not needed any more.

use waltz_core::journal::{Entry, segment_name};
use waltz_core::time::Random;

use super::memory_disk::MemoryDisk;
use super::tests::{commit, control, entries, opened, records, refused};
use super::{Journal, JournalError};
use crate::disk::Disk;

/// A journal of many segments, what is in it, and the segment of each entry's body.
fn many_segments(disk: &MemoryDisk) -> (Journal<MemoryDisk>, Vec<Entry>, Vec<u32>) {
    let (mut journal, ..) = opened(disk, 7);
    let written: Vec<_> = (0..60).map(|number| records(number, 3000)).collect();
    let commit = |(number, entry): (usize, &Entry)| {
        let synced = commit(&mut journal, number as u64, std::slice::from_ref(entry));
        synced.places[0].1.segment
    };
    let segments = written.iter().enumerate().map(commit).collect();
    (journal, written, segments)
}

fn segment_files(disk: &MemoryDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.starts_with("journal-")).collect()
}

fn release(journal: &mut Journal<MemoryDisk>, disk: &MemoryDisk, below: u32) -> usize {
    let released = journal.release(below).expect("the disk works");
    for segment in &released {
        segment.remove(&mut disk.clone()).expect("the file is there");
    }
    released.len()
}

#[test]
fn released_segments_are_gone_for_good_and_the_rest_is_found() {
    let disk = MemoryDisk::default();
    let (mut journal, mut written, segments) = many_segments(&disk);
    let last = segments[59];
    assert!(last >= 4, "{last}");
    assert_eq!(release(&mut journal, &disk, 0), 0);
    assert_eq!(release(&mut journal, &disk, 1), 0);
    assert_eq!(release(&mut journal, &disk, 3), 2);
    assert_eq!(release(&mut journal, &disk, 3), 0, "once");
    commit(&mut journal, 100, &[control(100)]);
    drop(journal);
    written.push(control(100));
    let kept = segments.iter().position(|&segment| segment == 3).expect("it has entries");
    for random in 8..10 {
        let (_, recovery, found) = opened(&disk, random);
        assert_eq!((found.released, recovery.suspect), (Some(true), None));
        assert_eq!(entries(&disk, &found), written[kept..]);
    }
    assert_eq!(segment_files(&disk)[0], segment_name(3));
}

#[test]
fn the_segment_being_written_is_never_released() {
    let disk = MemoryDisk::default();
    let (mut journal, written, segments) = many_segments(&disk);
    let last = segments[59];
    assert_eq!(release(&mut journal, &disk, u32::MAX), last as usize - 1);
    assert_eq!(segment_files(&disk), [segment_name(last), segment_name(last + 1)]);
    drop(journal);
    let (_, _, found) = opened(&disk, 8);
    let kept = segments.iter().position(|&segment| segment == last).expect("it has entries");
    assert_eq!(entries(&disk, &found), written[kept..]);
}

#[test]
fn files_that_were_not_removed_are_removed_by_the_next_opening() {
    let disk = MemoryDisk::default();
    let (mut journal, written, segments) = many_segments(&disk);
    let released = journal.release(4).expect("the disk works");
    released[1].remove(&mut disk.clone()).expect("the file is there");
    drop(journal);
    let (_, _, found) = opened(&disk, 8);
    let kept = segments.iter().position(|&segment| segment == 4).expect("it has entries");
    assert_eq!(found.released, Some(true));
    assert_eq!(entries(&disk, &found), written[kept..]);
    assert_eq!(segment_files(&disk)[0], segment_name(4));
}

#[test]
fn a_segment_that_is_needed_is_missed_all_the_same() {
    let disk = MemoryDisk::default();
    let (mut journal, ..) = many_segments(&disk);
    release(&mut journal, &disk, 3);
    drop(journal);
    disk.clone().remove(&segment_name(3)).expect("it is there");
    let JournalError::Missing { file, needed_by } = refused(&disk) else { panic!("missing") };
    assert_eq!((file, needed_by), (segment_name(3), segment_name(4)));
}

#[test]
fn a_journal_released_up_to_an_empty_segment_still_says_so() {
    let disk = MemoryDisk::default();
    let (journal, ..) = many_segments(&disk);
    drop(journal);
    let (mut journal, ..) = opened(&disk, 8);
    assert!(release(&mut journal, &disk, u32::MAX) > 3);
    drop(journal);
    for random in 9..12 {
        let (_, _, found) = opened(&disk, random);
        assert_eq!((found.released, found.entries.len()), (Some(true), 0));
        assert_eq!(segment_files(&disk).len(), 1);
    }
}

#[test]
fn without_room_for_a_new_segment_nothing_is_released_yet() {
    let disk = MemoryDisk::default();
    let (mut journal, ..) = many_segments(&disk);
    let before = segment_files(&disk);
    disk.stop_after(0);
    assert_eq!(journal.release(3).expect("that is no failure"), []);
    disk.restart();
    assert_eq!(segment_files(&disk), before);
    assert_eq!(release(&mut journal, &disk, 3), 2);
}

#[test]
fn a_crash_at_any_point_of_a_release_leaves_a_journal_that_opens() {
    let sound = MemoryDisk::default();
    let (journal, written, segments) = many_segments(&sound);
    drop(journal);
    let kept = segments.iter().position(|&segment| segment == 4).expect("it has entries");
    let mut outcomes = Vec::new();
    for operations in 0..30 {
        for power in [false, true] {
            let disk = sound.fork();
            let (mut journal, ..) = opened(&disk, 8);
            disk.stop_after(operations);
            let released = journal.release(4).unwrap_or_default();
            for segment in released {
                if segment.remove(&mut disk.clone()).is_err() {
                    break;
                }
            }
            drop(journal);
            disk.restart();
            if power {
                disk.lose_power(&mut Random::new(operations));
            }
            let (mut journal, recovery, found) = opened(&disk, 9);
            let is_released = found.released.expect("a fold is told");
            let first = if is_released { kept } else { 0 };
            assert_eq!(entries(&disk, &found), written[first..], "{operations} operations");
            assert_eq!((recovery.suspect, recovery.damaged.len()), (None, 0));
            outcomes.push(is_released);
            commit(&mut journal, 100, &[control(100)]);
            drop(journal);
            let (_, _, found) = opened(&disk, 10);
            assert_eq!(found.entries.len(), written.len() - first + 1);
        }
    }
    assert!(outcomes.contains(&false) && outcomes.contains(&true));
}
