//! When the client mounts, and when again.

use super::rig::{P, Rig, began, choose, mark, seconds, session, view};
use crate::client::{ClientConfig, Partitions, Start};
use crate::id::{Generation, Mark, MountId};
use crate::wire::{MountRefusal, ServerReply};

fn unmounted(mount: u64, reason: MountRefusal) -> ServerReply {
    ServerReply::Unmounted { partition: P, mount: MountId(mount), reason }
}

#[test]
fn the_mount_starts_after_what_the_application_has_applied() {
    let mut rig = Rig::new();
    rig.turn([]);
    rig.welcome(1, 1);
    rig.reply(1, ServerReply::Cluster(view(1, 1)));
    assert_eq!(
        rig.turn([began(1, Ok(Start::After(mark(5))))]),
        ["attached at 4", "#1 mount m1 g1 after 4 credit 4194304"]
    );
}

#[test]
fn an_application_that_cannot_tell_is_asked_again() {
    let mut rig = Rig::new();
    rig.turn([]);
    rig.welcome(1, 1);
    rig.reply(1, ServerReply::Cluster(view(1, 1)));
    let told = rig.turn([began(1, Err("database is locked".to_owned()))]);
    assert!(told[0].contains("database is locked"), "{told:?}");
    assert_eq!(rig.after(seconds(1))[1], "begin 1");
}

#[test]
fn the_newest_mark_is_asked_of_the_server() {
    let mut rig = Rig::new();
    rig.turn([]);
    rig.welcome(1, 1);
    rig.reply(1, ServerReply::Cluster(view(1, 1)));
    assert_eq!(rig.turn([began(1, Ok(Start::Newest))]), ["#1 current 1"]);
    assert_eq!(
        rig.reply(1, ServerReply::Current { call: 1, mark: mark(9) }),
        ["attached at 8", "#1 mount m1 g1 after 8 credit 4194304"]
    );
}

#[test]
fn a_refused_mount_is_made_again_with_a_newer_number() {
    let mut rig = Rig::new();
    rig.mounting();
    assert_eq!(rig.reply(1, unmounted(1, MountRefusal::NotOwner)), [""; 0], "not at once");
    assert_eq!(rig.after(seconds(1))[1], "#1 mount m2 g1 after none credit 4194304");
    assert_eq!(rig.reply(1, unmounted(1, MountRefusal::NotOwner)), [""; 0], "an old one's word");
    rig.reply(1, unmounted(2, MountRefusal::Generation { current: Generation(2) }));
    assert_eq!(
        rig.reply(1, ServerReply::Cluster(view(2, 1))),
        [""; 0],
        "the pause is kept, whatever is heard"
    );
    assert_eq!(rig.after(seconds(1))[1], "#1 mount m3 g2 after none credit 4194304");
}

#[test]
fn a_lost_connection_is_mounted_again_where_the_feed_was() {
    let mut rig = Rig::ready();
    rig.feed(1, 1, 0, &[(super::rig::OTHER, 0), (super::rig::OTHER, 1)]);
    rig.closed(1);
    rig.welcome(2, 2);
    rig.after(seconds(1));
    let told = rig.welcome(3, 1);
    assert_eq!(told[0], "#3 describe");
    assert!(told[1].starts_with("#3 mount m2 g1 after 1 credit "), "{told:?}");
}

#[test]
fn a_newer_generation_is_mounted_anew_at_the_same_server() {
    let mut rig = Rig::ready();
    assert_eq!(
        rig.reply(1, ServerReply::Cluster(view(2, 1))),
        ["#1 unmount m1", "#1 mount m2 g2 after none credit 4194304"]
    );
    assert_eq!(rig.reply(1, ServerReply::Cluster(view(1, 2))), [""; 0], "an older one is not");
}

#[test]
fn a_lower_session_is_not_listened_to() {
    let mut rig = Rig::ready();
    rig.reply(1, unmounted(1, MountRefusal::SessionEnded));
    rig.after(seconds(1));
    rig.mounted(1, 2, 5);
    rig.reply(1, unmounted(2, MountRefusal::SessionEnded));
    rig.after(seconds(1));
    let told = rig.mounted(1, 3, 4);
    assert!(told[0].starts_with(&format!("close #1: session {} is over", session(4))), "{told:?}");
}

#[test]
fn ready_counts_for_the_mounted_session_and_what_was_fed() {
    let mut rig = Rig::new();
    rig.mounting();
    rig.mounted(1, 1, 1);
    let told = rig.make_ready(1, 1, 2, 0);
    assert_eq!(told[0], "close #1: ready in another session than mounted");
    let mut rig = Rig::new();
    rig.mounting();
    rig.mounted(1, 1, 1);
    let told = rig.make_ready(1, 1, 1, 3);
    assert_eq!(told[0], "close #1: ready at 2, and fed only up to none");
}

#[test]
fn an_application_ahead_of_the_log_is_told_so_loudly() {
    let mut rig = Rig::new();
    rig.mounting();
    let submit = rig.submit();
    assert_eq!(rig.turn([submit]), [""; 0]);
    let ahead = MountRefusal::AheadOfLog { client: mark(9), log: mark(3) };
    let told = rig.reply(1, unmounted(1, ahead));
    assert!(told[0].starts_with("report Error"), "{told:?}");
    assert!(told[1].starts_with("c1 failed: this client has applied up to 8"), "{told:?}");
    let append = rig.append();
    assert!(rig.turn([append])[0].starts_with("c2 failed: this client has applied"));
}

#[test]
fn an_application_that_needs_what_was_trimmed_is_told_so_loudly() {
    for start in [Start::After(mark(4)), Start::Newest] {
        let mut rig = Rig::new();
        rig.mounting();
        let submit = rig.submit();
        assert_eq!(rig.turn([submit]), [""; 0]);
        let call = rig.call();
        assert_eq!(rig.turn([crate::client::ClientInput::Flush { call }]), [""; 0]);
        let trimmed = unmounted(1, MountRefusal::Trimmed { start: mark(9) });
        assert_eq!(rig.reply(1, trimmed), ["detach", "begin 2"], "its database may know more");
        let told = rig.turn([began(2, Ok(start))]);
        assert!(told[0].starts_with("report Error"), "{told:?}");
        let after = if start == Start::Newest { "none" } else { "3" };
        let why = format!("this client has applied up to {after} and the log starts after 8");
        assert!(told[1].starts_with(&format!("c1 failed: {why}")), "{told:?}");
        assert!(told[2].starts_with("broken "), "the application is told, too: {told:?}");
        assert!(told[3].starts_with(&format!("c2 unanswered: partition p0: {why}")), "{told:?}");
        let append = rig.append();
        assert!(rig.turn([append])[0].starts_with(&format!("c3 failed: {why}")));
    }
}

#[test]
fn where_a_shared_database_knows_more_than_the_feed_trimming_does_no_harm() {
    let mut rig = Rig::ready_with(ClientConfig::new(["n1", "n2"]));
    let inputs = [rig.append(), rig.submit()];
    assert_eq!(rig.turn(inputs), ["execute c2 at none", "#1 append m1 e1 [\"0@none\"]"]);
    let trimmed = unmounted(1, MountRefusal::Trimmed { start: mark(9) });
    // Whether the append is among what was trimmed can't be told; the context was never sent.
    assert_eq!(rig.reply(1, trimmed), ["c1 in doubt: 0 after none", "detach", "begin 2"]);
    let told = rig.turn([began(2, Ok(Start::After(mark(11))))]);
    assert_eq!(told, ["attached at 10", "#1 mount m2 g1 after 10 credit 4194304"]);
}

#[test]
fn a_quiet_server_is_mounted_again() {
    let mut rig = Rig::new();
    rig.mounting();
    for _ in 0..4 {
        rig.after(seconds(1));
        rig.received(1, &crate::wire::Message::Pong, bytes::Bytes::new());
    }
    assert_eq!(rig.after(seconds(1))[1], "#1 mount m2 g1 after none credit 4194304");
}

#[test]
fn chosen_partitions_are_mounted_and_others_left() {
    let mut rig = Rig::ready_with(ClientConfig::new(["n1", "n2"]));
    let inputs = [rig.append(), rig.submit()];
    assert_eq!(rig.turn(inputs), ["execute c2 at none", "#1 append m1 e1 [\"0@none\"]"]);
    let call = rig.call().0;
    assert_eq!(
        rig.turn([choose(call, Partitions::none())]),
        [
            "#1 unmount m1",
            "c2 failed: the partition is not mounted by this client",
            "c1 in doubt: 0 after none",
            "detach",
            "c3 Done",
        ]
    );
    let append = rig.append();
    assert_eq!(rig.turn([append]), ["c4 failed: the partition is not mounted by this client"]);
    let call = rig.call().0;
    assert_eq!(rig.turn([choose(call, Partitions::All)]), ["begin 2", "c5 Done"]);
    assert_eq!(rig.turn([began(1, Ok(Start::After(Mark::NONE)))]), [""; 0], "an old answer");
    assert_eq!(
        rig.turn([began(2, Ok(Start::After(Mark::NONE)))]),
        ["attached at none", "#1 mount m2 g1 after none credit 4194304"]
    );
    rig.mounted(1, 2, 1);
    rig.make_ready(1, 2, 1, 0);
    let append = rig.append();
    assert_eq!(rig.turn([append]), ["#1 append m2 e1 [\"1@none\"]"], "ReqIds are used once");
}
