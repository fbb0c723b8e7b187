//! A journal on real files whose process dies at any operation, over and over, and whose machine
//! sometimes dies with it: then any sectors that were not synced are lost.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use waltz_core::id::{ClusterKey, Epoch, Mark, NodeId, PartitionId, SessionId, TransactionId};
use waltz_core::io::Ticket;
use waltz_core::journal::{Damage, Entry, EntryHead, Fold, FoundEntry, SECTOR_BYTES};
use waltz_core::limits::Limits;
use waltz_core::planted::Planted;
use waltz_core::time::Random;
use waltz_runtime::disk::{Disk, ReadDisk};
use waltz_runtime::journal::{Journal, JournalConfig, Synced};
use waltz_runtime_tokio::FileDisk;

/// Files that forget what was not synced. Clones share them.
#[derive(Debug, Clone)]
struct ForgetfulDisk {
    disk: FileDisk,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// How many operations succeed before the process dies.
    left: u64,
    /// In the order of the writes.
    unsynced: Vec<Unsynced>,
}

/// A write, and what was there before.
#[derive(Debug)]
struct Unsynced {
    file: File,
    inode: u64,
    offset: u64,
    before: Bytes,
}

impl ForgetfulDisk {
    fn new(disk: FileDisk) -> Self {
        Self { disk, state: Arc::new(Mutex::new(State { left: 0, unsynced: Vec::new() })) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the disk")
    }

    fn live_for(&self, operations: u64) {
        self.state().left = operations;
    }

    fn operation(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.left = state.left.checked_sub(1).ok_or_else(|| io::Error::other("it is dead"))?;
        Ok(state)
    }

    /// Any sectors of what was not synced are as they were before.
    fn lose_power(&mut self, random: &mut Random) {
        let (keeps_all, loses_all) =
            (random.bits().is_multiple_of(8), random.bits().is_multiple_of(8));
        let unsynced = std::mem::take(&mut self.state().unsynced);
        for Unsynced { file, offset, before, .. } in unsynced.iter().rev() {
            let (mut at, end) = (*offset, offset + before.len() as u64);
            while at < end {
                let sector = SECTOR_BYTES as u64;
                let next = ((at / sector + 1) * sector).min(end);
                if !keeps_all && (loses_all || random.bits().is_multiple_of(2)) {
                    let old = before.slice((at - offset) as usize..(next - offset) as usize);
                    self.disk.write_at(file, at, &[old]).expect("the file system works");
                }
                at = next;
            }
        }
    }
}

fn inode(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.ino())
}

impl ReadDisk for ForgetfulDisk {
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

impl Disk for ForgetfulDisk {
    fn create_zeroed(&mut self, name: &str, length: u64) -> io::Result<File> {
        drop(self.operation()?);
        self.disk.create_zeroed(name, length)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        drop(self.operation()?);
        self.disk.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        drop(self.operation()?);
        self.disk.remove(name)
    }

    fn write_at(&mut self, file: &File, offset: u64, slices: &[Bytes]) -> io::Result<()> {
        drop(self.operation()?);
        let before = self.disk.read_at(file, offset, slices.iter().map(Bytes::len).sum())?;
        let (inode, file_too) = (inode(file)?, file.try_clone()?);
        self.state().unsynced.push(Unsynced { file: file_too, inode, offset, before });
        self.disk.write_at(file, offset, slices)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        let synced = inode(file)?;
        self.operation()?.unsynced.retain(|one| one.inode != synced);
        self.disk.sync(file)
    }
}

/// An entry: its number, and where its body is if that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    number: u64,
    segment: Option<u32>,
}

/// What the journal must hold: everything from `needed` up to `durable`, and any prefix of what
/// follows; perhaps what was released, too.
#[derive(Debug, Default)]
struct Model {
    entries: Vec<Known>,
    needed: usize,
    durable: usize,
    next: u64,
}

impl Model {
    fn batch(&mut self, random: &mut Random) -> Vec<(Ticket, Entry)> {
        let batch = (0..1 + random.bits() % 5).map(|_| {
            self.next += 1;
            self.entries.push(Known { number: self.next, segment: None });
            (Ticket(self.next), entry(self.next))
        });
        batch.collect()
    }

    fn synced(&mut self, synced: &Synced) {
        self.durable = self.entries.len();
        for (ticket, place) in &synced.places {
            let known = self.entries.iter_mut().rev().find(|known| known.number == ticket.0);
            known.expect("it was written").segment = Some(place.segment);
        }
    }

    /// The segment that the last few entries begin in: nothing before is needed any more.
    fn release(&mut self) -> Option<u32> {
        let first = self.durable.checked_sub(40)?;
        let below = self.entries[first].segment?;
        let first = self.entries.iter().position(|known| known.segment == Some(below))?;
        self.needed = self.needed.max(first);
        Some(below)
    }

    fn found(&mut self, found: Vec<Known>, life: u64) {
        let same = |known: &Known| found.first().is_some_and(|one| one.number == known.number);
        let first = match found.is_empty() {
            true => self.needed,
            false => self.entries.iter().position(same).expect("what is found was written"),
        };
        let end = first + found.len();
        assert!(first <= self.needed, "life {life}: what is needed was released");
        assert!(end >= self.durable, "life {life}: found {end} of {} durable ones", self.durable);
        let written = self.entries.get(first..end).expect("nothing was invented");
        let numbers = |all: &[Known]| all.iter().map(|one| one.number).collect::<Vec<_>>();
        assert_eq!(numbers(written), numbers(&found), "life {life}");
        (self.needed, self.durable, self.entries) = (0, found.len(), found);
    }
}

fn entry(number: u64) -> Entry {
    let session = SessionId { epoch: Epoch(1), server: NodeId(1), nonce: 1 };
    let (partition, first) = (PartitionId(0), TransactionId(number));
    let head = EntryHead::Records { partition, session, first, count: 1, low_water: Mark::NONE };
    let length = Random::new(number).bits() as usize % 9000 + 8;
    let mut body = number.to_le_bytes().repeat(length / 8 + 1);
    body.truncate(length);
    Entry { head, body: body.into() }
}

/// Every entry, as it was written.
#[derive(Default)]
struct Found(Vec<Known>);

impl Fold for Found {
    fn begin(&mut self, _: bool) -> Result<(), String> {
        self.0.clear();
        Ok(())
    }

    fn entry(&mut self, found: FoundEntry<'_>) -> Result<(), String> {
        let EntryHead::Records { first, .. } = found.head else {
            return Err("an entry of another kind".to_owned());
        };
        let written = entry(first.0);
        if (found.is_damaged, found.body) != (false, &written.body[..]) {
            return Err(format!("entry {first} is not as it was written"));
        }
        let segment = found.place.map(|place| place.segment);
        self.0.push(Known { number: first.0, segment });
        Ok(())
    }

    fn end(&mut self, suspect: Option<&Damage>) -> Result<(), String> {
        suspect.map_or(Ok(()), |damage| Err(damage.to_string()))
    }
}

fn config() -> JournalConfig {
    let limits = Limits { frame_head: 1 << 10, frame_payload: 32 << 10, ..Limits::default() };
    let (cluster, node, planted) = (ClusterKey(1), NodeId(2), Planted::NONE);
    JournalConfig { cluster, node, segment_bytes: 64 << 10, limits, planted }
}

/// Opens the journal and writes until the process dies.
fn live(disk: &ForgetfulDisk, model: &mut Model, random: &mut Random, life: u64) {
    let operations = random.bits() % if life.is_multiple_of(3) { 12 } else { 120 };
    disk.live_for(operations);
    let mut found = Found::default();
    let opened = Journal::open(disk.clone(), config(), random.bits(), &mut found);
    let mut journal = match opened {
        Ok((journal, recovery)) => {
            assert!(recovery.damaged.is_empty(), "life {life}: {:?}", recovery.damaged);
            journal
        }
        Err(_) if disk.state().left == 0 => return,
        Err(error) => panic!("life {life}: no crash is taken for damage: {error}"),
    };
    model.found(found.0, life);
    loop {
        if journal.wants_spare() && random.bits().is_multiple_of(4) {
            let Ok(spare) = journal.request_spare().fulfil(&mut disk.clone()) else { return };
            journal.add_spare(spare);
        }
        if random.bits().is_multiple_of(8) {
            // Nothing rests on where a replay may begin, true or not.
            journal.replay_from(random.bits() as u32 % 64);
        }
        let batch = model.batch(random);
        let Ok(synced) = journal.write(batch).and_then(|()| journal.sync()) else { return };
        model.synced(&synced);
        if random.bits().is_multiple_of(8)
            && let Some(below) = model.release()
        {
            let Ok(released) = journal.release(below) else { return };
            for segment in released {
                if segment.remove(&mut disk.clone()).is_err() {
                    return;
                }
            }
        }
    }
}

fn cycles(count: u64) {
    let directory = tempfile::tempdir().expect("there is room for files");
    let disk = FileDisk::open(directory.path().join("journal")).expect("it can be used");
    let (mut disk, mut model) = (ForgetfulDisk::new(disk), Model::default());
    let (mut random, mut deaths) = (Random::new(count), 0);
    for life in 0..count {
        live(&disk, &mut model, &mut random, life);
        if random.bits().is_multiple_of(2) {
            disk.lose_power(&mut random);
            deaths += 1;
        }
    }
    disk.live_for(u64::MAX);
    let mut found = Found::default();
    Journal::open(disk, config(), 1, &mut found).expect("no crash is taken for damage");
    model.found(found.0, count);
    assert!(deaths > count / 3 && model.next > count, "{deaths} deaths, {} entries", model.next);
}

#[test]
fn what_was_acknowledged_outlives_crashes_and_nothing_is_invented() {
    cycles(150);
}

#[test]
#[ignore = "five thousand crashes take minutes; run them on demand"]
fn what_was_acknowledged_outlives_five_thousand_crashes() {
    cycles(5000);
}
