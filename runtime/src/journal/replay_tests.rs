//! Openings that begin with a checkpoint, and those that had better not.

use std::ops::Range;

use proptest::prelude::*;
use waltz_core::journal::{
    BLOCK_BYTES, HeaderVersion, SegmentHeader, SegmentWriter, parse_segment_name, segment_name,
};
use waltz_core::time::Random;

use super::ledger::Clerk;
use super::memory_disk::MemoryDisk;
use super::tests::{SEGMENT_BYTES, control};
use super::{JournalError, Recovery};
use crate::disk::Disk;

/// A journal of many segments with three checkpoints; the last segment has only numbers.
fn checkpointed() -> (MemoryDisk, u64) {
    let disk = MemoryDisk::default();
    let mut clerk = Clerk::open(&disk, 7).expect("the disk works");
    for numbers in [30, 20, 20] {
        clerk.count(numbers).expect("the disk works");
        clerk.checkpoint().expect("the disk works");
    }
    clerk.count(20).expect("the disk works");
    (disk, clerk.ledger.last)
}

/// Opens a copy, so that the next opening finds the same.
fn opened(disk: &MemoryDisk) -> Clerk {
    Clerk::open(&disk.fork(), 8).expect("the journal opens")
}

fn header(disk: &MemoryDisk, segment: u32) -> SegmentHeader {
    let contents = disk.contents(&segment_name(segment));
    SegmentHeader::decode(&contents).expect("a sound header")
}

fn segments(disk: &MemoryDisk) -> Vec<u32> {
    disk.names().iter().filter_map(|name| parse_segment_name(name)).collect()
}

fn newest(disk: &MemoryDisk) -> u32 {
    *segments(disk).last().expect("there are segments")
}

/// Where in the journal bytes are that begin so.
fn find(disk: &MemoryDisk, segment: u32, magic: &[u8; 4], step: usize) -> Vec<usize> {
    let contents = disk.contents(&segment_name(segment));
    let last = contents.len() - magic.len();
    (0..last).step_by(step).filter(|at| contents[*at..].starts_with(magic)).collect()
}

/// Makes what a segment holds of batches in this range of their order unreadable for good.
fn lose(disk: &MemoryDisk, segment: u32, batches: Range<usize>) {
    let name = segment_name(segment);
    let found = find(disk, segment, b"WBAT", BLOCK_BYTES as usize);
    let mut seals = find(disk, segment, b"WSEA", 64);
    let contents = disk.contents(&name);
    let number = |at: usize| u64::from_le_bytes(contents[at + 16..at + 24].try_into().expect("8"));
    seals.sort_by_key(|at| number(*at));
    for batch in batches {
        disk.flip(&name, found[batch] + 20);
        disk.flip(&name, seals[batch] + 20);
    }
}

/// Where the checkpoints' parts are: segment, and which of its batches.
fn parts(disk: &MemoryDisk) -> Vec<(u32, usize)> {
    let mut parts = Vec::new();
    for segment in segments(disk) {
        let contents = disk.contents(&segment_name(segment));
        let batches = find(disk, segment, b"WBAT", BLOCK_BYTES as usize);
        for (index, at) in batches.into_iter().enumerate() {
            // The one entry of a batch with a body: its table says so.
            let body = u32::from_le_bytes(contents[at + 68..at + 72].try_into().expect("4 bytes"));
            if body > 0 {
                parts.push((segment, index));
            }
        }
    }
    parts
}

/// Damages the body of a part, which its seal can't give back.
fn rot(disk: &MemoryDisk, (segment, batch): (u32, usize)) {
    let name = segment_name(segment);
    let at = find(disk, segment, b"WBAT", BLOCK_BYTES as usize)[batch];
    let contents = disk.contents(&name);
    let length = u32::from_le_bytes(contents[at + 28..at + 32].try_into().expect("4 bytes"));
    disk.flip(&name, at + length as usize - 1);
}

#[test]
fn an_opening_begins_with_the_older_of_two_checkpoints_and_so_does_the_next() {
    let (disk, last) = checkpointed();
    let from = parts(&disk)[1].0;
    let mut whole = 0;
    for turn in 0..3 {
        let clerk = Clerk::open(&disk, 8 + turn).expect("the journal opens");
        assert_eq!((clerk.ledger.last, &clerk.ledger.begun[..]), (last, &[true][..]));
        assert_eq!(clerk.recovery.replayed_from, Some(from));
        assert_eq!(header(&disk, newest(&disk)).replay_from, Some(from));
        whole = clerk.recovery.bytes;
    }
    let wanted = Recovery { replayed_from: Some(from), ..opened(&disk).recovery };
    assert_eq!((wanted.abandoned, wanted.suspect), (None, None));
    assert!(wanted.bytes == whole && from > 2, "{from} is not at the beginning");
}

#[test]
fn a_single_checkpoint_is_begun_with_too() {
    let disk = MemoryDisk::default();
    let mut clerk = Clerk::open(&disk, 7).expect("the disk works");
    clerk.count(30).expect("the disk works");
    clerk.checkpoint().expect("the disk works");
    clerk.count(20).expect("the disk works");
    let last = clerk.ledger.last;
    assert_eq!(opened(&disk).ledger.begun, [true]);
    assert_eq!(opened(&disk).ledger.last, last);
    rot(&disk, parts(&disk)[0]);
    let clerk = opened(&disk);
    assert_eq!((clerk.ledger.last, &clerk.ledger.begun[..]), (last, &[true, false][..]));
}

#[test]
fn a_rotten_checkpoint_leaves_the_next_one_and_rotten_ones_leave_the_beginning() {
    let (disk, last) = checkpointed();
    let parts = parts(&disk);
    rot(&disk, parts[1]);
    assert_eq!((opened(&disk).ledger.last, opened(&disk).ledger.begun), (last, vec![true]));
    rot(&disk, parts[2]);
    let clerk = opened(&disk);
    assert_eq!((clerk.ledger.last, clerk.ledger.begun), (last, vec![true, false]));
    let abandoned = clerk.recovery.abandoned.expect("it is told");
    assert_eq!(abandoned.segment, parts[1].0);
    assert!(abandoned.reason.contains("no complete and sound checkpoint"), "{abandoned:?}");
    assert_eq!((clerk.recovery.replayed_from, clerk.recovery.damaged.len()), (Some(1), 2));
}

#[test]
fn a_journal_that_is_suspect_before_its_checkpoint_is_complete_is_read_from_the_beginning() {
    let (disk, _) = checkpointed();
    let (segment, batch) = parts(&disk)[1];
    // The number between the part and the end.
    lose(&disk, segment, batch + 1..batch + 2);
    let clerk = opened(&disk);
    assert_eq!(clerk.ledger.begun, [true, false]);
    assert!(clerk.ledger.suspect && clerk.recovery.suspect.is_some());
    assert_eq!(clerk.ledger.last, 51, "thirty, one, and the twenty before the part");
}

#[test]
fn a_batch_lost_after_the_checkpoint_makes_the_journal_suspect_and_one_before_it_does_not() {
    let (disk, last) = checkpointed();
    let (damaged, from) = (disk.fork(), parts(&disk)[1].0);
    lose(&damaged, newest(&disk) - 1, 3..4);
    let clerk = opened(&damaged);
    assert_eq!((clerk.ledger.begun, clerk.ledger.suspect), (vec![true], true));
    assert!(clerk.ledger.last < last);

    lose(&disk, from - 1, 3..4);
    let clerk = opened(&disk);
    assert_eq!((clerk.ledger.last, clerk.ledger.suspect), (last, false));
}

#[test]
fn a_segment_that_is_missing_or_without_a_header_is_found_though_it_is_passed_over() {
    let (disk, _) = checkpointed();
    let damaged = disk.fork();
    damaged.clone().remove(&segment_name(2)).expect("it is there");
    assert!(matches!(Clerk::open(&damaged, 8), Err(JournalError::Missing { .. })));
    disk.flip(&segment_name(2), 50);
    disk.flip(&segment_name(2), (SEGMENT_BYTES - BLOCK_BYTES) as usize + 2);
    let clerk = opened(&disk);
    assert!(clerk.ledger.suspect);
    assert_eq!(clerk.ledger.begun, [false]);
}

#[test]
fn a_header_that_names_a_wrong_segment_costs_time_and_nothing_else() {
    let (disk, last) = checkpointed();
    // Numbers that were never there, come later, hold no checkpoint, or were released.
    for (wrong, begun) in [
        (9999, &[false][..]),
        (newest(&disk) + 1, &[true, false]),
        (newest(&disk), &[true, false]),
        (2, &[true]),
        (1, &[false]),
    ] {
        let disk = disk.fork();
        let mut clerk = Clerk::open(&disk, 8).expect("the journal opens");
        clerk.journal.replay_from(wrong);
        clerk.count(20).expect("the disk works");
        assert_eq!(header(&disk, newest(&disk)).replay_from, Some(wrong));
        let clerk = opened(&disk);
        assert_eq!((clerk.ledger.last, &clerk.ledger.begun[..]), (last + 20, begun), "{wrong}");
    }
    let mut clerk = Clerk::open(&disk, 8).expect("the journal opens");
    let below = clerk.ledger.releasable().expect("two checkpoints");
    clerk.journal.replay_from(2);
    assert!(!clerk.journal.release(below).expect("the disk works").is_empty());
    let clerk = opened(&disk);
    assert_eq!((clerk.ledger.last, &clerk.ledger.begun[..]), (last, &[true][..]));
    assert_eq!(clerk.recovery.replayed_from, Some(below), "what is left is read");
}

/// A segment as the former release wrote it.
fn version_two() -> MemoryDisk {
    let disk = MemoryDisk::default();
    drop(Clerk::open(&disk, 7).expect("the disk works"));
    let header = SegmentHeader { version: HeaderVersion::Two, ..header(&disk, 1) };
    let mut contents = vec![0; SEGMENT_BYTES as usize];
    let mut put = |at: u32, bytes: &[u8]| {
        contents[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    };
    put(0, &header.encode());
    put(header.layout.copy_offset(), &header.encode());
    let mut writer = SegmentWriter::new(&header);
    for number in 1..=3 {
        let mut batch = waltz_core::journal::Batch::default();
        batch.push(control(number), header.layout).expect("it is short");
        let encoded = writer.place(batch).expect("there is room");
        put(encoded.offset, &encoded.slices.concat());
        put(encoded.seal_offset, &encoded.seal);
    }
    disk.put(&segment_name(1), contents);
    disk
}

#[test]
fn a_journal_of_the_former_version_opens_and_goes_on_in_the_new_one() {
    let disk = version_two();
    let mut clerk = Clerk::open(&disk, 8).expect("the journal opens");
    assert_eq!((clerk.ledger.last, clerk.recovery.torn), (3, None));
    clerk.count(20).expect("the disk works");
    clerk.checkpoint().expect("the disk works");
    clerk.count(20).expect("the disk works");
    let versions: Vec<_> =
        segments(&disk).into_iter().map(|segment| header(&disk, segment).version).collect();
    assert_eq!(versions[0], HeaderVersion::Two);
    assert!(versions[1..].iter().all(|version| *version == HeaderVersion::Three));
    let clerk = opened(&disk);
    assert_eq!((clerk.ledger.last, clerk.ledger.begun), (44, vec![true]));
}

#[test]
fn no_changed_byte_anywhere_changes_what_a_journal_with_checkpoints_comes_to() {
    let (disk, last) = checkpointed();
    let mut begun_twice = 0;
    for segment in segments(&disk) {
        let header = (0..96).chain((SEGMENT_BYTES - BLOCK_BYTES) as usize..SEGMENT_BYTES as usize);
        let rest = (BLOCK_BYTES as usize..(SEGMENT_BYTES - BLOCK_BYTES) as usize).step_by(29);
        for at in header.step_by(3).chain(rest) {
            let damaged = disk.fork();
            damaged.flip(&segment_name(segment), at);
            let clerk = Clerk::open(&damaged, 8).expect("it opens all the same");
            let found = (clerk.ledger.last, clerk.recovery.suspect);
            assert_eq!(found, (last, None), "byte {at} of {segment}");
            begun_twice += usize::from(clerk.ledger.begun.len() > 1);
        }
    }
    assert_eq!(begun_twice, 0, "there is a second checkpoint");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// Crashes anywhere, with checkpoints and segments that are given up: all that was synced is
    /// there, and nothing that was not written.
    #[test]
    fn crashes_lose_nothing_that_a_checkpoint_says(seed in any::<u64>()) {
        let (disk, mut random) = (MemoryDisk::default(), Random::new(seed));
        let (mut durable, mut written) = (0, 0);
        for _ in 0..12 {
            disk.stop_after(random.bits() % 400);
            if let Ok(mut clerk) = Clerk::open(&disk, random.bits()) {
                let last = clerk.ledger.last;
                prop_assert!((durable..=written).contains(&last), "{durable} {last} {written}");
                live(&disk, &mut clerk, &mut random);
                // The number that failed may have been written.
                (durable, written) = (clerk.ledger.last, clerk.ledger.last + 1);
            }
            match random.bits() % 2 {
                0 => disk.restart(),
                _ => disk.lose_power(&mut random),
            }
        }
        let clerk = Clerk::open(&disk, 1).expect("no crash is taken for damage");
        prop_assert!((durable..=written).contains(&clerk.ledger.last));
        prop_assert!(clerk.recovery.suspect.is_none() && clerk.recovery.abandoned.is_none());
    }
}

/// Writes until the disk stops.
fn live(disk: &MemoryDisk, clerk: &mut Clerk, random: &mut Random) {
    loop {
        let outcome = match random.bits() % 12 {
            0 => clerk.checkpoint(),
            1 => release(disk, clerk),
            _ => clerk.count(1),
        };
        if outcome.is_err() {
            return;
        }
    }
}

fn release(disk: &MemoryDisk, clerk: &mut Clerk) -> Result<(), JournalError> {
    let Some(below) = clerk.ledger.releasable() else { return Ok(()) };
    for released in clerk.journal.release(below)? {
        // One that can't be removed is removed by the next opening.
        let _ = released.remove(&mut disk.clone());
    }
    Ok(())
}
