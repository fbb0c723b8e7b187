//! What goes wrong with disks, one by one, over real files. `docs/operations.md` lists how each of
//! them ends.

mod faulty;
mod numbered;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use rustix::io::Errno;
use tempfile::TempDir;
use waltz_core::journal::{Lost, Place, segment_name};
use waltz_runtime::journal::{Journal, JournalError, Reader};
use waltz_runtime_tokio::FileDisk;

use faulty::{Fault, FaultyDisk, Operation};
use numbered::{BODY_BYTES, commit, entry, open};

/// Errors of a failing device, a file system that has become read-only, and lost permissions.
const ERRORS: [Errno; 3] = [Errno::IO, Errno::ROFS, Errno::ACCESS];

fn directory() -> (TempDir, FaultyDisk) {
    let directory = tempfile::tempdir().expect("there is room for files");
    let disk = FileDisk::open(directory.path()).expect("it can be used");
    (directory, FaultyDisk::new(disk))
}

/// A journal with these numbers in it, closed, and where they are.
fn written(disk: &FaultyDisk, numbers: std::ops::Range<u64>) -> Vec<Place> {
    let (mut journal, ..) = open(disk.clone()).expect("nothing is wrong yet");
    numbers.map(|number| commit(&mut journal, number).expect("nothing is wrong yet")).collect()
}

/// Writes from a number on until something fails; the first number that was not acknowledged.
fn write_until_failure(journal: &mut Journal<FaultyDisk>, from: u64) -> (u64, JournalError) {
    for number in from..from + 100 {
        if let Err(error) = commit(journal, number) {
            return (number, error);
        }
    }
    panic!("nothing failed");
}

#[test]
fn a_failed_write_sync_creation_or_renaming_stops_the_journal_and_loses_nothing() {
    let operations = [
        (Operation::Write, "write"),
        (Operation::Sync, "sync"),
        (Operation::Create, "create"),
        (Operation::Rename, "rename"),
    ];
    for ((operation, word), error) in operations.iter().flat_map(|one| ERRORS.map(|e| (*one, e))) {
        for after in [0, 1, 3] {
            let (_directory, disk) = directory();
            let (mut journal, ..) = open(disk.clone()).expect("nothing is wrong yet");
            disk.set(Some(Fault { operation, after, error }));
            let (failed, reason) = write_until_failure(&mut journal, 0);
            let JournalError::Io { action, file, source } = &reason else { panic!("{reason}") };
            assert_eq!((*action, Errno::from_io_error(source)), (word, Some(error)));
            assert!(file.ends_with(".wal"), "{reason}");
            disk.set(None);
            let stopped = commit(&mut journal, failed).expect_err("nothing more is written");
            assert!(stopped.to_string().contains(&reason.to_string()), "{stopped}");
            drop(journal);
            let (_, recovery, found) = open(disk).expect("it goes on after a restart");
            assert_eq!((recovery.suspect, recovery.damaged.len()), (None, 0));
            let all: Vec<u64> = (0..found.numbers.len() as u64).collect();
            assert_eq!(found.numbers, all, "in order, and nothing else");
            // What failed was not acknowledged, and may be there all the same.
            assert!((failed..=failed + 1).contains(&(all.len() as u64)), "{failed}: {reason}");
        }
    }
}

#[test]
fn a_directory_that_cannot_be_read_or_written_is_refused_and_is_whole_once_it_can() {
    let operations = [
        (Operation::List, "list"),
        (Operation::Open, "open"),
        (Operation::Read, "read"),
        (Operation::Write, "write"),
        (Operation::Sync, "sync"),
    ];
    for ((operation, word), error) in operations.iter().flat_map(|one| ERRORS.map(|e| (*one, e))) {
        let (_directory, disk) = directory();
        written(&disk, 0..12);
        disk.set(Some(Fault { operation, after: 0, error }));
        let reason = open(disk.clone()).expect_err("the disk refuses");
        let JournalError::Io { action, source, .. } = &reason else { panic!("{reason}") };
        assert_eq!((*action, Errno::from_io_error(source)), (word, Some(error)));
        disk.set(None);
        let (.., found) = open(disk).expect("nothing was harmed");
        assert_eq!(found.numbers, (0..12).collect::<Vec<_>>());
    }
}

#[test]
fn a_read_error_ends_that_read_alone() {
    let (_directory, disk) = directory();
    let places = written(&disk, 0..7);
    let mut reader = Reader::new(disk.clone());
    disk.set(Some(Fault { operation: Operation::Read, after: 0, error: Errno::IO }));
    let error = reader.read(&places[..1]).expect_err("the disk refuses");
    assert_eq!(Errno::from_io_error(&error), Some(Errno::IO));
    disk.set(None);
    assert_eq!(reader.read(&places[6..]).expect("it can be read"), [entry(6).body]);
}

#[test]
fn a_segment_that_cannot_be_removed_is_removed_by_the_next_opening() {
    let (directory, disk) = directory();
    let (mut journal, ..) = open(disk.clone()).expect("nothing is wrong yet");
    let last = (0..20).map(|number| commit(&mut journal, number)).last();
    let below = last.expect("some were written").expect("nothing is wrong yet").segment;
    disk.set(Some(Fault { operation: Operation::Remove, after: 0, error: Errno::ACCESS }));
    let released = journal.release(below).expect("only the files are left");
    assert!(!released.is_empty());
    for segment in &released {
        segment.remove(&mut disk.clone()).expect_err("the disk refuses");
    }
    commit(&mut journal, 20).expect("the journal goes on");
    drop(journal);
    assert!(directory.path().join(segment_name(1)).exists());
    disk.set(None);
    let (.., found) = open(disk).expect("nothing is wrong any more");
    assert_eq!(found.numbers.last(), Some(&20));
    assert!(!directory.path().join(segment_name(1)).exists());
}

#[test]
fn a_segment_that_was_cut_short_or_is_gone_is_named() {
    let (directory, disk) = directory();
    let places = written(&disk, 0..20);
    assert!(places[19].segment >= 3);
    let segment = directory.path().join(segment_name(2));
    let whole = fs::read(&segment).expect("it is there");
    for length in [0, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&segment, &whole[..length]).expect("there is room");
        let reason = open(disk.clone()).expect_err("something is missing");
        let JournalError::Length { file, found, .. } = &reason else { panic!("{reason}") };
        assert_eq!((file, *found), (&segment_name(2), length as u64));
    }
    fs::remove_file(&segment).expect("it is there");
    let reason = open(disk.clone()).expect_err("something is missing");
    let JournalError::Missing { file, .. } = &reason else { panic!("{reason}") };
    assert_eq!(*file, segment_name(2));
    fs::write(&segment, &whole).expect("there is room");
    let (.., found) = open(disk).expect("it is whole again");
    assert_eq!(found.numbers, (0..20).collect::<Vec<_>>());
}

/// Puts zeros where a sync said that there was more.
fn forget(directory: &Path, place: Place) {
    let file = fs::File::options().write(true).open(directory.join(segment_name(place.segment)));
    let file = file.expect("it is there");
    // Whole sectors, and no others, as that is what disks lose.
    let start = u64::from(place.offset).next_multiple_of(512);
    file.write_all_at(&[0; BODY_BYTES / 512 * 512 - 512], start).expect("there is room");
}

#[test]
fn what_a_sync_lied_about_is_told_if_anything_was_written_after_it() {
    let (directory, disk) = directory();
    let places = written(&disk, 0..4);
    forget(directory.path(), places[1]);
    let (_, recovery, found) = open(disk).expect("the rest is there");
    assert_eq!((found.numbers, found.damaged), (vec![0, 1, 2, 3], vec![1]));
    assert_eq!((recovery.suspect, recovery.damaged.len()), (None, 1));
    assert!(
        matches!(recovery.damaged[0].lost, Lost::Bodies { damaged: 1, .. }),
        "{:?}",
        recovery.damaged
    );
}

/// Alone, a journal can't tell this from a write cut short. That it had acknowledged the entry is
/// known to its peers.
#[test]
fn what_the_last_sync_lied_about_is_reported_as_cut_short() {
    let (directory, disk) = directory();
    let places = written(&disk, 0..4);
    forget(directory.path(), places[3]);
    let (_, recovery, found) = open(disk).expect("the rest is there");
    assert_eq!((found.numbers, found.damaged), (vec![0, 1, 2], vec![]));
    assert_eq!(recovery.torn.map(|torn| torn.number), Some(4));
}

/// A file system in memory; unmounted when dropped.
struct Mounted(TempDir);

impl Mounted {
    /// `None` where this process may not mount anything.
    fn new(options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("there is room for a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "waltz-test"])
            .arg(directory.path())
            .output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(directory))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What stays mounted would only be left over.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// Mounts a file system where it may; elsewhere the same error is injected.
#[test]
fn a_full_inode_table_looks_like_a_full_disk_and_loses_nothing() {
    let mounted = Mounted::new("size=8m,nr_inodes=6");
    let (directory, injected) = directory();
    let path = mounted.as_ref().map_or(directory.path(), |mounted| mounted.0.path());
    let disk = match &mounted {
        Some(_) => FaultyDisk::new(FileDisk::open(path).expect("it can be used")),
        None => injected,
    };
    fs::write(path.join("ballast"), "").expect("there is room for a name");
    let (mut journal, ..) = open(disk.clone()).expect("there is room for one segment");
    if mounted.is_none() {
        let (operation, error) = (Operation::Create, Errno::NOSPC);
        disk.set(Some(Fault { operation, after: 1, error }));
    }
    let (failed, reason) = write_until_failure(&mut journal, 0);
    drop(journal);
    let refused = open(disk.clone()).expect_err("there is no room for another segment");
    for reason in [reason, refused] {
        let JournalError::Io { action: "create", source, .. } = &reason else { panic!("{reason}") };
        assert_eq!(source.kind(), ErrorKind::StorageFull, "{reason}");
    }
    fs::remove_file(path.join("ballast")).expect("it is there");
    disk.set(None);
    let (.., found) = open(disk).expect("there is room again");
    assert_eq!(found.numbers, (0..failed).collect::<Vec<_>>());
}
