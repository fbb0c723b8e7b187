//! Files that programs of each format version left, as they were: they are read for ever, and
//! nobody changes how new ones are written without noticing.
//!
//! `docs/journal-format.md` says how a next version comes in.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use waltz_core::id::{Mark, TransactionId};
use waltz_core::io::Ticket;
use waltz_core::journal::{Damage, Entry, Fold, FoundEntry};
use waltz_core::node::Recovered;
use waltz_core::planted::Planted;

use super::files::{Files, read_directory};
use super::sample;

/// The version that this program writes.
const NEWEST: u32 = 3;
/// All that it reads.
const VERSIONS: [u32; 2] = [2, NEWEST];
/// In words, what is in the files.
const ENTRIES: &str = "entries.txt";

fn directory(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/journal/golden/version-{version}"))
}

/// The files of a version, and in words what is in them.
fn golden(version: u32) -> (Files, String) {
    let mut contents = read_directory(&directory(version)).expect("the files can be read");
    let words = contents.remove(ENTRIES).expect("it says what is in the files");
    (Files::new(&contents), String::from_utf8(words).expect("it is text"))
}

/// Every entry, a line each, and where it is.
#[derive(Debug, Default)]
struct Words(String);

impl Fold for Words {
    fn begin(&mut self, _: bool) -> Result<(), String> {
        Ok(())
    }

    fn entry(&mut self, entry: FoundEntry<'_>) -> Result<(), String> {
        assert!(!entry.is_damaged, "{:?} is as it was written", entry.head);
        let FoundEntry { head, place, body, .. } = entry;
        write!(self.0, "{head:?}").expect("there is memory");
        if let Some(place) = place {
            let (segment, offset) = (place.segment, place.offset);
            let (length, checksum) = (body.len(), crc32c::crc32c(body));
            write!(self.0, " body {length} at {segment}:{offset} checksum {checksum:08x}")
                .expect("there is memory");
        }
        self.0.push('\n');
        Ok(())
    }

    fn end(&mut self, suspect: Option<&Damage>) -> Result<(), String> {
        assert_eq!(suspect, None);
        Ok(())
    }
}

/// What an opening finds, in words.
fn words(files: &Files) -> String {
    let mut words = Words::default();
    let (_, recovery) = sample::open(files, 9, &mut words).expect("it opens");
    assert_eq!((recovery.damaged.len(), recovery.torn), (0, None));
    words.0
}

#[test]
fn every_entry_of_every_version_is_found() {
    for version in VERSIONS {
        let (files, expected) = golden(version);
        assert_eq!(words(&files), expected, "version {version}");
    }
}

#[test]
fn a_node_understands_every_version() {
    for version in VERSIONS {
        let (files, _) = golden(version);
        let mut state = Recovered::new(sample::config().limits, Planted::NONE);
        sample::open(&files, 9, &mut state).expect("the entries follow from one another");
        let ends: Vec<_> = state.storage().replicas().map(|(_, replica)| replica.last()).collect();
        assert_eq!(ends, [8, 2, 9].map(|last| Mark::at(TransactionId(last))), "version {version}");
    }
}

#[test]
fn what_an_older_program_wrote_is_gone_on_with() {
    for version in VERSIONS {
        let (files, mut expected) = golden(version);
        let (mut journal, _) = sample::open(&files, 10, &mut Words::default()).expect("it opens");
        let more: Vec<Entry> = sample::batches().swap_remove(3);
        let mut model = Words::default();
        journal.write((1..).map(Ticket).zip(more.clone()).collect()).expect("there is room");
        let synced = journal.sync().expect("memory does not fail");
        for (entry, (_, place)) in more.iter().zip(&synced.places) {
            let (head, place) = (entry.head.clone(), Some(*place));
            let found = FoundEntry { head, place, body: &entry.body, is_damaged: false };
            model.entry(found).expect("it takes any entry");
        }
        drop(journal);
        expected.push_str(&model.0);
        assert_eq!(words(&files), expected, "version {version}");
    }
}

#[test]
fn the_newest_version_is_written_as_it_was() {
    let (expected, _) = golden(NEWEST);
    let (expected, written) = (expected.contents(), sample::write());
    assert!(written.keys().eq(expected.keys()), "{:?}", written.keys());
    for (name, bytes) in written {
        let differs = bytes.iter().zip(&expected[&name]).position(|(one, other)| one != other);
        assert_eq!(differs, None, "byte of {name} that is not as version {NEWEST} has it");
        assert_eq!(bytes.len(), expected[&name].len(), "{name}");
    }
}

#[test]
fn a_version_of_the_future_is_refused_by_its_number() {
    let (files, _) = golden(NEWEST);
    let mut contents = files.contents();
    let last = contents.last_entry().expect("there are segments").into_mut();
    let copy = last.len() - 4096;
    for header in [0, copy] {
        last[header + 8..header + 12].copy_from_slice(&77_u32.to_le_bytes());
    }
    let refused = sample::open(&Files::new(&contents), 9, &mut Words::default());
    let error = refused.expect_err("nobody knows what it says").to_string();
    assert!(error.contains("version is 77") && error.contains("journal-"), "{error}");
}

#[test]
#[ignore = "makes the files of the newest version anew, once it is a new one"]
fn rewrite_the_newest_version() {
    let directory = directory(NEWEST);
    std::fs::create_dir_all(&directory).expect("there is room");
    let contents = sample::write();
    let words = words(&Files::new(&contents));
    std::fs::write(directory.join(ENTRIES), words).expect("there is room");
    for (name, bytes) in contents {
        std::fs::write(directory.join(name), bytes).expect("there is room");
    }
}
