//! What mounts and calls below the log's start are told when there is an archive.

use super::tests::{PLENTY, Rig, conn, mark, name, request, run};
use super::*;

const ARCHIVED: u64 = 1 << 63;

/// A log of ten records that starts after three of them; memory has the last five.
fn rig(archive_reads: usize) -> Rig {
    let mut rig = Rig::new(5, MountsConfig { archive_reads, ..MountsConfig::default() });
    rig.mounts.start = mark(3);
    rig.mounts.committed(&run(5..10), &mut Vec::new());
    rig
}

#[test]
fn a_client_behind_the_start_is_fed_from_the_archive_and_then_from_the_log() {
    let mut rig = rig(2);
    rig.expect(
        |m, out| m.mount(request(name(1, 1), 0, PLENTY), mark(10), out),
        ["1: mounted m1", "archive read 1: 0 to 2, 1048576 bytes", "round 1"],
    );
    rig.expect(|m, out| m.confirmed(1, mark(10), out), []);
    rig.expect(
        |m, out| m.records(ARCHIVED | 1, &run(0..2), true, out),
        ["1: feed 0 x2", "archive read 2: 2 to 2, 1048368 bytes"],
    );
    rig.expect(
        |m, out| m.records(ARCHIVED | 2, &run(2..3), true, out),
        ["1: feed 2 x1", "read 1: 3 to 4, 1048268 bytes"],
    );
    rig.expect(
        |m, out| m.records(1, &run(3..5), true, out),
        ["1: feed 3 x2", "1: feed 5 x5", "1: ready 9"],
    );
}

#[test]
fn what_the_archive_lacks_ends_a_mount_as_if_there_were_none() {
    let mut rig = rig(2);
    rig.mounts.mount(request(name(1, 1), 0, PLENTY), mark(10), &mut Vec::new());
    rig.expect(
        |m, out| m.records(ARCHIVED | 1, &run(0..1), true, out),
        ["1: feed 0 x1", "archive read 2: 1 to 2, 1048476 bytes"],
    );
    rig.expect(
        |m, out| m.not_archived(ARCHIVED | 2, out),
        ["1: unmounted m1, Trimmed { start: Mark(3) }"],
    );
    assert_eq!(rig.mounts.mounted(), 0);
    rig.expect(|m, out| m.not_archived(ARCHIVED | 2, out), []);
}

#[test]
fn a_mount_stays_when_the_start_moves_past_it() {
    let mut rig = rig(1);
    rig.mounts.mount(request(name(1, 1), 3, PLENTY), mark(10), &mut Vec::new());
    // The second waits for the archive, the first was asked of the storage.
    rig.expect(|m, out| m.mount(request(name(2, 1), 3, 0), mark(10), out), ["2: mounted m1"]);
    rig.expect(|m, out| m.trimmed(mark(7), out), []);
    assert_eq!(rig.mounts.mounted(), 2);
    rig.expect(|m, out| m.read_failed(1, "3 was trimmed", out), []);
    assert!(rig.mounts.needs_retry() && !rig.mounts.needs_archive_retry());
    rig.expect(|m, out| m.retry(out), ["archive read 1: 3 to 4, 1048576 bytes"]);
    rig.expect(
        |m, out| m.records(ARCHIVED | 1, &run(3..5), true, out),
        ["1: feed 3 x2", "1: feed 5 x5"],
    );
}

#[test]
fn who_waits_for_the_storage_waits_for_the_archive_once_it_is_trimmed() {
    let config = MountsConfig { reads: 1, archive_reads: 1, ..MountsConfig::default() };
    let mut rig = Rig::new(10, config);
    rig.mounts.mount(request(name(1, 1), 0, PLENTY), mark(10), &mut Vec::new());
    rig.expect(|m, out| m.mount(request(name(2, 1), 0, PLENTY), mark(10), out), ["2: mounted m1"]);
    rig.expect(|m, out| m.fetch(conn(2), 1, TransactionId(4), out), []);
    rig.expect(|m, out| m.trimmed(mark(7), out), ["archive read 1: 0 to 6, 1048576 bytes"]);
    // One read of the archive at a time; that it fails is no reason to wait for the storage.
    rig.expect(
        |m, out| m.read_failed(ARCHIVED | 1, "no answer", out),
        ["archive read 2: 4 to 4, 1 bytes"],
    );
    assert!(rig.mounts.needs_archive_retry() && !rig.mounts.needs_retry());
    rig.expect(
        |m, out| m.read_failed(ARCHIVED | 2, "no answer", out),
        ["2: call 1 refused, Failed(\"no answer\")"],
    );
    rig.expect(|m, out| m.retry_archive(out), ["archive read 3: 0 to 6, 1048576 bytes"]);
}

#[test]
fn a_call_for_a_trimmed_record_is_answered_from_the_archive() {
    let mut rig = rig(2);
    let fetch = |call, id| {
        move |m: &mut Mounts, out: &mut Outputs| m.fetch(conn(1), call, TransactionId(id), out)
    };
    rig.expect(fetch(1, 2), ["archive read 1: 2 to 2, 1 bytes"]);
    rig.expect(|m, out| m.records(ARCHIVED | 1, &run(2..3), true, out), ["1: fetched, call 1"]);
    rig.expect(fetch(2, 1), ["archive read 2: 1 to 1, 1 bytes"]);
    rig.expect(
        |m, out| m.not_archived(ARCHIVED | 2, out),
        ["1: call 2 refused, Trimmed { start: Mark(3) }"],
    );
    // Asked of the storage, and trimmed meanwhile.
    rig.expect(fetch(3, 3), ["read 1: 3 to 3, 1 bytes"]);
    rig.expect(|m, out| m.trimmed(mark(4), out), []);
    rig.expect(
        |m, out| m.read_failed(1, "3 was trimmed", out),
        ["archive read 3: 3 to 3, 1 bytes"],
    );
}

#[test]
fn what_comes_for_an_ended_mount_is_for_nobody() {
    let mut rig = rig(2);
    rig.mounts.mount(request(name(1, 1), 0, PLENTY), mark(10), &mut Vec::new());
    rig.expect(|m, out| m.unmount(name(1, 1), out), ["1: unmounted m1, Asked"]);
    rig.mounts.mount(request(name(1, 2), 3, PLENTY), mark(10), &mut Vec::new());
    rig.expect(|m, out| m.not_archived(ARCHIVED | 1, out), []);
    assert_eq!(rig.mounts.mounted(), 1);
}
