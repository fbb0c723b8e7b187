//! What the application is given, and how much is held for it.

use super::rig::{ME, OTHER, P, Rig, applied, failed_after, records, seconds};
use crate::client::ClientConfig;
use crate::id::{MountId, TransactionId};
use crate::wire::{Message, ServerReply};

const NOTHING: [&str; 0] = [];

#[test]
fn transactions_are_given_in_order_one_batch_at_a_time() {
    let mut rig = Rig::ready();
    assert_eq!(rig.feed(1, 1, 0, &[(OTHER, 0), (OTHER, 1)]), ["apply 0..=1 own []"]);
    assert_eq!(rig.feed(1, 1, 2, &[(OTHER, 2)]), NOTHING);
    assert_eq!(rig.feed(1, 1, 3, &[(OTHER, 3)]), NOTHING);
    assert_eq!(rig.turn([applied(2)]), ["apply 2..=3 own []"], "what is ready goes together");
    assert_eq!(rig.turn([applied(4)]), NOTHING);
}

#[test]
fn a_gap_breaks_the_protocol_and_a_repetition_is_ignored() {
    let mut rig = Rig::ready();
    rig.feed(1, 1, 0, &[(OTHER, 0), (OTHER, 1)]);
    rig.turn([applied(2)]);
    assert_eq!(rig.feed(1, 1, 0, &[(OTHER, 0), (OTHER, 1)]), NOTHING);
    assert_eq!(
        rig.feed(1, 1, 1, &[(OTHER, 1), (OTHER, 2)]),
        ["apply 2..=2 own []"],
        "the new part counts"
    );
    assert_eq!(rig.feed(1, 1, 5, &[(OTHER, 5)])[0], "close #1: the feed leaves out 3 to 5");
}

#[test]
fn damaged_records_are_not_taken() {
    let mut rig = Rig::ready();
    let mut payload = records(0, &[(OTHER, 0)]).to_vec();
    payload[50] ^= 1;
    let reply =
        ServerReply::Feed { partition: P, mount: MountId(1), first: TransactionId(0), count: 1 };
    let told = rig.received(1, &Message::Server(reply), payload.into());
    assert!(told[0].starts_with("close #1: a feed can't be read: record checksum"), "{told:?}");
}

#[test]
fn a_feed_of_an_older_mount_or_before_its_mount_does_not_count() {
    let mut rig = Rig::new();
    rig.mounting();
    assert_eq!(rig.feed(1, 9, 0, &[(OTHER, 0)]), NOTHING);
    assert_eq!(rig.feed(1, 1, 0, &[(OTHER, 0)])[0], "close #1: a feed before its mount was made");
}

#[test]
fn what_fails_to_apply_comes_again_with_a_pause() {
    let mut rig = Rig::ready();
    let call = rig.append();
    rig.turn([call]);
    assert_eq!(rig.feed(1, 1, 0, &[(OTHER, 0), (OTHER, 1), (ME, 0)]), ["apply 0..=2 own [2=c1]"]);
    assert_eq!(rig.turn([failed_after(1)]), NOTHING);
    assert_eq!(
        rig.after(seconds(1))[1..],
        ["apply 1..=2 own []"],
        "from where it failed; whose it is was told"
    );
    assert_eq!(rig.turn([applied(3)]), NOTHING);
}

#[test]
fn credit_is_given_back_as_the_application_applies() {
    let size = records(0, &[(OTHER, 0)]).len() as u32;
    let config = ClientConfig { credit_bytes: 4 * size, ..ClientConfig::new(["n1", "n2"]) };
    let mut rig = Rig::ready_with(config);
    assert_eq!(rig.feed(1, 1, 0, &[(OTHER, 0)]), ["apply 0..=0 own []"]);
    assert_eq!(rig.feed(1, 1, 1, &[(OTHER, 1), (OTHER, 2)]), NOTHING, "nothing is applied yet");
    assert_eq!(
        rig.turn([applied(1)]),
        [format!("#1 credit m1 {size}"), "apply 1..=2 own []".to_owned()]
    );
    rig.closed(1);
    rig.welcome(2, 2);
    rig.after(seconds(1));
    let told = rig.welcome(3, 1);
    assert_eq!(
        told[1],
        format!("#3 mount m2 g1 after 2 credit {}", 2 * size),
        "what is held is not granted twice"
    );
    assert_eq!(rig.turn([applied(3)]), [format!("#3 credit m2 {}", 2 * size)]);
}

#[test]
fn a_server_that_overdraws_without_end_is_left() {
    let size = records(0, &[(OTHER, 0)]).len() as u32;
    let mut config = ClientConfig { credit_bytes: size, ..ClientConfig::new(["n1"]) };
    config.limits.frame_payload = 2 * size;
    let mut rig = Rig::ready_with(config);
    for id in 0..3 {
        rig.feed(1, 1, id, &[(OTHER, id)]);
    }
    assert_eq!(
        rig.feed(1, 1, 3, &[(OTHER, 3)])[0],
        "close #1: the feed brings more than was granted"
    );
}

#[test]
fn batches_are_bounded() {
    let config = ClientConfig { batch_bytes: 1, ..ClientConfig::new(["n1"]) };
    let mut rig = Rig::ready_with(config);
    rig.feed(1, 1, 0, &[(OTHER, 0)]);
    rig.feed(1, 1, 1, &[(OTHER, 1)]);
    rig.feed(1, 1, 2, &[(OTHER, 2)]);
    assert_eq!(rig.turn([applied(1)]), ["apply 1..=1 own []"]);
    assert_eq!(rig.turn([applied(2)]), ["apply 2..=2 own []"]);
}
