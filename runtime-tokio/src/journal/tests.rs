//! The threads over real files, through a disk whose syncs a test can hold back and count.

use std::fs::File;
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use waltz_core::id::{ClusterKey, Epoch, Mark, NodeId, PartitionId, SessionId, TransactionId};
use waltz_core::journal::{Damage, EntryHead, Fold, FoundEntry, segment_name};
use waltz_core::limits::Limits;
use waltz_core::planted::Planted;
use waltz_runtime::disk::ReadDisk;
use waltz_runtime::journal::{JournalConfig, JournalError};

use super::*;
use crate::disk::FileDisk;

#[derive(Debug, Default)]
struct Syncs {
    count: usize,
    are_held: bool,
    fail: bool,
    /// No file can be made.
    is_full: bool,
}

#[derive(Debug, Clone)]
struct TestDisk {
    disk: FileDisk,
    syncs: Arc<(Mutex<Syncs>, Condvar)>,
}

impl TestDisk {
    fn open(path: impl Into<PathBuf>) -> Self {
        Self { disk: FileDisk::open(path).unwrap(), syncs: Arc::default() }
    }

    fn set(&self, change: impl FnOnce(&mut Syncs)) {
        change(&mut self.syncs.0.lock().unwrap());
        self.syncs.1.notify_all();
    }

    fn count(&self) -> usize {
        self.syncs.0.lock().unwrap().count
    }

    fn wait_for(&self, count: usize) {
        let syncs = self.syncs.0.lock().unwrap();
        drop(self.syncs.1.wait_while(syncs, |syncs| syncs.count < count).unwrap());
    }
}

impl ReadDisk for TestDisk {
    type File = File;

    fn list(&mut self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&mut self, name: &str) -> io::Result<(File, u64)> {
        ReadDisk::open(&mut self.disk, name)
    }

    fn read_at(&mut self, file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
        self.disk.read_at(file, offset, length)
    }
}

impl Disk for TestDisk {
    fn create_zeroed(&mut self, name: &str, length: u64) -> io::Result<File> {
        match self.syncs.0.lock().unwrap().is_full {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => self.disk.create_zeroed(name, length),
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn write_at(&mut self, file: &File, offset: u64, slices: &[Bytes]) -> io::Result<()> {
        self.disk.write_at(file, offset, slices)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        let mut syncs = self.syncs.0.lock().unwrap();
        syncs.count += 1;
        self.syncs.1.notify_all();
        let syncs = self.syncs.1.wait_while(syncs, |syncs| syncs.are_held).unwrap();
        if syncs.fail {
            return Err(io::Error::other("on purpose"));
        }
        drop(syncs);
        self.disk.sync(file)
    }
}

fn config() -> JournalConfig {
    let limits = Limits { frame_head: 1 << 10, frame_payload: 32 << 10, ..Limits::default() };
    let (cluster, node, planted) = (ClusterKey(1), NodeId(2), Planted::NONE);
    JournalConfig { cluster, node, segment_bytes: 64 << 10, limits, planted }
}

fn entry(number: u64, body: usize) -> Entry {
    let head = EntryHead::Records {
        partition: PartitionId(1),
        session: SessionId { epoch: Epoch(1), server: NodeId(2), nonce: 3 },
        first: TransactionId(number),
        count: 1,
        low_water: Mark::NONE,
    };
    Entry { head, body: vec![number as u8; body].into() }
}

/// The heads of the entries found.
#[derive(Debug, Default)]
struct Found(Vec<EntryHead>);

impl Fold for Found {
    fn begin(&mut self, _released: bool) -> Result<(), String> {
        Ok(())
    }

    fn entry(&mut self, entry: FoundEntry<'_>) -> Result<(), String> {
        self.0.push(entry.head);
        Ok(())
    }

    fn end(&mut self, suspect: Option<&Damage>) -> Result<(), String> {
        assert_eq!(suspect, None);
        Ok(())
    }
}

fn open<D: Disk + Clone>(disk: &D) -> Result<(Journal<D>, Vec<EntryHead>), JournalError> {
    let mut found = Found::default();
    let (journal, _) = Journal::open(disk.clone(), config(), crate::runtime::random(), &mut found)?;
    Ok((journal, found.0))
}

/// A new journal, started, in a directory that lasts as long as the first of the three.
fn started() -> (tempfile::TempDir, TestDisk, JournalThread) {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::open(directory.path());
    let (journal, _) = open(&disk).unwrap();
    let port = JournalThread::start(journal, disk.clone()).unwrap();
    (directory, disk, port)
}

fn append(port: &mut JournalThread, numbers: std::ops::RangeInclusive<u64>, body: usize) {
    numbers.for_each(|number| port.append(entry(number, body), Ticket(number)));
    port.flush();
}

async fn next_events(port: &mut JournalThread) -> Vec<JournalEvent> {
    let mut events = Vec::new();
    poll_fn(|cx| port.poll(cx, &mut events)).await;
    events
}

/// Waits until a ticket is durable; the places told until then.
async fn durable(port: &mut JournalThread, until: u64) -> Vec<(Ticket, Place)> {
    durable_from(port, Ticket(0), until).await
}

async fn durable_from(
    port: &mut JournalThread,
    mut last: Ticket,
    until: u64,
) -> Vec<(Ticket, Place)> {
    let mut all = Vec::new();
    while last < Ticket(until) {
        for event in next_events(port).await {
            match event {
                JournalEvent::Durable { up_to, places } => {
                    assert!(up_to > last, "reports move on");
                    last = up_to;
                    all.extend(places);
                }
                other => panic!("expected something durable, got {other:?}"),
            }
        }
    }
    all
}

async fn read(port: &mut JournalThread, places: Vec<Place>) -> Result<Vec<Bytes>, String> {
    port.read(Ticket(7), places);
    port.flush();
    match next_events(port).await.pop() {
        Some(JournalEvent::Read { ticket: Ticket(7), result }) => result,
        other => panic!("expected bodies, got {other:?}"),
    }
}

#[tokio::test]
async fn what_is_reported_durable_can_be_read_and_is_there_after_reopening() {
    let (_directory, disk, mut port) = started();
    append(&mut port, 1..=20, 100);
    let places = durable(&mut port, 20).await;
    assert_eq!(places.len(), 20);
    let bodies = read(&mut port, places.iter().map(|(_, place)| *place).collect()).await.unwrap();
    let expected: Vec<Entry> = (1..=20).map(|number| entry(number, 100)).collect();
    assert_eq!(bodies, expected.iter().map(|entry| entry.body.clone()).collect::<Vec<_>>());
    drop(port);
    let (_, found) = open(&disk).unwrap();
    let heads: Vec<_> = expected.into_iter().map(|entry| entry.head).collect();
    assert_eq!(found, heads);
}

#[tokio::test]
async fn entries_that_come_during_a_sync_share_the_next_one() {
    let (_directory, disk, mut port) = started();
    let before = disk.count();
    disk.set(|syncs| syncs.are_held = true);
    append(&mut port, 1..=1, 10);
    disk.wait_for(before + 1);
    (2..=20).for_each(|number| append(&mut port, number..=number, 10));
    disk.set(|syncs| syncs.are_held = false);
    assert_eq!(durable(&mut port, 20).await.len(), 20);
    assert_eq!(disk.count(), before + 2);
}

#[tokio::test]
async fn nothing_is_reported_before_its_sync_returns() {
    let (_directory, disk, mut port) = started();
    let before = disk.count();
    disk.set(|syncs| syncs.are_held = true);
    append(&mut port, 1..=1, 10);
    disk.wait_for(before + 1);
    let polled = poll_fn(|cx| Poll::Ready(port.poll(cx, &mut Vec::new()))).await;
    assert!(polled.is_pending());
    disk.set(|syncs| syncs.are_held = false);
    durable(&mut port, 1).await;
}

#[tokio::test]
async fn more_entries_than_the_mailbox_holds_wait_for_room_and_keep_their_order() {
    let (_directory, disk, mut port) = started();
    let before = disk.count();
    disk.set(|syncs| syncs.are_held = true);
    append(&mut port, 1..=1, 0);
    disk.wait_for(before + 1);
    let last = 2 * ENTRIES as u64 + 10;
    append(&mut port, 2..=last, 0);
    assert_eq!(port.work.len(), ENTRIES + 9);
    disk.set(|syncs| syncs.are_held = false);
    durable(&mut port, last).await;
    drop(port);
    let (_, found) = open(&disk).unwrap();
    let expected: Vec<_> = (1..=last).map(|number| entry(number, 0).head).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn what_was_flushed_is_durable_once_the_port_is_dropped() {
    let (_directory, disk, mut port) = started();
    append(&mut port, 1..=50, 1000);
    drop(port);
    assert_eq!(open(&disk).unwrap().1.len(), 50);
}

#[tokio::test]
async fn segments_follow_one_another_on_spares_made_beside_the_writing() {
    let (_directory, mut disk, mut port) = started();
    let mut places = Vec::new();
    for number in 1..=60 {
        append(&mut port, number..=number, 10_000);
        places.extend(durable(&mut port, number).await);
    }
    let segments = places.last().unwrap().1.segment - places[0].1.segment;
    assert!(segments >= 10, "{segments} rotations");
    let bodies = read(&mut port, places.iter().map(|(_, place)| *place).collect()).await.unwrap();
    assert!(bodies.into_iter().eq((1..=60).map(|number| entry(number, 10_000).body)));
    drop(port);
    let names = disk.list().unwrap();
    assert!(names.iter().any(|name| name.starts_with("spare-")), "{names:?}");
    assert_eq!(open(&disk).unwrap().1.len(), 60);
}

#[tokio::test]
async fn released_segments_are_removed_and_the_rest_can_be_read() {
    let (_directory, mut disk, mut port) = started();
    append(&mut port, 1..=60, 10_000);
    let places = durable(&mut port, 60).await;
    let last = places[59].1;
    assert!(last.segment > 10, "{last:?}");
    port.release(last.segment);
    append(&mut port, 61..=61, 10_000);
    let after = durable(&mut port, 61).await[0].1;
    assert!(after.segment > last.segment, "a new segment says what was released");
    let bodies = read(&mut port, vec![last, after]).await.unwrap();
    assert_eq!(bodies, [entry(60, 10_000).body, entry(61, 10_000).body]);
    drop(port);
    let names = disk.list().unwrap();
    let segments = names.iter().filter(|name| name.starts_with("journal-"));
    assert_eq!(segments.count(), 2, "{names:?}");
}

/// Appends entries one by one until the journal says that there is no room, or that there is; the
/// number of the last one.
async fn append_until_told(port: &mut JournalThread, mut last: u64, body: usize) -> (u64, bool) {
    loop {
        last += 1;
        append(port, last..=last, body);
        let (mut is_durable, mut told) = (false, None);
        while !is_durable {
            for event in next_events(port).await {
                match event {
                    JournalEvent::Space { is_full } => told = Some(is_full),
                    JournalEvent::Durable { up_to, .. } => is_durable = up_to == Ticket(last),
                    other => panic!("expected news of the space, got {other:?}"),
                }
            }
        }
        if let Some(is_full) = told {
            return (last, is_full);
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_told_of_while_space_can_still_be_given_back() {
    let (_directory, mut disk, mut port) = started();
    append(&mut port, 1..=60, 10_000);
    let places = durable(&mut port, 60).await;
    disk.set(|syncs| syncs.is_full = true);
    let (last, is_full) = append_until_told(&mut port, 60, 1_000).await;
    assert!(is_full);
    port.release(places[59].1.segment);
    append(&mut port, last + 1..=last + 1, 10);
    durable_from(&mut port, Ticket(last), last + 1).await;
    disk.set(|syncs| syncs.is_full = false);
    let (last, is_full) = append_until_told(&mut port, last + 1, 0).await;
    assert!(!is_full);
    append(&mut port, last + 1..=last + 30, 10_000);
    durable_from(&mut port, Ticket(last), last + 30).await;
    drop(port);
    let names = disk.list().unwrap();
    let given_back = places.iter().filter(|(_, place)| place.segment < places[59].1.segment);
    assert!(given_back.clone().count() > 50);
    for (_, place) in given_back {
        assert!(!names.contains(&segment_name(place.segment)), "{place:?} was given back");
    }
    assert!(open(&disk).unwrap().1.len() > 30, "what was kept and what came later is there");
}

#[tokio::test]
async fn a_failed_sync_is_reported_once_and_nothing_more_is_written() {
    let (_directory, disk, mut port) = started();
    disk.set(|syncs| syncs.fail = true);
    append(&mut port, 1..=1, 10);
    let events = next_events(&mut port).await;
    match events.as_slice() {
        [JournalEvent::Failed { error }] => assert!(error.contains("on purpose"), "{error}"),
        other => panic!("expected a failure, got {other:?}"),
    }
    let count = disk.count();
    append(&mut port, 2..=2, 10);
    let polled = poll_fn(|cx| Poll::Ready(port.poll(cx, &mut Vec::new()))).await;
    assert!(polled.is_pending());
    drop(port);
    assert_eq!(disk.count(), count);
}

#[tokio::test]
async fn a_read_of_a_place_that_is_not_there_fails_by_itself() {
    let (_directory, _disk, mut port) = started();
    let nowhere = Place { segment: 4_000_000, offset: 0, length: 1 };
    read(&mut port, vec![nowhere]).await.unwrap_err();
    append(&mut port, 1..=1, 10);
    durable(&mut port, 1).await;
}
