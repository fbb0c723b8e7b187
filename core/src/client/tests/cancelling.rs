//! What is withdrawn is not sent, and what was sent is not sent again.

use super::rig::{ME, OTHER, P, Rig, applied, cancel, executed, seconds};
use crate::client::ClientConfig;
use crate::id::MountId;
use crate::wire::{AppendRefusal, MountRefusal, ServerReply};

const NOTHING: [&str; 0] = [];

fn unmounted() -> ServerReply {
    let reason = MountRefusal::SessionEnded;
    ServerReply::Unmounted { partition: P, mount: MountId(1), reason }
}

#[test]
fn what_waits_for_its_mount_is_never_sent() {
    let mut rig = Rig::new();
    rig.mounting();
    let calls = [rig.append(), rig.submit(), rig.append()];
    rig.turn(calls);
    assert_eq!(
        rig.turn([cancel(1), cancel(2)]),
        ["c1 failed: it was withdrawn", "c2 failed: it was withdrawn"]
    );
    rig.mounted(1, 1, 1);
    assert_eq!(rig.make_ready(1, 1, 1, 0), ["#1 append m1 e1 [\"0@none\"]"]);
}

#[test]
fn what_executes_blocks_or_pauses_is_never_sent() {
    let mut rig = Rig::ready();
    let calls = [rig.submit(), rig.submit(), rig.submit()];
    rig.turn(calls);
    rig.turn([executed(2), executed(3)]);
    rig.conflict(1, 1, 0, 5);
    let (partition, mount, reason) = (P, MountId(1), AppendRefusal::Busy);
    rig.reply(1, ServerReply::AppendRefused { partition, mount, first: 1, last: 1, reason });
    assert_eq!(
        rig.turn([cancel(1), cancel(2), cancel(3)]),
        [
            "c1 failed: it was withdrawn",
            "c2 failed: it was withdrawn",
            "c3 failed: it was withdrawn",
        ]
    );
    assert_eq!(rig.turn([executed(1)]), NOTHING, "its execution comes to nothing");
    assert_eq!(rig.after(seconds(1)), ["#1 ping"]);
}

#[test]
fn what_was_sent_ends_in_doubt_and_may_commit() {
    let mut rig = Rig::ready();
    rig.feed(1, 1, 0, &[(OTHER, 0)]);
    let call = rig.append();
    rig.turn([call]);
    assert_eq!(rig.turn([cancel(1)]), ["c1 in doubt: 0 after 0"]);
    assert_eq!(rig.turn([applied(1), cancel(1)]), NOTHING, "it has ended");
    assert_eq!(rig.feed(1, 1, 1, &[(ME, 0)]), ["apply 1..=1 own []"]);
}

#[test]
fn a_context_that_was_sent_is_not_executed_again() {
    let mut rig = Rig::ready();
    let calls = [rig.submit(), rig.submit()];
    rig.turn(calls);
    rig.turn([executed(1), executed(2)]);
    assert_eq!(
        rig.turn([cancel(1), cancel(2)]),
        ["c1 in doubt: 0 after none", "c2 in doubt: 1 after none"]
    );
    assert_eq!(rig.conflict(1, 1, 0, 0), NOTHING);
    rig.reply(1, unmounted());
    rig.after(seconds(1));
    rig.mounted(1, 2, 2);
    assert_eq!(rig.make_ready(1, 2, 2, 0), NOTHING);
}

#[test]
fn what_is_in_doubt_keeps_its_room_until_it_is_decided() {
    let mut rig = Rig::ready_with(ClientConfig::new(["n1"]).max_outstanding(1));
    let calls = [rig.append(), rig.append()];
    rig.turn(calls);
    assert_eq!(rig.turn([cancel(1)]), ["c1 in doubt: 0 after none"]);
    assert_eq!(
        rig.feed(1, 1, 0, &[(ME, 0)]),
        ["#1 append m1 e1 [\"1@none\"]", "apply 0..=0 own []"]
    );
}

#[test]
fn withdrawing_what_executes_makes_room() {
    let config = ClientConfig { max_executing: 1, ..ClientConfig::new(["n1"]) };
    let mut rig = Rig::ready_with(config);
    let calls = [rig.submit(), rig.submit()];
    assert_eq!(rig.turn(calls), ["execute c1 at none"]);
    assert_eq!(rig.turn([cancel(1)]), ["c1 failed: it was withdrawn", "execute c2 at none"]);
}

#[test]
fn a_commit_already_seen_is_not_withdrawn() {
    let mut rig = Rig::ready();
    rig.feed(1, 1, 0, &[(OTHER, 0)]);
    let call = rig.append();
    rig.turn([call]);
    rig.feed(1, 1, 1, &[(ME, 0)]);
    assert_eq!(rig.turn([cancel(1)]), NOTHING);
    assert_eq!(rig.turn([applied(1)]), ["apply 1..=1 own [1=c1]"]);
}
