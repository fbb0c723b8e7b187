//! One bit flipped in each stored record in turn.

use bytes::Bytes;

use crate::id::{Mark, TransactionId};
use crate::storage::testing::{Rig, run, session};
use crate::wire::{ReplicaAnswer, ReplicaRequest};

const RECORDS: u64 = 12;

fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.begin(1, &[3, 1, 5, 3], Mark::NONE);
    rig
}

/// Reads the whole log as its server does: what can't be read is repaired, and read then.
/// How many repairs it took.
fn read_and_repair(rig: &mut Rig) -> usize {
    let (mut next, mut repairs) = (0, 0);
    while next < RECORDS {
        let (first, to) = (TransactionId(next), Mark::before(TransactionId(RECORDS)));
        let read = ReplicaRequest::Read { request: 1, first, to, max_bytes: 10_000 };
        let mut replies = rig.ask(1, read, Bytes::new());
        replies.extend(rig.finish_reads());
        for reply in replies {
            match reply.message.answer {
                ReplicaAnswer::Records { first, count, .. } => {
                    assert_eq!(first.0, next);
                    next += u64::from(count);
                    assert_eq!(reply.payload, run(1, first.0, count.into()));
                }
                ReplicaAnswer::Damaged { ranges } => {
                    for range in ranges {
                        let count = range.last.0 + 1 - range.first.0;
                        let (origin, first) = (session(1), range.first);
                        let repair = ReplicaRequest::Repair { origin, first, count: count as u32 };
                        rig.ask(1, repair, run(1, first.0, count));
                        repairs += 1;
                    }
                    let replies = rig.sync_all();
                    let whole = ReplicaAnswer::Damaged { ranges: Vec::new() };
                    assert!(replies.iter().any(|reply| reply.message.answer == whole));
                }
                ReplicaAnswer::ReadFailed { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
    repairs
}

#[test]
fn every_read_is_right_and_every_record_repaired() {
    let mut rig = rig();
    for id in 0..RECORDS {
        for bit in [0, 7, 31, 40, 64, 130, 200, 300, 420, 511] {
            rig.flip(id, bit);
            assert_eq!(read_and_repair(&mut rig), 1, "bit {bit} of record {id}");
            assert!(rig.replica().unwrap().is_whole());
            assert_eq!(read_and_repair(&mut rig), 0);
        }
    }
    rig.restart();
    rig.ask(1, ReplicaRequest::Resume, Bytes::new());
    rig.finish_reads();
    assert!(rig.replica().unwrap().is_whole(), "the repairs are what counts, not the rot");
    assert_eq!(read_and_repair(&mut rig), 0);
}
