//! Hashes cover what lines say; filters keep what they name.

use bytes::{Bytes, BytesMut};
use waltz_core::id::{
    ClientId, CreationId, Epoch, Generation, Mark, MountId, NodeId, PartitionId, ReqId, SessionId,
    TransactionId,
};
use waltz_core::io::Address;
use waltz_core::limits::Limits;
use waltz_core::record::{NewRecord, RecordView, append_with_id};
use waltz_core::time::Time;
use waltz_core::wire::{ClientRequest, Frame, Message, ReplicaRequest, ToReplica};

use super::{Event, Filter, Trace};

const P0: PartitionId = PartitionId(0);
const SESSION: SessionId = SessionId { epoch: Epoch(1), server: NodeId(1), nonce: 5 };

fn host(name: &str) -> Address {
    Address(name.to_owned())
}

fn hash_of(texts: &[&str]) -> u64 {
    let trace = Trace::new();
    texts.iter().for_each(|text| trace.record(Time(5), Event::world(format_args!("{text}"))));
    trace.hash()
}

#[test]
fn the_hash_depends_on_every_event_and_on_their_order() {
    assert_eq!(hash_of(&["a", "b"]), hash_of(&["a", "b"]));
    assert_ne!(hash_of(&["a", "b"]), hash_of(&["b", "a"]));
    assert_ne!(hash_of(&["ab"]), hash_of(&["a", "b"]));
    assert_ne!(hash_of(&["long enough for two words"]), hash_of(&["long enough for two wordz"]));
}

#[test]
fn the_hash_depends_on_time_host_and_subject() {
    let (n1, n2) = (host("n1"), host("n2"));
    let text = format_args!("x");
    let events = [
        (1, Event::on(&n1, text)),
        (2, Event::on(&n1, text)),
        (1, Event::on(&n2, text)),
        (1, Event::between(&n1, &n2, text)),
        (1, Event::on(&n1, text).of(P0)),
        (1, Event::on(&n1, text).of_transaction(P0, TransactionId(0))),
    ];
    let hashes: std::collections::BTreeSet<u64> = events
        .into_iter()
        .map(|(at, event)| {
            let trace = Trace::new();
            trace.record(Time(at), event);
            trace.hash()
        })
        .collect();
    assert_eq!(hashes.len(), 6);
}

#[test]
fn lines_are_kept_only_when_asked_for_and_do_not_change_the_hash() {
    let (silent, kept) = (Trace::new(), Trace::new());
    kept.keep_lines(Filter::default());
    for trace in [&silent, &kept] {
        trace.record(Time(1_000_000_009), Event::on(&host("n1"), format_args!("y")));
    }
    assert_eq!(silent.lines(), [""; 0]);
    assert_eq!(kept.lines(), ["1.000000009 n1 y"]);
    assert_eq!(silent.hash(), kept.hash());
}

/// The record of one attempt, as a client sends it.
fn record(sequence: u64) -> Bytes {
    let req_id = ReqId { client: ClientId(1), generation: Generation(1), partition: P0, sequence };
    let record = NewRecord {
        req_id,
        header: 0,
        computed_at: Mark::NONE,
        writes: &[],
        reads: &[],
        appends: &[],
        data: b"data",
    };
    let mut bytes = BytesMut::new();
    record.encode(&Limits::default(), &mut bytes).expect("it is small");
    bytes.freeze()
}

fn client_append(sequence: u64) -> Frame {
    let request =
        ClientRequest::Append { partition: P0, mount: MountId(1), session: SESSION, count: 1 };
    Message::Client(request).with(record(sequence))
}

fn replica_append(sequence: u64, id: TransactionId) -> Frame {
    let request = ReplicaRequest::Append { first: id, count: 1, committed: Mark::NONE };
    let message = ToReplica { partition: P0, creation: CreationId(1), session: SESSION, request };
    let (draft, mut run) = (record(sequence), BytesMut::new());
    let view = RecordView::parse(&draft, &Limits::default()).expect("it is sound").0;
    append_with_id(&view, id, &mut run);
    Message::ToReplica(message).with(run.freeze())
}

/// Two attempts on their way through two nodes: the second becomes transaction 7.
fn lines_with(filter: Filter) -> Vec<String> {
    let trace = Trace::new();
    trace.keep_lines(filter);
    let (service, n1, n2) = (host("service-1"), host("n1"), host("n2"));
    for (sequence, id) in [(1, 6), (2, 7)] {
        let frame = client_append(sequence);
        trace.record(Time(sequence), Event::received(1, (&service, &n1), &frame));
        let frame = replica_append(sequence, TransactionId(id));
        trace.record(Time(sequence), Event::received(2, (&n1, &n2), &frame));
    }
    trace.record(Time(9), Event::on(&n2, format_args!("boots")));
    trace.lines()
}

#[test]
fn a_filter_by_node_keeps_both_ends_and_no_other() {
    assert_eq!(lines_with(Filter::default()).len(), 5);
    let on = |name| lines_with(Filter { host: Some(host(name)), ..Filter::default() });
    assert_eq!(on("n1").len(), 4);
    assert_eq!(on("n2").len(), 3);
    assert_eq!(on("service-1").len(), 2);
    assert_eq!(on("n3").len(), 0);
}

#[test]
fn a_filter_by_partition_keeps_what_names_it() {
    let of = |partition| {
        let filter = Filter { partition: Some(PartitionId(partition)), ..Filter::default() };
        lines_with(filter).len()
    };
    assert_eq!((of(0), of(1)), (4, 0));
}

#[test]
fn a_filter_by_transaction_keeps_its_attempt_and_its_copies() {
    let transaction = Some((P0, TransactionId(7)));
    let lines = lines_with(Filter { transaction, ..Filter::default() });
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("0.000000002 n1 < service-1 #1 Append"), "{}", lines[0]);
    assert!(
        lines[1].starts_with("0.000000002 n2 < n1 #2 p0 e1.n1.00000005 Append"),
        "{}",
        lines[1]
    );
    let of_one_host = Filter { transaction, host: Some(host("service-1")), partition: Some(P0) };
    assert_eq!(lines_with(of_one_host), lines[..1]);
}
