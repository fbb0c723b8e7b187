//! Crashes at any operation, over and over: what comes back is what was not released of a prefix
//! that has everything synced, and nothing else.

use bytes::Bytes;
use proptest::prelude::*;
use waltz_core::io::Ticket;
use waltz_core::journal::{Entry, Place, segment_name};
use waltz_core::time::Random;

use super::Synced;
use super::memory_disk::MemoryDisk;
use super::tests::{Found, SEGMENT_BYTES, control, entries, open, records};

/// How a life of the journal ends.
#[derive(Debug, Clone, Copy)]
enum Crash {
    /// The process dies: what it wrote is seen, and may still be lost with the next power cut.
    Process,
    /// The machine dies.
    Power,
}

/// One life: how many operations the disk allows it, how it ends, and the seed of its choices.
#[derive(Debug, Clone)]
struct Life {
    operations: u64,
    crash: Crash,
    seed: u64,
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let crash = prop_oneof![Just(Crash::Process), Just(Crash::Power)];
    let life = (prop_oneof![0..30_u64, 30..150_u64], crash, any::<u64>())
        .prop_map(|(operations, crash, seed)| Life { operations, crash, seed });
    proptest::collection::vec(life, 1..12)
}

/// What the journal must hold: everything from `needed` up to `durable`, and any prefix of the
/// rest; perhaps what was released, too.
#[derive(Debug, Default)]
struct Model {
    entries: Vec<Entry>,
    /// In which segments the bodies are, as far as that is known.
    segments: Vec<Option<u32>>,
    needed: usize,
    durable: usize,
    next: u64,
    is_released: bool,
}

impl Model {
    fn batch(&mut self, random: &mut Random) -> Vec<(Ticket, Entry)> {
        let count = 1 + random.bits() % 5;
        let mut entry = || {
            self.next += 1;
            let length = match random.bits() % 4 {
                0 => 0,
                1 => random.bits() % 100,
                2 => random.bits() % 3000,
                _ => random.bits() % 12_000,
            };
            match length {
                0 => (Ticket(self.next), control(self.next)),
                _ => (Ticket(self.next), records(self.next, length as usize)),
            }
        };
        let batch: Vec<_> = (0..count).map(|_| entry()).collect();
        self.entries.extend(batch.iter().map(|(_, entry)| entry.clone()));
        self.segments.resize(self.entries.len(), None);
        batch
    }

    /// Notes that everything is durable, and where. Tickets count entries.
    fn synced(&mut self, synced: &Synced) {
        self.durable = self.entries.len();
        for (ticket, place) in &synced.places {
            let index = self.entries.len() - (self.next - ticket.0) as usize - 1;
            self.segments[index] = Some(place.segment);
        }
    }

    /// A segment from which on the journal is to be kept.
    fn release(&mut self, random: &mut Random) -> Option<u32> {
        let index = random.bits() as usize % self.segments.len();
        let below = self.segments[index]?;
        let first = self.segments.iter().position(|&segment| segment == Some(below));
        self.needed = self.needed.max(first?);
        Some(below)
    }

    /// Checks what an opening found and takes it for the truth.
    fn found(&mut self, disk: &MemoryDisk, found: &Found) {
        let entries = entries(disk, found);
        let first = match entries.first() {
            Some(first) => self.entries.iter().position(|entry| entry == first),
            None => Some(self.needed),
        };
        let first = first.expect("what is found was written");
        assert!(first <= self.needed, "{first} entries were released, not {}", self.needed);
        let end = first + entries.len();
        assert!(end >= self.durable, "lost {} of {}", end, self.durable);
        assert!(end <= self.entries.len(), "found more than was written");
        assert_eq!(entries, self.entries[first..end]);
        self.is_released |= first > 0;
        assert_eq!(found.released, Some(self.is_released));
        self.segments = found.entries.iter().map(|one| Some(one.place?.segment)).collect();
        (self.needed, self.durable) = (0, entries.len());
        self.entries = entries;
    }
}

/// Opens the journal and writes until the disk stops.
fn live(disk: &MemoryDisk, model: &mut Model, life: &Life) {
    let mut random = Random::new(life.seed);
    disk.stop_after(life.operations);
    let Ok((mut journal, _, found)) = open(disk, random.bits()) else { return };
    disk.restart();
    model.found(disk, &found);
    disk.stop_after(life.operations);
    loop {
        if journal.wants_spare() && random.bits().is_multiple_of(4) {
            let Ok(spare) = journal.request_spare().fulfil(&mut disk.clone()) else { return };
            journal.add_spare(spare);
        }
        if random.bits().is_multiple_of(8) {
            // Nothing rests on where a replay may begin, true or not.
            journal.replay_from(random.bits() as u32 % 12);
        }
        let batch = model.batch(&mut random);
        let synced = journal.write(batch).and_then(|()| journal.sync());
        let Ok(synced) = synced else { return };
        model.synced(&synced);
        if random.bits().is_multiple_of(8)
            && let Some(below) = model.release(&mut random)
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

fn crash(disk: &MemoryDisk, life: &Life) {
    match life.crash {
        Crash::Process => disk.restart(),
        Crash::Power => disk.lose_power(&mut Random::new(!life.seed)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn exactly_a_prefix_with_everything_synced_comes_back(lives in lives()) {
        let (disk, mut model) = (MemoryDisk::default(), Model::default());
        for life in &lives {
            live(&disk, &mut model, life);
            crash(&disk, life);
        }
        let (_, recovery, found) = open(&disk, 1).expect("no crash is taken for damage");
        prop_assert_eq!((recovery.suspect, recovery.damaged.len()), (None, 0));
        model.found(&disk, &found);
    }

    /// The tail that an opening accepted is durable when it returns, even if it was only ever in
    /// the page cache of a process that died.
    #[test]
    fn what_an_opening_found_survives_the_next_power_cut(lives in lives(), seed in any::<u64>()) {
        let (disk, mut model) = (MemoryDisk::default(), Model::default());
        for life in &lives {
            live(&disk, &mut model, life);
            crash(&disk, &Life { crash: Crash::Process, ..life.clone() });
        }
        let (_, _, found) = open(&disk, 1).expect("no crash is taken for damage");
        model.found(&disk, &found);
        disk.lose_power(&mut Random::new(seed));
        let (_, recovery, found) = open(&disk, 2).expect("no crash is taken for damage");
        prop_assert_eq!(entries(&disk, &found), model.entries);
        prop_assert_eq!(recovery.torn, None);
    }

    /// A changed byte never makes an opening lose, change or invent anything silently: at most one
    /// body is damaged, and said to be.
    #[test]
    fn a_changed_byte_damages_no_more_than_it_hits(life in any::<u64>(), at in any::<usize>()) {
        let (disk, mut model) = (MemoryDisk::default(), Model::default());
        let life = Life { operations: 150, crash: Crash::Process, seed: life };
        live(&disk, &mut model, &life);
        disk.restart();
        let (journal, _, found) = open(&disk, 1).expect("no crash is taken for damage");
        model.found(&disk, &found);
        drop(journal);
        let names: Vec<_> = disk.names().into_iter().filter(|name| name.starts_with('j')).collect();
        let name = &names[at % names.len()];
        let at = at / names.len() % SEGMENT_BYTES as usize;
        disk.flip(name, at);
        let (_, recovery, damaged) = open(&disk, 2).expect("it opens all the same");
        prop_assert_eq!(recovery.suspect, None);
        let mut expected = found;
        for one in &mut expected.entries {
            let is_hit = |place: Place| {
                let body = place.offset as usize..(place.offset + place.length) as usize;
                segment_name(place.segment) == *name && body.contains(&at)
            };
            if one.place.is_some_and(is_hit) {
                (one.body, one.is_damaged) = (Bytes::new(), true);
            }
        }
        prop_assert_eq!(damaged, expected);
    }
}
