//! Every byte of a small journal changed, zeroed or cut off in turn.

use waltz_core::journal::{FoundBatch, SegmentHeader, segment_name};

use super::damage_tests::with_body_hit;
use super::memory_disk::MemoryDisk;
use super::tests::{Found, SEGMENT_BYTES, open, opened, refused, three_batches};
use super::{Examiner, JournalError, Recovery, examine, fold_batch};

/// Takes everything through a fold, and changes nothing.
struct Looking(Found);

impl Examiner for Looking {
    type Error = JournalError;

    fn begin(&mut self, _: &[SegmentHeader], released: bool) -> Result<(), JournalError> {
        self.0.released = Some(released);
        Ok(())
    }

    fn batch(
        &mut self,
        segment: &SegmentHeader,
        batch: FoundBatch<'_>,
    ) -> Result<(), JournalError> {
        fold_batch(segment, batch, &mut self.0)
    }
}

/// What an examination finds, which leaves all files as they are.
fn examined(disk: &MemoryDisk) -> (Recovery, Found) {
    let contents = |disk: &MemoryDisk| -> Vec<_> {
        disk.names().into_iter().map(|name| (disk.contents(&name), name)).collect()
    };
    let before = contents(disk);
    let mut looking = Looking(Found::default());
    let examination = examine(&mut disk.clone(), &mut looking).expect("it can be looked at");
    assert_eq!(contents(disk), before);
    (examination.recovery, looking.0)
}

/// A journal in one segment, and the bytes of its file.
fn journal() -> (MemoryDisk, String, Vec<u8>) {
    let (disk, _) = three_batches();
    let name = segment_name(1);
    let bytes = disk.contents(&name);
    assert_eq!(bytes.len(), SEGMENT_BYTES as usize);
    (disk, name, bytes)
}

/// With one byte changed everything is found, and at most one body is not as it was, which is told.
fn changed(change: impl Fn(u8) -> u8) {
    let (disk, name, bytes) = journal();
    let (_, _, sound) = opened(&disk.fork(), 7);
    let mut damages = 0;
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] = change(other[at]);
        if other == bytes {
            continue;
        }
        let damaged = MemoryDisk::default();
        damaged.put(&name, other);
        let (seen, found) = examined(&damaged);
        let expected = with_body_hit(&sound, 1, at);
        assert!(found == expected, "byte {at}: what is looked at is what was written");
        let (_, recovery, found) = open(&damaged, 8).expect("it opens all the same");
        assert!(found == expected, "byte {at}: what is opened is what was written");
        assert_eq!(recovery.suspect, None, "byte {at}");
        // Where the fourth batch would begin, anything but zeros may be the beginning of it.
        assert!(recovery.torn.is_none_or(|torn| torn.number == 4), "byte {at}");
        let told = |recovery: Recovery| (recovery.damaged, recovery.torn, recovery.entries);
        let (of_opening, of_looking) = (told(recovery), told(seen));
        assert_eq!(of_opening, of_looking, "byte {at}");
        damages += usize::from(!of_opening.0.is_empty());
    }
    assert!(damages > 2_000, "only {damages} changes were told");
}

#[test]
fn a_byte_that_is_another_is_told_and_costs_one_body_at_most() {
    changed(|byte| byte ^ 0xFF);
}

#[test]
fn a_byte_that_is_zero_is_told_and_costs_one_body_at_most() {
    changed(|_| 0);
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused_by_name() {
    let (_, name, bytes) = journal();
    for length in 0..bytes.len() {
        let cut = MemoryDisk::default();
        cut.put(&name, bytes[..length].to_vec());
        let JournalError::Length { file, found, .. } = refused(&cut) else {
            panic!("a file of {length} bytes is refused for its length");
        };
        assert_eq!((file, found), (name.clone(), length as u64));
    }
}
