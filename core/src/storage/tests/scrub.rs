//! The search for rot.

use std::time::Duration;

use bytes::Bytes;

use crate::id::{Mark, TransactionId};
use crate::storage::ScrubConfig;
use crate::storage::testing::{Rig, run, session};
use crate::time::Time;
use crate::wire::{ReplicaAnswer, ReplicaRequest};

const INTERVAL: Duration = Duration::from_secs(100);

/// A node that scrubs, with joined session 1 and a durable run for each of the counts.
fn rig(bytes_per_second: u32, counts: &[u64]) -> Rig {
    let mut rig = Rig::new();
    rig.begin(1, counts, Mark::NONE);
    rig.config.scrub = ScrubConfig { bytes_per_second, interval: INTERVAL };
    rig.restart();
    rig.ask(1, ReplicaRequest::Resume, Bytes::new());
    rig
}

/// Scrubs for so long; how many bytes were read, and in how many reads.
fn scrub(rig: &mut Rig, time: Duration) -> (u64, usize) {
    let (end, mut bytes, mut reads) = (rig.now + time, 0, 0);
    loop {
        assert!(rig.reads.len() <= 1, "one read in flight");
        if let Some((_, places)) = rig.reads.front() {
            bytes += places.iter().map(|place| u64::from(place.length)).sum::<u64>();
            reads += 1;
            rig.finish_read();
            continue;
        }
        match rig.storage.deadline().filter(|deadline| *deadline <= end) {
            Some(_) => rig.wake(),
            None => break,
        };
    }
    rig.now = end;
    (bytes, reads)
}

fn bytes(counts: &[u64]) -> u64 {
    run(1, 0, counts.iter().sum()).len() as u64
}

#[test]
fn a_round_reads_everything_once_and_the_next_begins_after_the_interval() {
    let counts = [3, 4, 5];
    let all = bytes(&counts);
    let mut rig = rig(1 << 20, &counts);
    assert_eq!(scrub(&mut rig, INTERVAL / 2), (all, 1));
    assert!(rig.storage.deadline().is_some_and(|next| next > rig.now));
    assert_eq!(scrub(&mut rig, INTERVAL / 4), (0, 0));
    assert_eq!(scrub(&mut rig, INTERVAL), (all, 1));
}

#[test]
fn the_rate_is_kept() {
    let counts = [3000; 8];
    let all = bytes(&counts);
    let rate = all as u32 / 10;
    let mut rig = rig(rate, &counts);
    let (half, _) = scrub(&mut rig, Duration::from_secs(5));
    let one_read = all / 8 + u64::from(rate) + (256 << 10);
    assert!(half > all / 4 && half <= all / 2 + one_read, "{half} of {all}");
    let (rest, _) = scrub(&mut rig, Duration::from_secs(20));
    assert_eq!(half + rest, all);
}

#[test]
fn without_a_rate_nothing_is_read() {
    let mut rig = rig(0, &[3]);
    assert_eq!((rig.storage.deadline(), rig.reads.len()), (None, 0));
    rig.wake();
    assert_eq!((rig.now, rig.reads.len()), (Time::ZERO, 0));
}

#[test]
fn rot_is_found_and_told_to_the_server_and_not_twice() {
    let mut rig = rig(1 << 20, &[3, 4]);
    rig.rot(5);
    let replies = rig.finish_read();
    let [reply] = &replies[..] else { panic!("{replies:?}") };
    let ReplicaAnswer::Damaged { ranges } = &reply.message.answer else { panic!("{reply:?}") };
    assert_eq!(ranges.len(), 1);
    assert_eq!((ranges[0].first, ranges[0].last), (TransactionId(5), TransactionId(5)));
    assert!(rig.reports[0].text.contains("5..=5 can't be read here"), "{:?}", rig.reports);

    scrub(&mut rig, INTERVAL * 3 / 2);
    assert!(rig.reports.is_empty());
    let repair = ReplicaRequest::Repair { origin: session(1), first: TransactionId(4), count: 3 };
    rig.ask(1, repair, run(1, 4, 3));
    rig.sync_all();
    assert!(rig.replica().unwrap().is_whole());
    scrub(&mut rig, INTERVAL * 3 / 2);
    assert!(rig.replica().unwrap().is_whole());
}
