//! A partition that has come to its quota says so, and takes what comes all the same.

use bytes::Bytes;

use crate::id::{Mark, TransactionId};
use crate::storage::StorageReply;
use crate::storage::testing::{Rig, append, open, run};
use crate::wire::{ReplicaAnswer, ReplicaRequest};

/// A replica that may have three records and a half.
fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.config.space.quota_bytes = 7 * run(1, 0, 1).len() as u64 / 2;
    rig.restart();
    rig.begin(1, &[1], Mark::NONE);
    rig
}

/// Appends one record and makes it durable; what is said of the quota then.
fn append_one(rig: &mut Rig, id: u64) -> Vec<bool> {
    let committed = Mark::before(TransactionId(id));
    let mut replies = rig.ask(1, append(id, 1, committed), run(1, id, 1));
    replies.extend(rig.sync_all());
    let last = Mark::at(TransactionId(id));
    assert!(replies.iter().any(|reply| reply.message.answer == ReplicaAnswer::Acked { last }));
    said(&replies)
}

fn trim(rig: &mut Rig, to: u64) -> Vec<bool> {
    let start = Mark::at(TransactionId(to));
    let mut replies = rig.ask(1, ReplicaRequest::Trim { start }, Bytes::new());
    replies.extend(rig.sync_all());
    said(&replies)
}

fn said(replies: &[StorageReply]) -> Vec<bool> {
    let quota = |reply: &StorageReply| match reply.message.answer {
        ReplicaAnswer::Quota { is_over } => Some(is_over),
        _ => None,
    };
    replies.iter().filter_map(quota).collect()
}

#[test]
fn the_session_hears_of_it_once_and_again_when_it_is_over() {
    let mut rig = rig();
    assert_eq!(append_one(&mut rig, 1), []);
    assert_eq!(append_one(&mut rig, 2), []);
    assert_eq!(append_one(&mut rig, 3), [true]);
    assert!(rig.storage.measure_replicas()[0].is_over_quota);
    assert_eq!(append_one(&mut rig, 4), [], "what is there is taken, and nothing more is said");
    assert_eq!(trim(&mut rig, 0), [], "four records are left");
    assert_eq!(trim(&mut rig, 3), [false]);
    assert!(!rig.storage.measure_replicas()[0].is_over_quota);
    assert_eq!(append_one(&mut rig, 5), []);
    assert_eq!(append_one(&mut rig, 6), [true]);
}

#[test]
fn a_session_that_begins_hears_of_it_after_a_restart_too() {
    let mut rig = rig();
    for id in 1..=3 {
        append_one(&mut rig, id);
    }
    rig.restart();
    rig.ask(2, open(), Bytes::new());
    let told = rig.ask(2, open(), Bytes::new());
    assert_eq!(said(&told), [true]);
}
