//! Damage to a journal at rest: what it hides, what it leaves, and what makes the journal suspect.

use std::ops::Range;

use bytes::Bytes;
use waltz_core::io::Ticket;
use waltz_core::journal::{
    BLOCK_BYTES, BatchFault, Damage, Evidence, Fault, Lost, Place, segment_name,
};

use super::memory_disk::MemoryDisk;
use super::tests::{Found, SEGMENT_BYTES, commit, control, opened, refused, three_batches};
use super::{JournalError, Recovery};

const BLOCK: usize = BLOCK_BYTES as usize;
const LANES: Range<usize> = BLOCK..3 * BLOCK;

/// Where the three batches are, without what pads them.
fn extents(places: &[Place]) -> Vec<Range<usize>> {
    let extent = |bodies: &[Place]| {
        let start = bodies[0].offset as usize / BLOCK * BLOCK;
        start..(bodies[1].offset + bodies[1].length) as usize
    };
    places.chunks(2).map(extent).collect()
}

/// Bytes of a batch to try: those before the bodies, and some of the bodies.
fn samples(batch: &Range<usize>) -> impl Iterator<Item = usize> + use<> {
    let start = batch.start;
    batch.clone().filter(move |at| *at < start + 200 || at % 61 == 0)
}

/// Where the seal of a batch is, by its number.
fn seal(contents: &[u8], number: u64) -> Range<usize> {
    let is_seal = |at: &usize| {
        contents[*at..].starts_with(b"WSEA") && contents[at + 16..at + 24] == number.to_le_bytes()
    };
    let start = LANES.step_by(64).find(is_seal).expect("every batch has a seal");
    let length = u32::from_le_bytes(contents[start + 32..start + 36].try_into().expect("4 bytes"));
    start..start + length as usize
}

/// What is found when one byte of one segment is another.
pub(super) fn with_body_hit(sound: &Found, segment: u32, at: usize) -> Found {
    let mut found = sound.clone();
    for one in &mut found.entries {
        let is_hit = one.place.is_some_and(|place| {
            let body = place.offset as usize..(place.offset + place.length) as usize;
            place.segment == segment && body.contains(&at)
        });
        if is_hit {
            (one.body, one.is_damaged) = (Bytes::new(), true);
        }
    }
    found
}

fn batch_fault(damage: &Damage) -> (u64, BatchFault) {
    match damage.fault {
        Fault::Batch { number, fault } => (number, fault),
        Fault::SegmentHeader => panic!("a batch is damaged: {damage}"),
    }
}

#[test]
fn a_changed_byte_in_a_sealed_batch_hides_the_body_it_hits_and_nothing_else() {
    let (disk, places) = three_batches();
    let (_, _, sound) = opened(&disk.fork(), 8);
    for (number, batch) in (1..).zip(extents(&places)) {
        for at in samples(&batch) {
            let damaged = disk.fork();
            damaged.flip(&segment_name(1), at);
            let (mut journal, recovery, found) = opened(&damaged, 9);
            let expected = with_body_hit(&sound, 1, at);
            assert_eq!(found, expected, "byte {at}");
            let [damage] = &recovery.damaged[..] else { panic!("byte {at}: {recovery:?}") };
            assert_eq!((damage.segment, damage.offset as usize), (1, batch.start));
            assert_eq!(batch_fault(damage).0, number);
            assert_eq!(damage.evidence == Evidence::Seal, number == 3, "byte {at}: {damage}");
            let hidden = found.entries.iter().filter(|one| one.is_damaged).count() as u32;
            assert_eq!(damage.lost, Lost::Bodies { damaged: hidden, entries: 3 });

            // It goes on from there, and the next opening finds the same and what came after.
            commit(&mut journal, 1, &[control(77)]);
            drop(journal);
            let (_, recovery, again) = opened(&damaged, 10);
            assert_eq!(again.entries[..9], expected.entries);
            assert_eq!((again.entries.len(), &again.entries[9].head), (10, &control(77).head));
            assert_eq!(recovery.damaged.len(), 1);
        }
    }
}

#[test]
fn a_changed_byte_in_a_seal_hides_nothing() {
    let (disk, _) = three_batches();
    let (_, _, sound) = opened(&disk.fork(), 8);
    for number in 1..=3 {
        for at in seal(&disk.contents(&segment_name(1)), number) {
            let damaged = disk.fork();
            damaged.flip(&segment_name(1), at);
            let (_, recovery, found) = opened(&damaged, 9);
            assert_eq!(found, sound, "byte {at}");
            assert_eq!((recovery.damaged.len(), recovery.torn), (0, None));
        }
    }
}

/// Checks that a journal is suspect, finds so many of the entries, and stays as it is.
fn suspect(disk: &MemoryDisk, entries: usize) -> (Damage, Recovery) {
    let contents = |disk: &MemoryDisk| {
        let contents = |name: String| (disk.contents(&name), name);
        disk.names().into_iter().map(contents).collect::<Vec<_>>()
    };
    let before = contents(disk);
    let (mut journal, recovery, found) = opened(disk, 20);
    assert_eq!(found.entries.len(), entries);
    assert!(found.entries.iter().all(|one| !one.is_damaged));
    assert!(!journal.wants_spare());
    assert_eq!(journal.release(u32::MAX).expect("nothing is tried"), []);
    let written = journal.write(vec![(Ticket(1), control(1))]);
    assert!(matches!(written, Err(JournalError::Suspect)));
    drop(journal);
    let (_, again, _) = opened(disk, 21);
    assert_eq!(again, recovery, "it stays suspect");
    assert!(contents(disk) == before, "not a byte is written");
    (recovery.suspect.expect("it is suspect"), recovery)
}

#[test]
fn a_batch_and_its_seal_damaged_make_the_journal_suspect() {
    let (disk, places) = three_batches();
    let seals = disk.contents(&segment_name(1));
    for (index, batch) in extents(&places).iter().enumerate() {
        let number = index as u64 + 1;
        for (turn, at) in samples(batch).step_by(7).enumerate() {
            let damaged = disk.fork();
            damaged.flip(&segment_name(1), at);
            let seal = seal(&seals, number);
            damaged.flip(&segment_name(1), seal.start + turn % seal.len());
            if number == 3 {
                // Nothing came after it: it can't be told from a write that was cut short.
                let (_, recovery, found) = opened(&damaged, 9);
                assert_eq!(found.entries.len(), 6);
                assert_eq!(recovery.torn.expect("it is reported").number, 3);
                continue;
            }
            let (damage, recovery) = suspect(&damaged, 3 * index);
            assert_eq!((damage.segment, damage.offset as usize), (1, batch.start));
            assert_eq!((batch_fault(&damage).0, damage.lost), (number, Lost::Unknown));
            assert!(matches!(damage.evidence, Evidence::LaterBatch { .. }), "byte {at}: {damage}");
            assert_eq!((recovery.damaged.len(), recovery.torn), (0, None));
        }
    }
}

#[test]
fn an_earlier_segment_has_to_be_whole_up_to_where_it_ends() {
    let (disk, places) = three_batches();
    let seal = seal(&disk.contents(&segment_name(1)), 3);
    drop(opened(&disk, 8));
    disk.flip(&segment_name(1), places[5].offset as usize);
    let (_, recovery, found) = opened(&disk.fork(), 9);
    let [damage] = &recovery.damaged[..] else { panic!("one batch is damaged") };
    assert_eq!((batch_fault(damage).0, damage.evidence), (3, Evidence::LaterSegment));
    assert!(found.entries[8].is_damaged);
    disk.flip(&segment_name(1), seal.start);
    let (damage, _) = suspect(&disk, 6);
    assert_eq!((batch_fault(&damage).0, damage.evidence), (3, Evidence::LaterSegment));
}

#[test]
fn a_batch_cut_short_is_cut_whether_or_not_its_seal_was_written() {
    for lost_seal in [false, true] {
        for lost in [1, 7, 13] {
            let (disk, places) = three_batches();
            let start = places[4].offset as usize / BLOCK * BLOCK;
            let mut contents = disk.contents(&segment_name(1));
            contents[start + lost * 512..][..512].fill(0);
            if lost_seal {
                // Damage on top of it can't be told from a write cut short.
                contents[start + 20] ^= 1;
                contents[LANES].fill(0);
            }
            disk.put(&segment_name(1), contents);
            let (mut journal, recovery, found) = opened(&disk, 8);
            assert_eq!(found.entries.len(), 6);
            let torn = recovery.torn.expect("it is reported");
            assert_eq!((torn.segment, torn.offset as usize, torn.number), (1, start, 3));
            commit(&mut journal, 1, &[control(77)]);
            drop(journal);
            let (_, recovery, found) = opened(&disk, 9);
            assert_eq!((found.entries.len(), recovery.torn), (7, None), "cut once and for all");
        }
    }
}

/// Three segments with three batches, one batch, and one batch.
fn three_segments() -> MemoryDisk {
    let (disk, _) = three_batches();
    for (random, number) in [(8, 30), (9, 40)] {
        let (mut journal, ..) = opened(&disk, random);
        commit(&mut journal, 1, &[control(number)]);
    }
    disk
}

#[test]
fn a_damaged_header_is_read_from_its_copy() {
    let disk = three_segments();
    let (_, _, sound) = opened(&disk.fork(), 10);
    let copy = (SEGMENT_BYTES - BLOCK_BYTES) as usize;
    for segment in 1..=3 {
        for at in 0..92 {
            let damaged = disk.fork();
            damaged.flip(&segment_name(segment), at);
            let (_, recovery, found) = opened(&damaged, 11);
            assert_eq!(found, sound);
            let [damage] = &recovery.damaged[..] else { panic!("it is reported") };
            assert_eq!((damage.segment, damage.fault), (segment, Fault::SegmentHeader));
            assert_eq!(damage.lost, Lost::Nothing);

            let damaged = disk.fork();
            damaged.flip(&segment_name(segment), copy + at);
            let (_, recovery, found) = opened(&damaged, 11);
            assert_eq!((found, recovery.damaged.len()), (sound.clone(), 0));
        }
    }
}

#[test]
fn a_header_without_a_sound_copy_makes_the_journal_suspect() {
    let disk = three_segments();
    let copy = (SEGMENT_BYTES - BLOCK_BYTES) as usize;
    let spoil = |disk: &MemoryDisk, segment| {
        disk.flip(&segment_name(segment), 50);
        disk.flip(&segment_name(segment), copy + 2);
    };
    for (segment, entries) in [(1, 0), (2, 9), (3, 10)] {
        let damaged = disk.fork();
        spoil(&damaged, segment);
        let (damage, _) = suspect(&damaged, entries);
        assert_eq!((damage.segment, damage.fault), (segment, Fault::SegmentHeader));
        assert_eq!((damage.evidence, damage.lost), (Evidence::Name, Lost::Unknown));
    }
    (1..=3).for_each(|segment| spoil(&disk, segment));
    let JournalError::Unreadable { file, .. } = refused(&disk) else { panic!("not refused") };
    assert_eq!(file, segment_name(3));
}
