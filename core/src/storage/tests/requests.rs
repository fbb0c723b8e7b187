//! Single requests: strangers, bad payloads, absurd ids, closed connections, and their cost.

use bytes::Bytes;

use crate::id::{CreationId, Mark, ReplicaSet, SetVersion, TransactionId};
use crate::io::Level;
use crate::log::LogSummary;
use crate::storage::testing::{
    CREATION, PARTITION, Rig, append, caller, empty_log, position, replicas, run, session,
};
use crate::wire::{ReplicaAnswer, ReplicaRequest, ToReplica};

#[test]
fn only_this_creation_and_this_very_disk_are_answered_for() {
    let mut rig = Rig::new();
    let ReplicaSet(mut others) = replicas();
    others[0].storage.0 += 1;
    let answer = |rig: &mut Rig, creation, replicas| {
        let version = SetVersion::FIRST;
        let request = ReplicaRequest::Open { version, replicas, learner: None };
        let (partition, session) = (PARTITION, session(1));
        let request = ToReplica { partition, creation, session, request };
        rig.send(caller(1), request, Bytes::new()).pop().map(|reply| reply.message.answer)
    };
    let unknown = Some(ReplicaAnswer::Unknown);
    assert_eq!(answer(&mut rig, CREATION, ReplicaSet(others)), unknown);
    assert_eq!(rig.journal.len(), 0);
    assert_eq!(answer(&mut rig, CREATION, replicas()), None);
    assert_eq!(answer(&mut rig, CreationId(43), replicas()), unknown);
    assert_eq!(rig.journal.len(), 2);
}

/// A node that has joined session 1 and holds ids 0 to 3.
fn joined() -> Rig {
    let mut rig = Rig::new();
    rig.begin(1, &[4], Mark::NONE);
    rig
}

#[test]
fn bad_payloads_are_refused_and_reported() {
    let rotten = {
        let mut bytes = run(1, 4, 2).to_vec();
        bytes[70] ^= 1;
        Bytes::from(bytes)
    };
    let cases = [
        (append(4, 2, Mark::NONE), rotten, "checksum"),
        (append(4, 3, Mark::NONE), run(1, 4, 2), "says 3 records and holds 2"),
        (append(4, 0, Mark::NONE), Bytes::new(), "says 0 records and holds 0"),
        (append(4, 2, Mark::NONE), run(1, 5, 2), "holds record 5 where 4 belongs"),
        (append(4, 2, Mark::NONE), run(1, 4, 2).slice(..100), "cut short"),
        (append(4, 1, Mark::NONE), Bytes::from_static(&[0xff; 80]), "over the limit"),
    ];
    let mut rig = joined();
    for (request, payload, wrong) in cases {
        let replies = rig.ask(1, request, payload);
        let [reply] = &replies[..] else { panic!("{replies:?}") };
        let ReplicaAnswer::OutOfPlace { reason } = &reply.message.answer else {
            panic!("{reply:?}")
        };
        assert!(reason.contains(wrong), "{reason}");
        assert_eq!(rig.reports[0].level, Level::Warning);
        assert_eq!(rig.replica().unwrap().last(), Mark::at(TransactionId(3)));
    }
}

#[test]
fn absurd_ids_are_refused() {
    let mut rig = joined();
    let far = TransactionId(u64::MAX);
    let requests = [
        ReplicaRequest::Append { first: far, count: u32::MAX, committed: Mark::before(far) },
        ReplicaRequest::Copy { origin: session(1), first: far, count: u32::MAX },
        ReplicaRequest::Join { at: position(Mark::before(far)) },
        ReplicaRequest::Repair { origin: session(1), first: far, count: u32::MAX },
        ReplicaRequest::Read { request: 1, first: far, to: Mark::before(far), max_bytes: 0 },
        ReplicaRequest::Adopt {
            chosen: LogSummary {
                sessions: vec![(session(1), far)],
                last: Mark::before(far),
                ..empty_log()
            },
        },
    ];
    for request in requests {
        let replies = rig.ask(1, request, Bytes::new());
        let refused = matches!(
            replies[0].message.answer,
            ReplicaAnswer::OutOfPlace { .. } | ReplicaAnswer::ReadFailed { .. }
        );
        assert!(refused, "{replies:?}");
    }
}

#[test]
fn a_closed_connection_is_answered_no_more() {
    let mut rig = joined();
    rig.ask_as(caller(1), 1, append(4, 1, Mark::NONE), run(1, 4, 1));
    rig.ask_as(caller(2), 1, append(4, 1, Mark::NONE), run(1, 4, 1));
    rig.storage.on_closed(caller(1));
    let replies = rig.sync_all();
    assert_eq!(replies.iter().map(|reply| reply.to).collect::<Vec<_>>(), [caller(2)]);
}

/// However many records a run has, appending it is one entry that shares the payload's buffer and
/// one entry of the index.
#[test]
fn the_cost_of_an_append_does_not_grow_with_its_records() {
    let mut rig = joined();
    for (first, count) in [(4, 1), (5, 1000)] {
        let payload = run(1, first, count);
        let (entries, runs) = (rig.journal.len(), rig.replica().unwrap().index().runs().len());
        rig.ask(1, append(first, count, Mark::NONE), payload.clone());
        assert_eq!(rig.journal.len(), entries + 1);
        assert_eq!(rig.replica().unwrap().index().runs().len(), runs + 1);
        let body = &rig.journal[entries].body;
        assert_eq!((body.as_ptr(), body.len()), (payload.as_ptr(), payload.len()));
    }
}
