//! Clients that have one id by accident.

use super::rig::{ME, OTHER, P, Rig, seconds};
use crate::id::MountId;
use crate::wire::{MountRefusal, ServerReply};

const NOTHING: [&str; 0] = [];

fn replaced(mount: u64) -> ServerReply {
    let reason = MountRefusal::Replaced;
    ServerReply::Unmounted { partition: P, mount: MountId(mount), reason }
}

/// A client that has sent one append, after so much time.
fn sent_after(nanoseconds: u64) -> Rig {
    let mut rig = Rig::new();
    rig.mounting();
    rig.mounted(1, 1, 1);
    rig.now.0 += nanoseconds;
    rig.make_ready(1, 1, 1, 0);
    let call = rig.append();
    rig.turn([call]);
    rig
}

#[test]
fn clients_that_are_alike_send_other_sequences() {
    let (one, other) = (sent_after(0), sent_after(1));
    assert_ne!(one.sequence(0), other.sequence(0), "they were not ready at the same moment");
    assert_eq!(one.sequence(0), sent_after(0).sequence(0), "it is no accident");
}

#[test]
fn a_copy_that_mounts_anew_sends_other_sequences() {
    let mut rig = sent_after(0);
    let first = rig.sequence(0);
    rig.reply(1, replaced(1));
    rig.after(seconds(1));
    rig.mounted(1, 2, 1);
    rig.make_ready(1, 2, 1, 0);
    let call = rig.append();
    rig.turn([call]);
    let second = rig.sequence(1);
    assert_eq!(second & u64::from(u32::MAX), 1, "it counts on");
    assert_ne!(first >> 32, second >> 32, "under another number");
}

#[test]
fn a_commit_of_the_other_one_decides_nothing() {
    let mut rig = sent_after(0);
    rig.reply(1, replaced(1));
    rig.after(seconds(1));
    rig.mounted(1, 2, 1);
    let others = sent_after(1).sequence(0);
    assert_eq!(rig.feed(1, 2, 0, &[(ME, others), (OTHER, 0)]), ["apply 0..=1 own []"]);
    assert_eq!(
        rig.make_ready(1, 2, 1, 2),
        ["c1 failed: the append got lost when the server changed"]
    );
}

#[test]
fn being_replaced_is_reported_once_in_a_while() {
    let warning = "report Warning: its mount was replaced: somebody asks what became of this \
                   client's attempts, or another client has the same id";
    let mut rig = sent_after(0);
    assert_eq!(rig.reply(1, replaced(1)), [warning]);
    rig.after(seconds(1));
    rig.mounted(1, 2, 1);
    assert_eq!(rig.reply(1, replaced(2)), NOTHING);
}
