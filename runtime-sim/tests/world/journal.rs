//! The journal over a simulated disk, through crash after crash.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use madsim::time::sleep;
use waltz_core::id::{ClusterKey, Epoch, Mark, NodeId, PartitionId, SessionId, TransactionId};
use waltz_core::io::Ticket;
use waltz_core::journal::{Damage, Entry, EntryHead, Fold, FoundEntry, Place};
use waltz_core::limits::Limits;
use waltz_core::planted::Planted;
use waltz_core::time::Random;
use waltz_runtime::journal::{JournalConfig, JournalError};
use waltz_runtime::{JournalEvent, JournalPort};
use waltz_runtime_sim::{Chance, Crash, DiskQuality, SimHost, SimJournal, SimWorld, simulate};

use crate::peer::{HOUR, address, boot};

const BODY_BYTES: u64 = 6_000;

fn config() -> JournalConfig {
    JournalConfig {
        cluster: ClusterKey(1),
        node: NodeId(1),
        segment_bytes: 128 << 10,
        limits: Limits { frame_head: 1 << 10, frame_payload: 8 << 10, ..Limits::default() },
        planted: Planted::NONE,
    }
}

/// The `number`-th entry ever written: a run of records or a mark, by its number.
fn entry(number: u64) -> Entry {
    let partition = PartitionId(1);
    if number.is_multiple_of(3) {
        let mark = Mark::at(TransactionId(number));
        return Entry { head: EntryHead::LowWater { partition, mark }, body: Bytes::new() };
    }
    let session = SessionId { epoch: Epoch(1), server: NodeId(1), nonce: 1 };
    let (first, low_water) = (TransactionId(number), Mark::NONE);
    let head = EntryHead::Records { partition, session, first, count: 1, low_water };
    let length = Random::new(number).bits() % BODY_BYTES + 1;
    Entry { head, body: vec![number as u8; length as usize].into() }
}

/// The entries found, with the places of their bodies.
#[derive(Debug, Default)]
struct Found(Vec<(EntryHead, Option<Place>)>);

impl Fold for Found {
    fn begin(&mut self, released: bool) -> Result<(), String> {
        assert!(!released);
        Ok(())
    }

    fn entry(&mut self, entry: FoundEntry<'_>) -> Result<(), String> {
        assert!(!entry.is_damaged);
        self.0.push((entry.head, entry.place));
        Ok(())
    }

    fn end(&mut self, suspect: Option<&Damage>) -> Result<(), String> {
        assert_eq!(suspect, None);
        Ok(())
    }
}

fn open(host: &SimHost) -> Result<(SimJournal, Found), JournalError> {
    let mut found = Found::default();
    let (journal, _) = host.journal(config(), &mut found)?;
    Ok((journal, found))
}

async fn next_events(journal: &mut SimJournal) -> Vec<JournalEvent> {
    let mut events = Vec::new();
    poll_fn(|cx| journal.poll(cx, &mut events)).await;
    events
}

/// What must come back: everything up to `durable`, and any prefix of the rest up to `written`.
#[derive(Debug, Default)]
struct Model {
    durable: u64,
    written: u64,
}

impl Model {
    /// Checks what an opening found, reads the bodies, and takes it for the truth.
    async fn check(&mut self, journal: &mut SimJournal, found: &Found) {
        let count = found.0.len() as u64;
        assert!((self.durable..=self.written).contains(&count), "{count} entries, {self:?}");
        for (number, (head, _)) in found.0.iter().enumerate() {
            assert_eq!(*head, entry(number as u64).head);
        }
        let with_bodies = found
            .0
            .iter()
            .enumerate()
            .filter_map(|(number, (_, place))| place.map(|place| (number as u64, place)));
        let (numbers, places): (Vec<_>, Vec<_>) = with_bodies.unzip();
        journal.read(Ticket(1), places);
        let events = next_events(journal).await;
        let [JournalEvent::Read { result: Ok(bodies), .. }] = &events[..] else {
            panic!("one read was asked for: {events:?}");
        };
        let expected: Vec<_> = numbers.into_iter().map(|number| entry(number).body).collect();
        assert_eq!(*bodies, expected);
        (self.durable, self.written) = (count, count);
    }
}

/// Appends at random until the crash, and notes what is reported durable.
async fn append(mut journal: SimJournal, model: &RefCell<Model>, random: &mut Random) {
    let base = model.borrow().written;
    loop {
        for _ in 0..random.bits() % 5 {
            let number = model.borrow().written;
            journal.append(entry(number), Ticket(number - base + 1));
            model.borrow_mut().written += 1;
        }
        journal.flush();
        sleep(random.between(Duration::ZERO, Duration::from_millis(3))).await;
        let mut events = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while journal.poll(&mut cx, &mut events) == Poll::Ready(()) {}
        for event in events {
            match event {
                JournalEvent::Durable { up_to, .. } => model.borrow_mut().durable = base + up_to.0,
                other => panic!("nothing else was asked for: {other:?}"),
            }
        }
    }
}

async fn lives(world: SimWorld) {
    let (model, mut random) = (RefCell::new(Model::default()), world.random());
    for _ in 0..6 {
        let (mut journal, found) = open(&boot(&world, "a")).expect("nothing durable is damaged");
        let mut checked = model.take();
        checked.check(&mut journal, &found).await;
        model.replace(checked);
        let life = random.between(Duration::from_millis(1), Duration::from_millis(80));
        let crashed = madsim::time::timeout(life, append(journal, &model, &mut random)).await;
        assert!(crashed.is_err(), "it appends for ever");
        let crash = [Crash::Process, Crash::Power][random.bits() as usize % 2];
        world.crash(&address("a"), crash);
    }
    assert!(model.borrow().durable > 0);
}

#[test]
fn whatever_crash_comes_everything_reported_durable_comes_back_and_nothing_else() {
    for seed in 0..200 {
        simulate(seed, HOUR, lives);
    }
}

#[test]
fn what_is_flushed_during_a_sync_is_the_next_batch() {
    simulate(1, HOUR, |world| async move {
        let (mut journal, _) = open(&boot(&world, "a")).expect("the disk is empty");
        let mut durable = Vec::new();
        for number in 1..=5 {
            journal.append(entry(number), Ticket(number));
            journal.flush();
        }
        while durable.last() != Some(&5) {
            for event in next_events(&mut journal).await {
                let JournalEvent::Durable { up_to, places } = event else { panic!("{event:?}") };
                assert!(places.iter().all(|(ticket, _)| *ticket <= up_to));
                durable.push(up_to.0);
            }
        }
        assert_eq!(durable, [1, 5]);
    });
}

#[test]
fn a_failed_write_or_sync_is_told_once_and_ends_the_journal() {
    let always = Chance::ALWAYS;
    let sound = DiskQuality::default();
    for broken in [
        DiskQuality { failing_write: always, ..sound },
        DiskQuality { failing_sync: always, ..sound },
    ] {
        simulate(2, HOUR, move |world| async move {
            let (mut journal, _) = open(&boot(&world, "a")).expect("the disk is empty");
            world.disks().set_quality(&address("a"), broken);
            journal.append(entry(0), Ticket(1));
            journal.flush();
            let events = next_events(&mut journal).await;
            assert!(matches!(&events[..], [JournalEvent::Failed { .. }]), "{events:?}");
            world.disks().calm();
            journal.append(entry(1), Ticket(2));
            journal.flush();
            sleep(Duration::from_secs(1)).await;
            let mut cx = Context::from_waker(Waker::noop());
            assert!(journal.poll(&mut cx, &mut Vec::new()).is_pending());
        });
    }
}

#[test]
fn a_read_error_ends_the_read_and_nothing_else() {
    simulate(3, HOUR, |world| async move {
        let (mut journal, _) = open(&boot(&world, "a")).expect("the disk is empty");
        journal.append(entry(1), Ticket(1));
        journal.flush();
        let events = next_events(&mut journal).await;
        let [JournalEvent::Durable { places, .. }] = &events[..] else { panic!("{events:?}") };
        let place = places[0].1;
        let failing_read = Chance::ALWAYS;
        let failing = DiskQuality { failing_read, ..DiskQuality::default() };
        world.disks().set_quality(&address("a"), failing);
        journal.read(Ticket(1), vec![place]);
        let events = next_events(&mut journal).await;
        assert!(matches!(&events[..], [JournalEvent::Read { result: Err(_), .. }]), "{events:?}");
        world.disks().calm();
        journal.read(Ticket(2), vec![place]);
        let events = next_events(&mut journal).await;
        let [JournalEvent::Read { result: Ok(bodies), .. }] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(*bodies, [entry(1).body]);
    });
}
