//! How appends and contexts end.

use super::rig::{ME, OTHER, P, Rig, applied, conn, executed, patience, seconds, view};
use crate::client::{CallId, ClientConfig, ClientInput, Draft, Executed};
use crate::id::{Mark, MountId, TransactionId};
use crate::limits::Limits;
use crate::wire::{AppendRefusal, Message, MountRefusal, ServerReply};

fn refused(mount: u64, first: u64, last: u64, reason: AppendRefusal) -> ServerReply {
    ServerReply::AppendRefused { partition: P, mount: MountId(mount), first, last, reason }
}

const NOTHING: [&str; 0] = [];

fn mark(id: u64) -> Mark {
    Mark::at(TransactionId(id))
}

#[test]
fn what_is_called_in_one_turn_is_one_frame_in_order() {
    let mut rig = Rig::ready();
    let calls = [rig.append(), rig.append(), rig.append()];
    assert_eq!(rig.turn(calls), ["#1 append m1 e1 [\"0@none\", \"1@none\", \"2@none\"]"]);
    let call = rig.append();
    assert_eq!(rig.turn([call]), ["#1 append m1 e1 [\"3@none\"]"]);
}

#[test]
fn the_own_req_id_in_the_feed_is_the_commit() {
    let mut rig = Rig::ready();
    let call = rig.append();
    rig.turn([call]);
    assert_eq!(
        rig.feed(1, 1, 0, &[(OTHER, 0), (ME, 0), (ME, 0)]),
        ["apply 0..=2 own [1=c1]"],
        "another client's sequence is not ours, and one call ends once"
    );
}

#[test]
fn a_commit_says_that_everything_before_it_is_lost() {
    let mut rig = Rig::ready();
    let calls = [rig.append(), rig.submit(), rig.append(), rig.append()];
    rig.turn(calls);
    assert_eq!(rig.turn([executed(2)]), ["#1 append m1 e1 [\"3@none\"]"]);
    assert_eq!(
        rig.feed(1, 1, 0, &[(ME, 2)]),
        [
            "c1 failed: the append got lost when the server changed",
            "c3 failed: the append got lost when the server changed",
            "apply 0..=0 own [0=c4]",
        ],
        "what was sent after it is not"
    );
    let call = rig.append();
    rig.turn([call]);
    assert_eq!(
        rig.feed(1, 1, 1, &[(ME, 4)]),
        ["c2 lost", "execute c2 at none"],
        "a lost context is executed again"
    );
    assert_eq!(rig.turn([executed(2)]), ["#1 append m1 e1 [\"5@none\"]"], "with another ReqId");
}

#[test]
fn ready_of_a_newer_mount_says_that_everything_outstanding_is_lost() {
    let mut rig = Rig::ready();
    let calls = [rig.append(), rig.submit(), rig.append()];
    rig.turn(calls);
    rig.turn([executed(2)]);
    rig.reply(
        1,
        ServerReply::Unmounted {
            partition: P,
            mount: MountId(1),
            reason: MountRefusal::SessionEnded,
        },
    );
    rig.after(seconds(1));
    rig.mounted(1, 2, 2);
    assert_eq!(
        rig.feed(1, 2, 0, &[(ME, 1)]),
        ["c1 failed: the append got lost when the server changed", "apply 0..=0 own [0=c3]",],
        "what comes by before the answer is committed"
    );
    assert_eq!(rig.make_ready(1, 2, 2, 1), ["c2 lost", "execute c2 at none"]);
}

#[test]
fn what_was_not_sent_when_the_mount_went_is_never_sent() {
    let mut rig = Rig::ready();
    let call = rig.append();
    let reason = MountRefusal::SessionEnded;
    let unmounted = ServerReply::Unmounted { partition: P, mount: MountId(1), reason };
    let frame = Message::Server(unmounted).frame();
    assert_eq!(rig.turn([call, ClientInput::Received { conn: conn(1), frame }]), NOTHING);
    rig.after(seconds(1));
    rig.mounted(1, 2, 2);
    assert_eq!(
        rig.make_ready(1, 2, 2, 0),
        ["c1 failed: the append got lost when the server changed"]
    );
    let call = rig.append();
    assert_eq!(rig.turn([call]), ["#1 append m2 e2 [\"1@none\"]"]);
}

#[test]
fn nothing_is_sent_before_the_mount_is_ready() {
    let mut rig = Rig::new();
    rig.mounting();
    let calls = [rig.append(), rig.submit()];
    assert_eq!(rig.turn(calls), NOTHING);
    assert_eq!(rig.mounted(1, 1, 1), NOTHING);
    assert_eq!(rig.make_ready(1, 1, 1, 0), ["execute c2 at none", "#1 append m1 e1 [\"0@none\"]"]);
}

#[test]
fn a_conflict_waits_until_its_cause_is_applied() {
    let mut rig = Rig::ready();
    let call = rig.submit();
    assert_eq!(rig.turn([call]), ["execute c1 at none"]);
    assert_eq!(rig.turn([executed(1)]), ["#1 append m1 e1 [\"0@none\"]"]);
    assert_eq!(rig.conflict(1, 1, 0, 1), ["c1 met 1"]);
    assert_eq!(rig.feed(1, 1, 0, &[(OTHER, 0)]), ["apply 0..=0 own []"]);
    assert_eq!(rig.turn([applied(1)]), NOTHING);
    assert_eq!(rig.feed(1, 1, 1, &[(OTHER, 1)]), ["apply 1..=1 own []"], "seen is not applied");
    assert_eq!(rig.turn([applied(2)]), ["execute c1 at 1"]);
    assert_eq!(rig.turn([executed(1)]), ["#1 append m1 e1 [\"1@1\"]"], "the mark is from before");
}

#[test]
fn the_mark_of_a_context_is_taken_before_it_executes() {
    let mut rig = Rig::ready();
    let call = rig.submit();
    rig.turn([call]);
    rig.feed(1, 1, 0, &[(OTHER, 0)]);
    rig.turn([applied(1)]);
    assert_eq!(rig.turn([executed(1)]), ["#1 append m1 e1 [\"0@none\"]"]);
}

#[test]
fn a_newer_mount_releases_what_waits_for_a_transaction() {
    let mut rig = Rig::ready();
    let call = rig.submit();
    rig.turn([call]);
    rig.turn([executed(1)]);
    rig.conflict(1, 1, 0, 7);
    rig.reply(1, ServerReply::Cluster(view(2, 1)));
    rig.mounted(1, 2, 2);
    assert_eq!(rig.make_ready(1, 2, 2, 0), ["execute c1 at none"]);
}

#[test]
fn an_append_is_tried_once() {
    let mut rig = Rig::ready();
    let calls = [rig.append(), rig.append(), rig.append()];
    rig.turn(calls);
    assert_eq!(
        rig.conflict(1, 1, 1, 4),
        ["c2 failed: lock 0000000000000009 was changed by transaction 4"]
    );
    assert_eq!(rig.conflict(1, 1, 1, 4), NOTHING, "it has ended");
    assert_eq!(
        rig.reply(1, refused(1, 0, 2, AppendRefusal::Busy)),
        [
            "c1 failed: the server refused the record: too many appends are under way in this partition",
            "c3 failed: the server refused the record: too many appends are under way in this partition",
        ]
    );
}

#[test]
fn a_busy_server_is_asked_again_a_little_later() {
    let mut rig = Rig::ready();
    let call = rig.submit();
    rig.turn([call]);
    rig.turn([executed(1)]);
    assert_eq!(rig.reply(1, refused(1, 0, 0, AppendRefusal::Busy)), NOTHING, "it is not lost");
    assert_eq!(rig.after(std::time::Duration::from_millis(10)), ["execute c1 at none"]);
}

#[test]
fn a_stale_mount_is_renewed_and_a_limit_is_final() {
    let mut rig = Rig::ready();
    let calls = [rig.submit(), rig.submit()];
    rig.turn(calls);
    rig.turn([executed(1), executed(2)]);
    let limit = AppendRefusal::Limit("300 bytes".to_owned());
    assert_eq!(
        rig.reply(1, refused(1, 0, 0, limit)),
        ["c1 failed: the server refused the record: record over the limit: 300 bytes"]
    );
    assert_eq!(rig.reply(1, refused(1, 1, 1, AppendRefusal::Stale)), ["c2 lost"]);
    assert_eq!(rig.after(seconds(1))[1], "#1 mount m2 g1 after none credit 4194304");
    rig.mounted(1, 2, 2);
    assert_eq!(rig.make_ready(1, 2, 2, 0), ["execute c2 at none"]);
}

#[test]
fn a_mark_beyond_the_log_is_final() {
    let mut rig = Rig::ready();
    let calls = [rig.append(), rig.submit()];
    rig.turn(calls);
    rig.turn([executed(2)]);
    let ahead = AppendRefusal::Ahead { computed_at: mark(9), log: mark(3) };
    assert_eq!(
        rig.reply(1, refused(1, 0, 1, ahead)),
        [
            "c1 failed: the server refused the record: it was computed at 9, and the log ends at 3",
            "c2 failed: the server refused the record: it was computed at 9, and the log ends at 3",
        ]
    );
}

#[test]
fn what_is_too_large_is_not_sent() {
    let limits = Limits { record: 70, ..Limits::default() };
    let mut rig = Rig::ready_with(ClientConfig::new(["n1"]).limits(limits));
    let draft = Draft { data: vec![0; 7].into(), ..Draft::default() };
    let large = ClientInput::Append {
        call: rig.call(),
        partition: P,
        draft,
        at: None,
        patience: patience(None, None),
    };
    let fits = rig.append();
    assert_eq!(
        rig.turn([large, fits]),
        [
            "c1 failed: record of 71 bytes is over the limit of 70; raise the record limit or send less",
            "#1 append m1 e1 [\"0@none\"]",
        ]
    );
}

#[test]
fn a_full_window_makes_calls_wait() {
    let mut rig = Rig::ready_with(ClientConfig::new(["n1"]).max_outstanding(2));
    let calls = [rig.append(), rig.submit(), rig.append()];
    assert_eq!(rig.turn(calls), ["execute c2 at none", "#1 append m1 e1 [\"0@none\"]"]);
    assert_eq!(rig.turn([executed(2)]), ["#1 append m1 e1 [\"1@none\"]"]);
    assert_eq!(
        rig.feed(1, 1, 0, &[(ME, 0)]),
        ["#1 append m1 e1 [\"2@none\"]", "apply 0..=0 own [0=c1]"]
    );
}

#[test]
fn contexts_decline_and_fail_once() {
    let mut rig = Rig::ready();
    let calls = [rig.submit(), rig.submit()];
    rig.turn(calls);
    let ran = |call, result| ClientInput::Executed { call: CallId(call), partition: P, result };
    assert_eq!(rig.turn([ran(1, Executed::Ignored)]), ["c1 Ignored"]);
    assert_eq!(rig.turn([ran(2, Executed::Failed)]), ["c2 failed: the context failed"]);
    assert_eq!(rig.turn([ran(2, Executed::Failed), executed(1)]), NOTHING);
}

#[test]
fn retries_are_bounded_when_asked_for() {
    let mut rig = Rig::ready();
    let call = rig.submit_with(patience(None, Some(1)));
    rig.turn([call]);
    rig.turn([executed(1)]);
    assert_eq!(rig.conflict(1, 1, 0, 0), ["c1 met 0"]);
    rig.feed(1, 1, 0, &[(OTHER, 0)]);
    assert_eq!(rig.turn([applied(1)]), ["execute c1 at 0"]);
    rig.turn([executed(1)]);
    assert_eq!(
        rig.conflict(1, 1, 1, 1),
        ["c1 met 1", "c1 failed: lock 0000000000000009 was changed by transaction 1"]
    );
}

#[test]
fn a_passed_deadline_is_certain_before_sending_and_in_doubt_after() {
    let mut rig = Rig::ready();
    let soon = patience(Some(1), None);
    let calls = [rig.append_with(soon), rig.submit_with(soon), rig.submit_with(soon)];
    rig.turn(calls);
    rig.turn([executed(3)]);
    rig.conflict(1, 1, 1, 5);
    let told = rig.after(seconds(1));
    assert_eq!(
        told[1..],
        [
            "c1 in doubt: 0 after none",
            "c2 failed: its deadline passed",
            "c3 failed: its deadline passed"
        ]
    );
    assert_eq!(rig.turn([executed(2)]), NOTHING, "it has ended");
    assert_eq!(rig.feed(1, 1, 0, &[(ME, 0)]), ["apply 0..=0 own []"], "the feed tells");
}

#[test]
fn what_has_no_time_at_all_is_neither_executed_nor_sent() {
    let mut rig = Rig::ready();
    let over = patience(Some(0), None);
    let calls = [rig.append_with(over), rig.submit_with(over)];
    assert_eq!(
        rig.turn(calls),
        ["c1 failed: its deadline passed", "c2 failed: its deadline passed"]
    );
}

#[test]
fn a_partition_that_is_not_mounted_in_time_fails_what_waits() {
    let mut rig = Rig::with(ClientConfig::new(["n1"]).mount_timeout(seconds(3)));
    rig.mounting();
    let calls = [rig.append(), rig.submit()];
    rig.turn(calls);
    for _ in 0..2 {
        rig.after(seconds(1));
        rig.received(1, &crate::wire::Message::Pong, bytes::Bytes::new());
    }
    let told = rig.after(seconds(1));
    let why = "the partition could not be mounted in time: its server n1 does not answer";
    assert_eq!(told[1..], [format!("c1 failed: {why}"), format!("c2 failed: {why}")]);
}

#[test]
fn undecided_appends_are_found_by_a_newer_mount() {
    let mut rig = Rig::ready();
    let call = rig.append();
    rig.turn([call]);
    for _ in 0..4 {
        rig.after(seconds(1));
        rig.received(1, &crate::wire::Message::Pong, bytes::Bytes::new());
    }
    assert_eq!(rig.after(seconds(1))[1], "#1 mount m2 g1 after none credit 4194304");
    rig.mounted(1, 2, 1);
    assert_eq!(
        rig.make_ready(1, 2, 1, 0),
        ["c1 failed: the append got lost when the server changed"]
    );
}

#[test]
fn closing_ends_everything_once() {
    let mut rig = Rig::ready();
    let calls = [rig.append(), rig.submit(), rig.submit(), rig.append()];
    rig.turn(calls);
    rig.turn([executed(3)]);
    rig.conflict(1, 1, 2, 5);
    rig.feed(1, 1, 0, &[(OTHER, 0)]);
    rig.feed(1, 1, 1, &[(ME, 0)]);
    assert_eq!(
        rig.turn([ClientInput::Close]),
        [
            "#1 unmount m1",
            "c2 failed: the client was closed",
            "c3 failed: the client was closed",
            "c4 in doubt: 1 after 1",
            "c1 Committed(TransactionId(1))",
            "detach",
            "close #1: the client was closed",
            "stop",
        ]
    );
    let late = [rig.append(), applied(1), executed(2)];
    assert_eq!(rig.turn(late), ["c5 failed: the client was closed"]);
}
