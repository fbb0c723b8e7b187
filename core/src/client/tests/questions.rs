//! Fetches, status, and flushes.

use super::rig::{ME, OTHER, P, Rig, applied, executed, mark, records, seconds};
use crate::client::{CallId, ClientInput};
use crate::id::{NodeId, PartitionId, TransactionId};
use crate::wire::{FetchRefusal, Message, OperatorRefusal, OperatorRequest, ServerReply};

const NOTHING: [&str; 0] = [];

fn fetch(call: u64, id: u64) -> ClientInput {
    ClientInput::Fetch { call: CallId(call), partition: P, id: TransactionId(id) }
}

#[test]
fn concurrent_fetches_of_one_record_are_one_question() {
    let mut rig = Rig::ready();
    assert_eq!(rig.turn([fetch(1, 4), fetch(2, 4)]), ["#1 fetch 1: 4"]);
    let fetched = Message::Server(ServerReply::Fetched { call: 1 });
    assert_eq!(
        rig.received(1, &fetched, records(4, &[(OTHER, 0)])),
        ["c1 record of 65", "c2 record of 65"]
    );
    assert_eq!(rig.received(1, &fetched, records(4, &[(OTHER, 0)])), NOTHING);
    assert_eq!(rig.turn([fetch(3, 4)]), ["#1 fetch 2: 4"], "asked anew");
}

#[test]
fn another_record_than_asked_for_is_not_taken() {
    let mut rig = Rig::ready();
    rig.turn([fetch(1, 4)]);
    let fetched = Message::Server(ServerReply::Fetched { call: 1 });
    let told = rig.received(1, &fetched, records(5, &[(OTHER, 0)]));
    assert_eq!(told[0], "close #1: another record than p0/4 was fetched");
}

#[test]
fn questions_are_asked_again_over_another_connection() {
    let mut rig = Rig::ready();
    rig.turn([fetch(1, 4)]);
    rig.closed(1);
    rig.welcome(2, 2);
    rig.after(seconds(1));
    let told = rig.welcome(3, 1);
    assert!(told.contains(&"#3 fetch 1: 4".to_owned()), "{told:?}");
}

#[test]
fn a_server_that_is_not_the_owner_is_asked_again_later_and_other_refusals_are_final() {
    let mut rig = Rig::ready();
    rig.turn([fetch(1, 4), fetch(2, 5)]);
    let refused = |call, reason| ServerReply::FetchRefused { call, reason };
    assert_eq!(rig.reply(1, refused(1, FetchRefusal::NotOwner)), NOTHING);
    assert_eq!(
        rig.reply(1, refused(2, FetchRefusal::NotCommitted)),
        ["c2 unanswered: the transaction is not committed"]
    );
    assert_eq!(rig.after(seconds(1))[1..], ["#1 fetch 1: 4"]);
}

#[test]
fn operators_ask_any_node_but_trim_at_the_server() {
    let mut rig = Rig::ready_with(crate::client::ClientConfig::new(["n1", "n2"]));
    let consumer = "audit".to_owned();
    let remove = OperatorRequest::RemoveConsumer { partition: P, consumer };
    let trim = OperatorRequest::Trim { partition: P, start: mark(4) };
    let operate = |call, request: &OperatorRequest| ClientInput::Operate {
        call: CallId(call),
        request: request.clone(),
    };
    assert_eq!(rig.turn([operate(1, &remove)]), [format!("#1 operate 1 {remove:?}")]);
    assert_eq!(rig.turn([operate(2, &trim)]), [format!("#1 operate 2 {trim:?}")]);
    let name = "audit".to_owned();
    let result = Err(OperatorRefusal::UnknownConsumer { name });
    assert_eq!(
        rig.reply(1, ServerReply::Operated { call: 1, result }),
        ["c1 unanswered: no consumer \"audit\" is registered"]
    );
    let not_owner = Err(OperatorRefusal::NotOwner);
    assert_eq!(rig.reply(1, ServerReply::Operated { call: 2, result: not_owner }), NOTHING);
    assert_eq!(rig.after(seconds(1))[1..], [format!("#1 operate 2 {trim:?}")], "asked again");
    assert_eq!(rig.reply(1, ServerReply::Operated { call: 2, result: Ok(()) }), ["c2 Done"]);
    let elsewhere = OperatorRequest::Trim { partition: PartitionId(9), start: mark(4) };
    let unknown = ["c3 unanswered: the cluster has no partition p9"];
    assert_eq!(rig.turn([operate(3, &elsewhere)]), unknown);
}

#[test]
fn questions_nobody_answers_end_in_time() {
    let mut rig = Rig::ready();
    rig.turn([fetch(1, 4)]);
    for _ in 0..9 {
        rig.after(seconds(1));
        rig.received(1, &Message::Pong, bytes::Bytes::new());
    }
    let told = rig.after(seconds(1));
    assert!(told[1].starts_with("c1 unanswered: no answer in time"), "{told:?}");
}

#[test]
fn what_is_not_there_is_told_at_once() {
    let mut rig = Rig::ready();
    let call = CallId(1);
    let (partition, id) = (PartitionId(9), TransactionId(0));
    assert_eq!(
        rig.turn([ClientInput::Fetch { call, partition, id }]),
        ["c1 unanswered: the cluster has no partition p9"]
    );
    assert_eq!(
        rig.turn([ClientInput::Status { call, node: Some(NodeId(9)) }]),
        ["c1 unanswered: the cluster has no node n9"]
    );
}

#[test]
fn a_node_is_dialled_to_be_asked_how_it_is() {
    let mut rig = Rig::ready();
    let call = CallId(1);
    assert_eq!(rig.turn([ClientInput::Status { call, node: None }]), ["#1 status 1"]);
    let told = rig.turn([ClientInput::Status { call, node: Some(NodeId(2)) }]);
    assert_eq!(told, ["dial #2 n2"]);
    assert_eq!(rig.welcome(2, 2), ["#2 describe", "#2 status 2"]);
}

#[test]
fn a_flush_waits_for_earlier_calls_and_for_what_is_committed_then() {
    let mut rig = Rig::ready();
    let calls = [rig.append(), rig.submit()];
    rig.turn(calls);
    rig.turn([executed(2)]);
    let flush = ClientInput::Flush { call: rig.call() };
    let later = rig.append();
    assert_eq!(rig.turn([flush, later]), ["#1 append m1 e1 [\"2@none\"]"]);
    assert_eq!(rig.feed(1, 1, 0, &[(ME, 0)]), ["apply 0..=0 own [0=c1]"]);
    assert_eq!(rig.feed(1, 1, 1, &[(ME, 1)]), ["#1 current 1"], "a later call does not count");
    assert_eq!(rig.reply(1, ServerReply::Current { call: 1, mark: mark(3) }), NOTHING);
    assert_eq!(rig.turn([applied(1)]), ["apply 1..=1 own [1=c2]"]);
    assert_eq!(rig.turn([applied(2)]), NOTHING);
    assert_eq!(rig.feed(1, 1, 2, &[(OTHER, 0)]), ["apply 2..=2 own []"]);
    assert_eq!(rig.turn([applied(3)]), ["c3 Done"]);
}

#[test]
fn a_flush_that_cannot_be_confirmed_fails_in_time() {
    let mut rig = Rig::ready();
    let flush = ClientInput::Flush { call: rig.call() };
    assert_eq!(rig.turn([flush]), ["#1 current 1"]);
    for _ in 0..9 {
        rig.after(seconds(1));
        rig.received(1, &Message::Pong, bytes::Bytes::new());
    }
    let told = rig.after(seconds(1));
    assert!(told[1].starts_with("c1 unanswered: no answer in time"), "{told:?}");
}
