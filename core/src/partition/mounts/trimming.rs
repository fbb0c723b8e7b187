//! What mounts and calls are told when the log's start moves.

use super::tests::{PLENTY, conn, mark, name, request, run};
use super::*;
use crate::wire::FetchRefusal;

/// A log of ten records that starts after three of them; memory has the last five.
fn rig() -> super::tests::Rig {
    let mut rig = super::tests::Rig::new(5, MountsConfig::default());
    rig.mounts.start = mark(3);
    rig.mounts.committed(&run(5..10), &mut Vec::new());
    rig
}

#[test]
fn a_client_behind_the_start_is_not_mounted() {
    let mut rig = rig();
    let behind = request(name(1, 1), 2, PLENTY);
    rig.expect(
        |m, out| m.mount(behind, mark(10), out),
        ["1: unmounted m1, Trimmed { start: Mark(3) }"],
    );
    let at_the_start = request(name(1, 2), 3, PLENTY);
    rig.expect(
        |m, out| m.mount(at_the_start, mark(10), out),
        ["1: mounted m2", "read 1: 3 to 4, 1048576 bytes", "round 1"],
    );
}

#[test]
fn mounts_that_were_not_fed_what_is_trimmed_end() {
    let mut rig = rig();
    // The first is being read for, the second has no credit, the third was fed everything.
    for (client, after, credit) in [(1, 3, PLENTY), (2, 6, 0), (3, 10, PLENTY)] {
        rig.mounts.mount(request(name(client, 1), after, credit), mark(10), &mut Vec::new());
    }
    rig.expect(|m, out| m.trimmed(mark(3), out), []);
    rig.expect(
        |m, out| m.trimmed(mark(7), out),
        [
            "1: unmounted m1, Trimmed { start: Mark(7) }",
            "2: unmounted m1, Trimmed { start: Mark(7) }",
        ],
    );
    rig.expect(|m, out| m.records(1, &run(3..5), true, out), []);
    assert_eq!(rig.mounts.mounted(), 1);
    rig.expect(|m, out| m.trimmed(mark(5), out), []);
    assert_eq!(rig.mounts.start, mark(7), "it never goes back");
}

#[test]
fn a_trimmed_record_is_said_to_be_trimmed_also_when_it_was_being_read() {
    let mut rig = rig();
    let refused = |call: u64, start: u64| {
        let reason = FetchRefusal::Trimmed { start: mark(start) };
        format!("1: call {call} refused, {reason:?}")
    };
    let fetch = |call, id| {
        move |m: &mut Mounts, out: &mut Outputs| {
            m.fetch(conn(1), call, TransactionId(id), out);
        }
    };
    rig.expect(fetch(1, 2), [refused(1, 3).as_str()]);
    rig.expect(fetch(2, 3), ["read 1: 3 to 3, 1 bytes"]);
    rig.expect(|m, out| m.trimmed(mark(4), out), []);
    let gone = |m: &mut Mounts, out: &mut Outputs| m.read_failed(1, "not there", out);
    rig.expect(gone, [refused(2, 4).as_str()]);
    rig.expect(fetch(3, 4), ["read 2: 4 to 4, 1 bytes"]);
    let failed = |m: &mut Mounts, out: &mut Outputs| m.read_failed(2, "rot", out);
    rig.expect(failed, ["1: call 3 refused, Failed(\"rot\")"]);
}
