//! Finding the cluster, and noticing who is gone.

use bytes::Bytes;

use super::rig::{Rig, conn, seconds, view};
use crate::client::{ClientConfig, ClientInput};
use crate::id::ClusterKey;
use crate::io::Address;
use crate::wire::{Frame, Message, Refusal, ServerReply, Version};

#[test]
fn addresses_are_dialled_in_turn_with_pauses() {
    let mut rig = Rig::new();
    assert_eq!(rig.turn([]), ["dial #1 n1"]);
    assert_eq!(rig.closed(1), ["dial #2 n2"]);
    assert_eq!(rig.closed(2), [""; 0], "both have just failed");
    assert_eq!(rig.after(seconds(1)), ["dial #3 n1"]);
    assert_eq!(rig.turn([ClientInput::Opened { conn: conn(3) }]), ["#3 hello"]);
    assert_eq!(rig.after(seconds(3)), ["close #3: no sign of life", "dial #4 n2"]);
}

#[test]
fn a_welcome_is_followed_by_a_description_and_the_mounts() {
    let mut rig = Rig::new();
    rig.turn([]);
    let call = rig.call();
    assert_eq!(rig.turn([ClientInput::Describe { call, formed: true }]), [""; 0]);
    assert_eq!(rig.welcome(1, 1), ["#1 describe"]);
    let told = rig.reply(1, ServerReply::Cluster(view(1, 1)));
    assert_eq!(told, ["formed 1", "begin 1", "c1 cluster of 1"]);
}

#[test]
fn who_turns_the_client_away_is_named() {
    let mut rig = Rig::new();
    rig.turn([]);
    let call = rig.call();
    rig.turn([ClientInput::Describe { call, formed: true }, ClientInput::Opened { conn: conn(1) }]);
    let refusal = Refusal::Version { oldest: Version(7), newest: Version(9) };
    let told = rig.received(1, &Message::Refused(refusal), Bytes::new());
    assert_eq!(told[1], format!("c1 unanswered: {refusal}"));
}

#[test]
fn another_cluster_is_not_talked_to() {
    let mut rig = Rig::with(ClientConfig::new(["n1"]).cluster(ClusterKey(6)));
    rig.turn([]);
    let call = rig.call();
    rig.turn([ClientInput::Describe { call, formed: true }]);
    let refusal = Refusal::Cluster(ClusterKey(5));
    assert_eq!(
        rig.welcome(1, 1),
        [format!("close #1: {refusal}"), format!("c1 unanswered: {refusal}")]
    );
}

#[test]
fn nobody_answering_in_time_is_told_with_the_reason() {
    let mut rig = Rig::with(ClientConfig::new(["n1"]));
    let call = rig.call();
    rig.turn([ClientInput::Describe { call, formed: true }]);
    rig.closed(1);
    let told = rig.after(seconds(10));
    assert!(told.contains(&"c1 unanswered: no answer in time: n1: reset".to_owned()), "{told:?}");
}

#[test]
fn a_quiet_peer_is_asked_and_a_silent_one_given_up() {
    let mut rig = Rig::ready();
    assert_eq!(rig.after(seconds(1)), ["#1 ping"]);
    assert_eq!(rig.received(1, &Message::Pong, Bytes::new()), [""; 0]);
    assert_eq!(rig.after(seconds(1)), ["#1 ping"]);
    assert_eq!(rig.after(seconds(1)), [""; 0], "asked once");
    let told = rig.after(seconds(1));
    assert_eq!(told[0], "close #1: no sign of life");
    assert_eq!(rig.received(1, &Message::Ping, Bytes::new()), [""; 0], "it is gone");
}

#[test]
fn pings_are_answered() {
    let mut rig = Rig::ready();
    assert_eq!(rig.received(1, &Message::Ping, Bytes::new()), ["#1 pong"]);
}

#[test]
fn nonsense_closes_the_connection_and_nothing_else() {
    let mut rig = Rig::ready();
    let frame = Frame { head: Bytes::from_static(&[0xff; 9]), payload: Bytes::new() };
    let told = rig.turn([ClientInput::Received { conn: conn(1), frame }]);
    assert!(told[0].starts_with("close #1: message of 9 bytes can't be decoded"), "{told:?}");
    assert_eq!(told[1], "dial #2 n2", "the home moves on");
    rig.welcome(2, 2);
    let told = rig.after(seconds(1));
    assert!(told.contains(&"dial #3 n1".to_owned()), "the owner is dialled again: {told:?}");
}

#[test]
fn connections_nobody_needs_are_closed_and_nodes_are_connected_once() {
    let mut rig = Rig::ready();
    assert_eq!(
        rig.reply(1, ServerReply::Cluster(view(2, 2))),
        ["dial #2 n2", "#1 unmount m1"],
        "the home stays"
    );
    assert_eq!(rig.welcome(2, 2), ["#2 describe", "#2 mount m2 g2 after none credit 4194304"]);
    assert_eq!(rig.closed(1), [""; 0], "the other one becomes the home");
}

#[test]
fn a_home_that_knows_no_living_server_is_left_for_another() {
    let mut rig = Rig::ready();
    rig.reply(1, ServerReply::Cluster(view(2, 2)));
    assert_eq!(rig.closed(2), [""; 0]);
    let told = rig.after(seconds(1));
    assert!(told.contains(&"dial #3 n2".to_owned()), "the owner may be back: {told:?}");
    let mut wider = view(2, 2);
    wider.nodes[0].address = Address("n3".to_owned());
    rig.reply(1, ServerReply::Cluster(wider));
    let told = rig.after(seconds(1));
    assert!(told.contains(&"dial #4 n3".to_owned()), "another may know better: {told:?}");
}
