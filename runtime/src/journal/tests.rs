//! The journal on a disk that works, and what is refused.

use bytes::Bytes;
use waltz_core::id::{
    ClusterKey, CreationId, Epoch, Mark, NodeId, PartitionId, ReplicaSet, SessionId, SetVersion,
    TransactionId,
};
use waltz_core::io::Ticket;
use waltz_core::journal::{
    Damage, Entry, EntryHead, Fold, FoundEntry, HeaderError, Layout, Place, segment_name,
};
use waltz_core::limits::Limits;
use waltz_core::log::SetChange;
use waltz_core::planted::Planted;

use super::memory_disk::MemoryDisk;
use super::{Journal, JournalConfig, JournalError, Reader, Recovery, SpareRequest};
use crate::disk::{Disk, ReadDisk};

pub(super) const SEGMENT_BYTES: u32 = 64 << 10;

pub(super) fn config() -> JournalConfig {
    let limits = Limits { frame_head: 1 << 10, frame_payload: 32 << 10, ..Limits::default() };
    let (cluster, node, planted) = (ClusterKey(1), NodeId(2), Planted::NONE);
    JournalConfig { cluster, node, segment_bytes: SEGMENT_BYTES, limits, planted }
}

fn session() -> SessionId {
    SessionId { epoch: Epoch(1), server: NodeId(2), nonce: 3 }
}

/// A run whose every byte tells its number.
pub(super) fn records(number: u64, length: usize) -> Entry {
    let mut body = number.to_le_bytes().repeat(length.div_ceil(8));
    body.truncate(length);
    let head = EntryHead::Records {
        partition: PartitionId(number as u32 % 3),
        session: session(),
        first: TransactionId(number),
        count: 1,
        low_water: Mark::NONE,
    };
    Entry { head, body: Bytes::from(body) }
}

pub(super) fn control(number: u64) -> Entry {
    let session = SessionId { epoch: Epoch(number), ..session() };
    let head = EntryHead::Promise { partition: PartitionId(number as u32 % 3), session };
    Entry { head, body: Bytes::new() }
}

/// An entry as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundOne {
    pub(super) head: EntryHead,
    pub(super) place: Option<Place>,
    pub(super) body: Bytes,
    pub(super) is_damaged: bool,
}

/// Everything that a fold is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Found {
    pub(super) entries: Vec<FoundOne>,
    pub(super) released: Option<bool>,
    pub(super) suspect: Option<Damage>,
    /// Refuses one more entry after so many.
    capacity: Option<usize>,
}

impl Fold for Found {
    fn begin(&mut self, checkpoint: bool) -> Result<(), String> {
        self.entries.clear();
        self.released = Some(checkpoint);
        Ok(())
    }

    fn entry(&mut self, entry: FoundEntry<'_>) -> Result<(), String> {
        if self.capacity == Some(self.entries.len()) {
            return Err("no such partition".to_owned());
        }
        let FoundEntry { head, place, body, is_damaged } = entry;
        let body = Bytes::copy_from_slice(body);
        self.entries.push(FoundOne { head, place, body, is_damaged });
        Ok(())
    }

    fn end(&mut self, suspect: Option<&Damage>) -> Result<(), String> {
        self.suspect = suspect.copied();
        Ok(())
    }
}

pub(super) type Opened = (Journal<MemoryDisk>, Recovery, Found);

pub(super) fn open(disk: &MemoryDisk, random: u64) -> Result<Opened, JournalError> {
    let mut found = Found::default();
    let (journal, recovery) = Journal::open(disk.clone(), config(), random, &mut found)?;
    assert_eq!(found.suspect, recovery.suspect);
    Ok((journal, recovery, found))
}

pub(super) fn opened(disk: &MemoryDisk, random: u64) -> Opened {
    open(disk, random).expect("the journal opens")
}

pub(super) fn refused(disk: &MemoryDisk) -> JournalError {
    match open(disk, 99) {
        Ok((_, recovery, _)) => panic!("opened, with {recovery:?}"),
        Err(error) => error,
    }
}

/// The entries that were found, none of them damaged, as they were written. Their bodies were given
/// to the fold, and can be read where they are.
pub(super) fn entries(disk: &MemoryDisk, found: &Found) -> Vec<Entry> {
    let with_body: Vec<_> = found.entries.iter().filter(|entry| entry.place.is_some()).collect();
    let places: Vec<_> = with_body.iter().filter_map(|entry| entry.place).collect();
    let bodies = Reader::new(disk.clone()).read(&places).expect("bodies are read");
    assert!(with_body.iter().map(|entry| &entry.body).eq(&bodies), "the bodies are there");
    assert!(found.entries.iter().all(|entry| !entry.is_damaged));
    let entry = |one: &FoundOne| Entry { head: one.head.clone(), body: one.body.clone() };
    found.entries.iter().map(entry).collect()
}

pub(super) fn commit(
    journal: &mut Journal<MemoryDisk>,
    first: u64,
    batch: &[Entry],
) -> super::Synced {
    let tickets = (first..).map(Ticket);
    journal.write(tickets.zip(batch.iter().cloned()).collect()).expect("the disk works");
    journal.sync().expect("the disk works")
}

#[test]
fn an_empty_directory_is_formatted_and_found_again() {
    let disk = MemoryDisk::default();
    let (mut journal, first, found) = opened(&disk, 7);
    assert_eq!((found.entries.len(), first.incarnation.0, first.torn), (0, 1, None));
    let batch = [control(1), records(2, 700), records(3, 0), records(4, 5000)];
    let synced = commit(&mut journal, 1, &batch);
    assert_eq!(synced.up_to, Ticket(4));
    let tickets: Vec<_> = synced.places.iter().map(|(ticket, _)| ticket.0).collect();
    assert_eq!(tickets, [2, 4], "entries without a body have no place");
    let bodies = Reader::new(disk.clone())
        .read(&synced.places.iter().map(|(_, place)| *place).collect::<Vec<_>>())
        .expect("bodies are read");
    assert_eq!(bodies, [batch[1].body.clone(), batch[3].body.clone()]);
    drop(journal);
    let (_, second, found) = opened(&disk, 8);
    assert_eq!(entries(&disk, &found), batch);
    assert_eq!((second.storage, second.incarnation.0), (first.storage, 2));
    assert_eq!((second.segments, second.entries, second.torn), (1, 4, None));
}

#[test]
fn a_batch_costs_one_sync_and_syncing_nothing_costs_none() {
    let disk = MemoryDisk::default();
    let (mut journal, ..) = opened(&disk, 7);
    let before = disk.syncs();
    commit(&mut journal, 1, &[records(1, 100), control(2)]);
    assert_eq!(disk.syncs(), before + 1);
    let synced = journal.sync().expect("nothing to do");
    assert_eq!((synced.up_to, synced.places.len()), (Ticket(2), 0));
    assert_eq!(disk.syncs(), before + 1);
}

#[test]
fn rotation_takes_a_spare_and_keeps_order_over_many_segments() {
    let disk = MemoryDisk::default();
    let (mut journal, ..) = opened(&disk, 7);
    let written: Vec<_> = (0..60).map(|number| records(number, 3000)).collect();
    for (number, entry) in written.iter().enumerate() {
        if journal.wants_spare() {
            let request: SpareRequest = journal.request_spare();
            journal.add_spare(request.fulfil(&mut disk.clone()).expect("the disk works"));
        }
        commit(&mut journal, number as u64, std::slice::from_ref(entry));
    }
    drop(journal);
    let (_, recovery, found) = opened(&disk, 8);
    assert!(recovery.segments > 3, "{recovery:?}");
    assert_eq!(entries(&disk, &found), written);
}

#[test]
fn a_lane_without_room_rotates_too() {
    let disk = MemoryDisk::default();
    let (mut journal, ..) = opened(&disk, 7);
    let entry = |number: u64| {
        let set = SetChange::initial(SetVersion::FIRST, ReplicaSet(vec![]));
        let (partition, creation) = (PartitionId(number as u32), CreationId(u64::MAX));
        let head = EntryHead::Create { partition, creation, set };
        Entry { head, body: Bytes::new() }
    };
    let written: Vec<_> = (0..2000).map(entry).collect();
    for (turn, batch) in written.chunks(70).enumerate() {
        commit(&mut journal, turn as u64 * 100, batch);
    }
    drop(journal);
    let (_, recovery, found) = opened(&disk, 8);
    assert!(recovery.segments > 1, "{recovery:?}");
    assert_eq!(entries(&disk, &found), written);
}

#[test]
fn what_is_too_long_for_one_batch_is_written_in_parts() {
    let disk = MemoryDisk::default();
    let (mut journal, ..) = opened(&disk, 7);
    let written: Vec<_> = (0..20).map(|number| records(number, 9000)).collect();
    let synced = commit(&mut journal, 1, &written);
    assert_eq!((synced.up_to, synced.places.len()), (Ticket(20), 20));
    drop(journal);
    let (_, _, found) = opened(&disk, 8);
    assert_eq!(entries(&disk, &found), written);
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    let disk = MemoryDisk::default();
    let (mut journal, ..) = opened(&disk, 7);
    journal.write(vec![(Ticket(1), control(1))]).expect("the disk works");
    disk.stop_after(0);
    assert!(matches!(journal.sync(), Err(JournalError::Io { action: "sync", .. })));
    disk.restart();
    let before = disk.syncs();
    assert!(matches!(journal.sync(), Err(JournalError::Stopped(_))));
    let refused = journal.write(vec![(Ticket(2), control(2))]);
    assert!(matches!(refused, Err(JournalError::Stopped(_))));
    assert!(!journal.wants_spare());
    assert_eq!(disk.syncs(), before);
}

#[test]
fn openings_in_a_row_do_not_add_up() {
    let disk = MemoryDisk::default();
    let (mut journal, ..) = opened(&disk, 7);
    commit(&mut journal, 1, &[control(1)]);
    drop(journal);
    for random in 0..10 {
        let (_, _, found) = opened(&disk, random);
        assert_eq!(found.entries.len(), 1);
        assert_eq!(disk.clone().list().expect("the disk works").len(), 2);
    }
}

#[test]
fn neighbouring_bodies_are_read_at_once() {
    let disk = MemoryDisk::default();
    let (mut journal, ..) = opened(&disk, 7);
    let written: Vec<_> = (0..12).map(|number| records(number, 500)).collect();
    let mut places = Vec::new();
    for (turn, batch) in written.chunks(4).enumerate() {
        let synced = commit(&mut journal, 10 * turn as u64, batch);
        places.extend(synced.places.into_iter().map(|(_, place)| place));
    }
    let mut reader = Reader::new(disk.clone());
    let before = disk.reads();
    let bodies = reader.read(&places).expect("bodies are read");
    assert_eq!(disk.reads(), before + 1);
    assert_eq!(bodies, written.iter().map(|entry| entry.body.clone()).collect::<Vec<_>>());
    places.reverse();
    let bodies = reader.read(&places).expect("bodies are read");
    assert_eq!(bodies, written.iter().rev().map(|entry| entry.body.clone()).collect::<Vec<_>>());
    places[0].segment = 9;
    assert!(reader.read(&places).is_err());
}

/// A journal of three batches in one segment, closed in good order.
pub(super) fn three_batches() -> (MemoryDisk, Vec<Place>) {
    let disk = MemoryDisk::default();
    let (mut journal, ..) = opened(&disk, 7);
    let mut places = Vec::new();
    for number in 0..3 {
        let batch = [control(number), records(number, 900), records(number + 50, 6000)];
        let synced = commit(&mut journal, number * 10, &batch);
        places.extend(synced.places.into_iter().map(|(_, place)| place));
    }
    (disk, places)
}

#[test]
fn a_journal_of_another_owner_is_refused() {
    let (disk, _) = three_batches();
    let others = [
        (JournalConfig { cluster: ClusterKey(9), ..config() }, "cluster"),
        (JournalConfig { node: NodeId(9), ..config() }, "node"),
    ];
    for (config, differs) in others {
        let opened = Journal::open(disk.clone(), config, 1, &mut Found::default());
        let Err(JournalError::Header { source: HeaderError::Foreign { what, .. }, .. }) = opened
        else {
            panic!("not refused")
        };
        assert_eq!(what, differs);
    }
    let (other, _) = three_batches();
    drop(opened(&other, 8));
    let foreign = MemoryDisk::default();
    drop(opened(&foreign, 1234));
    other.put(&segment_name(1), foreign.contents(&segment_name(1)));
    let JournalError::Header { source: HeaderError::Foreign { what, .. }, .. } = refused(&other)
    else {
        panic!("not refused")
    };
    assert_eq!(what, "storage");
}

#[test]
fn missing_and_short_files_are_named() {
    let (disk, _) = three_batches();
    let (mut journal, ..) = opened(&disk, 8);
    commit(&mut journal, 1, &[control(1)]);
    drop(journal);
    drop(opened(&disk, 9));

    let damaged = disk.fork();
    damaged.clone().remove(&segment_name(2)).expect("it is there");
    let JournalError::Missing { file, needed_by } = refused(&damaged) else { panic!("missing") };
    assert_eq!((file, needed_by), (segment_name(2), segment_name(3)));

    for length in [0, 100, 8192, SEGMENT_BYTES as usize - 1, SEGMENT_BYTES as usize + 1] {
        let damaged = disk.fork();
        let mut contents = damaged.contents(&segment_name(2));
        contents.resize(length, 0);
        damaged.put(&segment_name(2), contents);
        let JournalError::Length { file, found, .. } = refused(&damaged) else { panic!("short") };
        assert_eq!((file, found), (segment_name(2), length as u64));
    }
}

#[test]
fn an_entry_that_the_fold_refuses_is_named() {
    let (disk, _) = three_batches();
    let mut found = Found { capacity: Some(4), ..Found::default() };
    let opened = Journal::open(disk, config(), 1, &mut found);
    let Err(JournalError::Fold { file, index, reason, .. }) = opened else { panic!("refused") };
    assert_eq!((file, index, &reason[..]), (segment_name(1), 1, "no such partition"));
}

#[test]
fn a_segment_too_small_for_the_limits_is_refused() {
    for (segment_bytes, limits) in [
        (SEGMENT_BYTES, Limits::default()),
        (SEGMENT_BYTES + 1, config().limits),
        (0, config().limits),
    ] {
        let config = JournalConfig { segment_bytes, limits, ..config() };
        let opened = Journal::open(MemoryDisk::default(), config, 1, &mut Found::default());
        assert!(matches!(opened, Err(JournalError::SegmentBytes { .. })));
    }
}

#[test]
fn the_size_of_segments_may_change_between_openings() {
    let (disk, _) = three_batches();
    let larger = JournalConfig { segment_bytes: 2 * SEGMENT_BYTES, ..config() };
    let (mut journal, _) =
        Journal::open(disk.clone(), larger, 1, &mut Found::default()).expect("the journal opens");
    commit(&mut journal, 1, &[records(1, 20_000)]);
    drop(journal);
    assert_eq!(disk.contents(&segment_name(2)).len(), 2 * SEGMENT_BYTES as usize);
    let (_, _, found) = opened(&disk, 2);
    assert_eq!(found.entries.len(), 10);
}

#[test]
fn stale_bytes_in_a_spare_never_come_to_life() {
    let (disk, _) = three_batches();
    let stale = disk.contents(&segment_name(1));
    disk.put("spare-0.wal", stale.clone());
    disk.put("spare-7.wal", stale[..8192].to_vec());
    disk.put("spare-9.wal", vec![0; SEGMENT_BYTES as usize]);
    let (mut journal, _, found) = opened(&disk, 8);
    assert_eq!(found.entries.len(), 9);
    assert!(journal.wants_spare(), "of the three only the sound one was kept, and used");
    commit(&mut journal, 1, &[control(50)]);
    drop(journal);

    // Even if a segment were made of stale bytes, header apart, they would not count.
    let mut contents = disk.contents(&segment_name(2));
    let data = 12 << 10;
    let layout = Layout::new(SEGMENT_BYTES).expect("a valid size");
    assert_eq!(layout.segment_bytes() as usize, contents.len());
    contents[data + 4096..].copy_from_slice(&stale[data + 4096..]);
    disk.put(&segment_name(2), contents);
    let (_, _, found) = opened(&disk, 9);
    assert_eq!(found.entries.len(), 10);
}
