//! Reading records back.

use bytes::Bytes;

use super::script::check;
use crate::id::{Mark, TransactionId};
use crate::io::Ticket;
use crate::storage::testing::{Rig, caller};
use crate::wire::{ReplicaAnswer, ReplicaRequest};

#[test]
fn only_what_is_durable_is_read() {
    check(
        "> s1 open
           journal create
           journal promise s1
         > s1 adopt nothing
         > s1 join none
           journal join s1
         > s1 append 0..2 committed none
           journal records 0..2 of s1, low water none
         > s1 read 0..2 max 1000
           -> s1 read failed: no durable record from 0 to 2: they end at none
         > sync
           -> s1 opened: normal none, log nothing, low water none
           -> s1 adopted, last none
           -> s1 joined
           -> s1 acked 2
         > s1 append 3..5 committed none
           journal records 3..5 of s1, low water none
         > s1 read 1..9 max 1000
         > s1 read 3..3 max 1000
           -> s1 read failed: no durable record from 3 to 3: they end at 2
         > sync
           -> s1 acked 5
         > read
           -> s1 records 1..2 of s1
         > s1 read 1..4 max 1000
         > read
           -> s1 records 1..2 of s1, more comes
           -> s1 records 3..4 of s1",
    );
}

/// Records 0 to 6 take 64, 72, 80, 88, 96, 104 and 112 bytes.
#[test]
fn a_read_is_cut_to_its_bytes_but_never_to_nothing() {
    check(
        "> s1 begins with 0..2 3..6 committed none
         > s1 read 1..6 max 0
         > read
           -> s1 records 1..1 of s1
         > s1 read 0..6 max 140
         > read
           -> s1 records 0..1 of s1
         > s1 read 2..6 max 620
         > read
           -> s1 records 2..2 of s1, more comes
           -> s1 records 3..6 of s1
         > s1 read 3..6 max 200
         > read
           -> s1 records 3..4 of s1",
    );
}

#[test]
fn rot_is_never_served() {
    check(
        "> s1 begins with 0..2 3..5 committed none
         > rot 4
         > s1 read 1..5 max 10000
         > read
           report Error: the run of 3 records from 3 (segment 1, offset 4000) is damaged: record checksum is 4559e617, computed 271a488d; 4..=4 can't be read here
           -> s1 records 1..2 of s1, more comes
           -> s1 records 3..3 of s1
           -> s1 can't read 4..4
         > s1 read 3..5 max 10000
         > read
           -> s1 records 3..3 of s1
         > s1 read 0..0 max 10000
         > fail read
           report Error: the run of 3 records from 0 (segment 1, offset 3000) is damaged: they can't be read: input/output error; 0..=2 can't be read here
           -> s1 can't read 0..2 4..4
           -> s1 read failed: they can't be read: input/output error",
    );
}

#[test]
fn what_was_cut_during_a_read_is_not_served() {
    check(
        "> s1 begins with 0..4 committed none
         > s1 read 1..4 max 10000
         > s1 read 1..2 max 10000
         > s3 open
           journal promise s3
         > s3 adopt s1@0 s2@3 to 4
           journal cut to 2
         > s3 copy s2 3..4
           journal records 3..4 of s2, low water none
         > read
           -> s1 read failed: the records were cut meanwhile
         > read
           -> s1 records 1..2 of s1",
    );
}

fn read(request: u64) -> ReplicaRequest {
    let (first, to) = (TransactionId(0), Mark::at(TransactionId(0)));
    ReplicaRequest::Read { request, first, to, max_bytes: 100 }
}

#[test]
fn reads_under_way_are_bounded_for_each_caller_and_end_with_it() {
    let mut rig = Rig::new();
    rig.begin(1, &[1], Mark::NONE);

    for request in 0..64 {
        assert_eq!(rig.ask_as(caller(1), 1, read(request), Bytes::new()), []);
    }
    let refused = rig.ask_as(caller(1), 1, read(64), Bytes::new());
    let ReplicaAnswer::ReadFailed { request: 64, reason } = &refused[0].message.answer else {
        panic!("{refused:?}")
    };
    assert!(reason.contains("busy"), "{reason}");
    assert_eq!(rig.ask_as(caller(2), 1, read(0), Bytes::new()), []);

    rig.storage.on_closed(caller(1));
    assert_eq!(rig.ask_as(caller(1), 1, read(65), Bytes::new()), []);
    for _ in 0..64 {
        assert_eq!(rig.finish_read(), []);
    }
    assert_eq!(rig.finish_read()[0].to, caller(2));
    assert_eq!(rig.finish_read()[0].to, caller(1));

    rig.reads.push_back((Ticket(999), Vec::new()));
    assert_eq!(rig.finish_read(), [], "a read of someone else");
}
