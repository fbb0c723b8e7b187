//! What became of attempts that ended in doubt: told for certain, or not at all.

use super::rig::{CLUSTER, ME, OTHER, P, Rig, began, cancel, executed, seconds};
use crate::client::{CallId, ClientConfig, ClientInput, InDoubt, Partitions, Start};
use crate::id::{ClusterKey, Generation, Mark, PartitionId, ReqId, TransactionId};
use crate::wire::{Message, MountRefusal, ServerReply};

const NOTHING: [&str; 0] = [];

fn mark(id: u64) -> Mark {
    Mark::at(TransactionId(id))
}

fn in_doubt(sequence: u64, mark: Mark) -> InDoubt {
    let (client, generation, partition) = (ME, Generation(1), P);
    let req_id = ReqId { client, generation, partition, sequence };
    InDoubt { cluster: CLUSTER, req_id, mark }
}

fn resolve(call: u64, in_doubt: InDoubt) -> ClientInput {
    ClientInput::Resolve { call: CallId(call), in_doubt }
}

/// Two appends were sent and given up.
fn given_up() -> Rig {
    let mut rig = Rig::ready();
    let calls = [rig.append(), rig.append()];
    rig.turn(calls);
    rig.turn([cancel(1), cancel(2)]);
    rig
}

#[test]
fn the_feed_tells_and_it_is_remembered() {
    let mut rig = given_up();
    let questions = [resolve(11, in_doubt(0, Mark::NONE)), resolve(12, in_doubt(1, Mark::NONE))];
    assert_eq!(rig.turn(questions), NOTHING, "it is not decided");
    assert_eq!(
        rig.feed(1, 1, 0, &[(OTHER, 0), (ME, 1)]),
        [
            "c11 Resolved(NotCommitted)",
            "c12 Resolved(Committed(TransactionId(1)))",
            "apply 0..=1 own []",
        ]
    );
    assert_eq!(
        rig.turn([resolve(13, in_doubt(1, Mark::NONE)), resolve(14, in_doubt(0, Mark::NONE))]),
        ["c13 Resolved(Committed(TransactionId(1)))", "c14 Resolved(NotCommitted)"]
    );
}

#[test]
fn a_conflict_tells() {
    let mut rig = given_up();
    rig.turn([resolve(11, in_doubt(1, Mark::NONE))]);
    assert_eq!(rig.conflict(1, 1, 1, 4), ["c11 Resolved(NotCommitted)"]);
}

#[test]
fn a_newer_mount_that_is_ready_tells() {
    let mut rig = given_up();
    let reason = MountRefusal::SessionEnded;
    let mount = crate::id::MountId(1);
    rig.reply(1, ServerReply::Unmounted { partition: P, mount, reason });
    rig.turn([resolve(11, in_doubt(0, Mark::NONE)), resolve(12, in_doubt(1, Mark::NONE))]);
    rig.after(seconds(1));
    assert_eq!(rig.mounted(1, 2, 2), NOTHING);
    assert_eq!(
        rig.feed(1, 2, 0, &[(ME, 0)]),
        ["c11 Resolved(Committed(TransactionId(0)))", "apply 0..=0 own []"]
    );
    assert_eq!(rig.make_ready(1, 2, 2, 1), ["c12 Resolved(NotCommitted)"]);
}

#[test]
fn a_context_is_asked_about_by_its_last_attempt() {
    let mut rig = Rig::ready();
    let calls = [rig.submit(), rig.append()];
    rig.turn(calls);
    rig.turn([executed(1)]);
    rig.conflict(1, 1, 1, 0);
    rig.feed(1, 1, 0, &[(OTHER, 0)]);
    rig.turn([super::rig::applied(1)]);
    rig.turn([executed(1)]);
    assert_eq!(rig.turn([cancel(1)]), ["c1 in doubt: 2 after 0"]);
    rig.turn([resolve(11, in_doubt(2, mark(0)))]);
    assert_eq!(
        rig.feed(1, 1, 1, &[(ME, 2)]),
        [
            "c11 Resolved(Committed(TransactionId(1)))",
            "c2 failed: the append got lost when the server changed",
            "apply 1..=1 own []",
        ]
    );
}

#[test]
fn what_the_feed_has_passed_unnoticed_is_not_guessed() {
    let mut rig = Rig::ready();
    rig.feed(1, 1, 0, &[(OTHER, 0)]);
    assert_eq!(
        rig.turn([resolve(11, in_doubt(7, Mark::NONE))]),
        ["c11 unanswered: this client does not know what became of the attempt"]
    );
    assert_eq!(rig.turn([resolve(12, in_doubt(7, mark(0)))]), ["c12 Resolved(NotCommitted)"]);
    let mut other = in_doubt(7, mark(0));
    other.req_id.client = OTHER;
    assert_eq!(
        rig.turn([resolve(13, other)]),
        ["c13 unanswered: this client does not know what became of the attempt"]
    );
    other.req_id.partition = PartitionId(9);
    assert_eq!(rig.turn([resolve(14, other)]), ["c14 unanswered: the cluster has no partition p9"]);
}

#[test]
fn an_attempt_in_another_cluster_is_not_told() {
    let mut rig = Rig::ready();
    rig.feed(1, 1, 0, &[(ME, 7)]);
    let elsewhere = InDoubt { cluster: ClusterKey(6), ..in_doubt(7, mark(0)) };
    let (attempt, own) = (ClusterKey(6), CLUSTER);
    let why = format!("the attempt was sent to cluster {attempt}; this client is of cluster {own}");
    assert_eq!(rig.turn([resolve(11, elsewhere)]), [format!("c11 unanswered: {why}")]);
}

#[test]
fn a_feed_that_starts_later_does_not_tell() {
    let mut rig = given_up();
    rig.turn([resolve(11, in_doubt(0, Mark::NONE))]);
    let told = rig.turn([super::rig::choose(12, Partitions::none())]);
    assert!(told.contains(
        &"c11 unanswered: this client does not know what became of the attempt".to_owned()
    ));
    rig.turn([super::rig::choose(13, Partitions::All)]);
    assert_eq!(rig.turn([resolve(14, in_doubt(0, mark(3)))]), NOTHING);
    assert_eq!(
        rig.turn([began(2, Ok(Start::After(mark(5))))])[0],
        "c14 unanswered: this client does not know what became of the attempt"
    );
}

#[test]
fn a_question_that_is_not_decided_in_time_is_told_why() {
    let mut rig = given_up();
    rig.turn([resolve(11, in_doubt(0, Mark::NONE))]);
    let mut told = Vec::new();
    for _ in 0..10 {
        rig.received(1, &Message::Pong, bytes::Bytes::new());
        told.extend(rig.after(seconds(1)));
    }
    let why = "c11 unanswered: no answer in time: its server has gone quiet";
    assert!(told.contains(&why.to_owned()), "{told:?}");
}

#[test]
fn closing_answers_who_asks() {
    let mut rig = given_up();
    rig.turn([resolve(11, in_doubt(0, Mark::NONE))]);
    let told = rig.turn([ClientInput::Close]);
    assert!(told.contains(&"c11 unanswered: the client was closed".to_owned()), "{told:?}");
}

#[test]
fn a_successor_mounts_above_the_other_and_tells_when_it_is_ready() {
    let mut rig = Rig::succeeding(ClientConfig::new(["n1"]));
    rig.mounting_after(mark(4));
    rig.turn([resolve(1, in_doubt(2, mark(4))), resolve(2, in_doubt(3, mark(4)))]);
    let mount = 1 << 63 | 1;
    assert_eq!(rig.mounted(1, mount, 1), NOTHING);
    assert_eq!(
        rig.feed(1, mount, 5, &[(ME, 2)]),
        ["c1 Resolved(Committed(TransactionId(5)))", "apply 5..=5 own []"]
    );
    assert_eq!(rig.make_ready(1, mount, 1, 6), ["c2 Resolved(NotCommitted)"]);
}
