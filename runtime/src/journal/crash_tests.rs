//! Crashes at any operation, over and over: what comes back is a prefix that has everything
//! synced, and nothing else.

use proptest::prelude::*;
use waltz_core::io::Ticket;
use waltz_core::journal::Entry;
use waltz_core::time::Random;

use super::memory_disk::MemoryDisk;
use super::tests::{SEGMENT_BYTES, control, entries, open, records};

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

/// What the journal must hold: everything up to `durable`, and any prefix of the rest.
#[derive(Debug, Default)]
struct Model {
    entries: Vec<Entry>,
    durable: usize,
    next: u64,
}

impl Model {
    fn batch(&mut self, random: &mut Random) -> Vec<(Ticket, Entry)> {
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
        (0..5).map(|_| entry()).collect()
    }

    /// Checks what an opening found and takes it for the truth.
    fn found(&mut self, found: Vec<Entry>) {
        assert!(found.len() >= self.durable, "lost {} of {}", found.len(), self.durable);
        assert!(found.len() <= self.entries.len(), "found more than was written");
        assert_eq!(found, self.entries[..found.len()]);
        self.durable = found.len();
        self.entries = found;
    }
}

/// Opens the journal and writes until the disk stops.
fn live(disk: &MemoryDisk, model: &mut Model, life: &Life) {
    let mut random = Random::new(life.seed);
    disk.stop_after(life.operations);
    let Ok((mut journal, _, found)) = open(disk, random.bits()) else { return };
    disk.restart();
    model.found(entries(disk, &found));
    disk.stop_after(life.operations);
    loop {
        if journal.wants_spare() && random.bits().is_multiple_of(4) {
            let Ok(spare) = journal.request_spare().fulfil(&mut disk.clone()) else { return };
            journal.add_spare(spare);
        }
        let mut batch = model.batch(&mut random);
        batch.truncate(1 + random.bits() as usize % 5);
        model.entries.extend(batch.iter().map(|(_, entry)| entry.clone()));
        if journal.write(batch).is_err() || journal.sync().is_err() {
            return;
        }
        model.durable = model.entries.len();
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
        let (_, _, found) = open(&disk, 1).expect("no crash is taken for damage");
        model.found(entries(&disk, &found));
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
        model.found(entries(&disk, &found));
        disk.lose_power(&mut Random::new(seed));
        let (_, recovery, found) = open(&disk, 2).expect("no crash is taken for damage");
        prop_assert_eq!(entries(&disk, &found), model.entries);
        prop_assert_eq!(recovery.torn, None);
    }

    /// A changed byte never makes an opening lose, change or invent anything silently: either it
    /// is refused, or everything is as it was.
    #[test]
    fn a_changed_byte_is_refused_or_harmless(life in any::<u64>(), at in any::<usize>()) {
        let (disk, mut model) = (MemoryDisk::default(), Model::default());
        let life = Life { operations: 150, crash: Crash::Process, seed: life };
        live(&disk, &mut model, &life);
        disk.restart();
        let (journal, _, found) = open(&disk, 1).expect("no crash is taken for damage");
        model.found(entries(&disk, &found));
        drop(journal);
        let names: Vec<_> = disk.names().into_iter().filter(|name| name.starts_with('j')).collect();
        let name = &names[at % names.len()];
        disk.flip(name, at / names.len() % SEGMENT_BYTES as usize);
        if let Ok((_, _, found)) = open(&disk, 2) {
            prop_assert_eq!(entries(&disk, &found), model.entries);
        }
    }
}
