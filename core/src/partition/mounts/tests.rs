//! One test a rule.

use super::*;
use crate::lock::LockId;
use crate::locks::LockConflict;
use crate::partition::testing::{SESSION, run_of};
use crate::record::{HEADER_BYTES, Run};
use crate::wire::{AppendRefusal, FetchRefusal};

const PARTITION: PartitionId = PartitionId(0);
const GENERATION: Generation = Generation(5);
/// A record of an even id with 36 bytes of data; an odd one has a lock and 8 bytes more.
const DATA: usize = 36;
const EVEN: u32 = (HEADER_BYTES + DATA) as u32;
const PAIR: u32 = 2 * EVEN + 8;
pub(super) const PLENTY: u32 = 1 << 20;

pub(super) fn mark(count: u64) -> Mark {
    Mark::before(TransactionId(count))
}

pub(super) fn conn(n: u64) -> ConnectionId {
    ConnectionId::accepted(n)
}

pub(super) fn run(ids: std::ops::Range<u64>) -> Run {
    run_of(ids, |_| DATA)
}

/// Client `n` mounts `mount` over connection `n`.
pub(super) fn name(n: u64, mount: u64) -> MountName {
    MountName { conn: conn(n), client: ClientId(n), mount: MountId(mount) }
}

pub(super) fn request(name: MountName, after: u64, credit: u32) -> MountRequest {
    let mode = FeedMode::Records;
    MountRequest { name, generation: GENERATION, after: mark(after), mode, credit }
}

/// An output in a few characters.
fn brief(output: &MountsOutput) -> String {
    match output {
        MountsOutput::Read { request, first, to, max_bytes } => {
            format!("read {request}: {first} to {to}, {max_bytes} bytes")
        }
        MountsOutput::ReadArchive { request, first, to, max_bytes } => {
            let request = request & !(1 << 63);
            format!("archive read {request}: {first} to {to}, {max_bytes} bytes")
        }
        MountsOutput::Confirm { round } => format!("round {round}"),
        MountsOutput::Reply { conn, reply, .. } => {
            let to = (1..10).find(|n| *conn == self::conn(*n)).expect("a known connection");
            match reply {
                ServerReply::Mounted { mount, .. } => format!("{to}: mounted {mount}"),
                ServerReply::Unmounted { mount, reason, .. } => {
                    format!("{to}: unmounted {mount}, {reason:?}")
                }
                ServerReply::Feed { first, count, .. } => format!("{to}: feed {first} x{count}"),
                ServerReply::Ready { mark, .. } => format!("{to}: ready {mark}"),
                ServerReply::Conflict { sequence, id, .. } => {
                    format!("{to}: conflict of #{sequence} with {id}")
                }
                ServerReply::AppendRefused { first, reason, .. } => {
                    format!("{to}: #{first} refused, {reason:?}")
                }
                ServerReply::Fetched { call } => format!("{to}: fetched, call {call}"),
                ServerReply::FetchRefused { call, reason } => {
                    format!("{to}: call {call} refused, {reason:?}")
                }
                ServerReply::Current { call, mark } => format!("{to}: call {call}, {mark}"),
                other => format!("{to}: {other:?}"),
            }
        }
    }
}

/// Mounts whose outputs are looked at call by call.
pub(super) struct Rig {
    pub(super) mounts: Mounts,
    last_outputs: Outputs,
}

impl Rig {
    /// A session that opened with `committed` records, of which memory has none.
    pub(super) fn new(committed: u64, config: MountsConfig) -> Self {
        let mounts = Mounts::new(config.into(), PARTITION, GENERATION, SESSION, mark(committed));
        Self { mounts, last_outputs: Vec::new() }
    }

    /// Makes a call and compares what comes out, in order.
    #[track_caller]
    pub(super) fn expect<const N: usize>(
        &mut self,
        call: impl FnOnce(&mut Mounts, &mut Outputs),
        expected: [&str; N],
    ) {
        self.last_outputs.clear();
        call(&mut self.mounts, &mut self.last_outputs);
        let briefs: Vec<_> = self.last_outputs.iter().map(brief).collect();
        assert_eq!(briefs, expected);
    }

    /// A client that has everything mounts and becomes ready. Nobody else waits for a round.
    fn ready(&mut self, name: MountName) {
        let (committed, mut out) = (self.mounts.committed, Vec::new());
        let wish = request(name, committed.count(), PLENTY);
        self.mounts.mount(wish, committed, &mut out);
        let Some(MountsOutput::Confirm { round }) = out.pop() else {
            panic!("no round was begun: {out:?}");
        };
        self.mounts.confirmed(round, committed, &mut out);
        assert!(self.mounts.admits(name, SESSION), "{out:?}");
    }

    fn payloads(&self) -> Vec<Bytes> {
        let payload = |output: &MountsOutput| match output {
            MountsOutput::Reply { payload, .. } if !payload.is_empty() => Some(payload.clone()),
            _ => None,
        };
        self.last_outputs.iter().filter_map(payload).collect()
    }
}

fn rig() -> Rig {
    Rig::new(0, MountsConfig::default())
}

#[test]
fn a_mount_is_answered_at_once_and_ready_after_a_round() {
    let mut rig = rig();
    let wish = request(name(1, 1), 0, PLENTY);
    rig.expect(|m, out| m.mount(wish, Mark::NONE, out), ["1: mounted m1", "round 1"]);
    assert!(!rig.mounts.admits(name(1, 1), SESSION), "not ready");
    rig.expect(|m, out| m.confirmed(1, Mark::NONE, out), ["1: ready none"]);
    assert!(rig.mounts.admits(name(1, 1), SESSION));
}

#[test]
fn ready_waits_until_what_was_numbered_is_decided_and_fed() {
    let mut rig = rig();
    let wish = request(name(1, 1), 0, PLENTY);
    rig.expect(|m, out| m.mount(wish, mark(3), out), ["1: mounted m1", "round 1"]);
    rig.expect(|m, out| m.confirmed(1, Mark::NONE, out), []);
    rig.expect(|m, out| m.committed(&run(0..2), out), ["1: feed 0 x2"]);
    rig.expect(|m, out| m.committed(&run(2..4), out), ["1: feed 2 x2", "1: ready 3"]);
    rig.expect(|m, out| m.committed(&run(4..5), out), ["1: feed 4 x1"]);
}

#[test]
fn ready_waits_for_a_round_begun_after_the_mount() {
    let mut rig = rig();
    let [first, second] = [1, 2].map(|n| request(name(n, 1), 0, PLENTY));
    rig.expect(|m, out| m.mount(first, Mark::NONE, out), ["1: mounted m1", "round 1"]);
    rig.expect(|m, out| m.mount(second, Mark::NONE, out), ["2: mounted m1"]);
    rig.expect(|m, out| m.confirmed(7, Mark::NONE, out), []);
    rig.expect(|m, out| m.confirmed(1, Mark::NONE, out), ["1: ready none", "round 2"]);
    rig.expect(|m, out| m.confirmed(1, Mark::NONE, out), []);
    rig.expect(|m, out| m.confirmed(2, Mark::NONE, out), ["2: ready none"]);
}

#[test]
fn ready_waits_for_credit() {
    let mut rig = rig();
    rig.expect(|m, out| m.committed(&run(0..2), out), []);
    let wish = request(name(1, 1), 0, EVEN);
    rig.expect(|m, out| m.mount(wish, mark(2), out), ["1: mounted m1", "1: feed 0 x1", "round 1"]);
    rig.expect(|m, out| m.confirmed(1, mark(2), out), []);
    rig.expect(|m, out| m.credit(name(1, 1), 1, out), ["1: feed 1 x1", "1: ready 1"]);
}

#[test]
fn one_round_serves_all_who_waited() {
    let mut rig = rig();
    rig.expect(|m, out| m.current(conn(1), 1, out), ["round 1"]);
    rig.expect(|m, out| m.current(conn(1), 2, out), []);
    rig.expect(|m, out| m.mount(request(name(2, 1), 0, 0), Mark::NONE, out), ["2: mounted m1"]);
    rig.expect(|m, out| m.current(conn(3), 1, out), []);
    rig.expect(|m, out| m.committed(&run(0..1), out), []);
    rig.expect(|m, out| m.confirmed(1, mark(1), out), ["1: call 1, 0", "round 2"]);
    rig.mounts.closed(conn(3));
    rig.mounts.closed(conn(2));
    rig.expect(|m, out| m.confirmed(2, mark(1), out), ["1: call 2, 0"]);
}

#[test]
fn a_round_is_not_begun_for_those_who_left() {
    let mut rig = rig();
    rig.expect(|m, out| m.current(conn(1), 1, out), ["round 1"]);
    rig.expect(|m, out| m.mount(request(name(2, 1), 0, 0), Mark::NONE, out), ["2: mounted m1"]);
    rig.mounts.closed(conn(2));
    rig.expect(|m, out| m.confirmed(1, Mark::NONE, out), ["1: call 1, none"]);
}

#[test]
fn only_a_round_decides_that_a_client_is_ahead() {
    let mut rig = rig();
    let ahead = request(name(1, 1), 3, PLENTY);
    rig.expect(|m, out| m.mount(ahead, Mark::NONE, out), ["1: mounted m1", "round 1"]);
    rig.expect(
        |m, out| m.confirmed(1, Mark::NONE, out),
        ["1: unmounted m1, AheadOfLog { client: Mark(3), log: Mark(0) }"],
    );
    rig.expect(
        |m, out| m.mount(request(name(1, 2), 3, PLENTY), Mark::NONE, out),
        ["1: mounted m2", "round 2"],
    );
    rig.expect(|m, out| m.committed(&run(0..4), out), []);
    rig.expect(|m, out| m.confirmed(2, mark(4), out), ["1: feed 3 x1", "1: ready 3"]);
}

#[test]
fn another_generation_is_refused() {
    let mut rig = rig();
    let wish = MountRequest { generation: Generation(4), ..request(name(1, 1), 0, 0) };
    let expected = ["1: unmounted m1, Generation { current: Generation(5) }"];
    rig.expect(|m, out| m.mount(wish, Mark::NONE, out), expected);
    assert_eq!(rig.mounts.mounted(), 0);
}

#[test]
fn the_newest_mount_counts() {
    let mut rig = rig();
    rig.ready(name(1, 5));
    let elsewhere = |mount| MountName { conn: conn(2), ..name(1, mount) };
    for old in [4, 5] {
        let expected = format!("2: unmounted m{old}, Replaced");
        rig.expect(|m, out| m.mount(request(elsewhere(old), 0, 0), Mark::NONE, out), [&expected]);
    }
    assert!(rig.mounts.admits(name(1, 5), SESSION));
    rig.expect(
        |m, out| m.mount(request(elsewhere(6), 0, PLENTY), Mark::NONE, out),
        ["1: unmounted m5, Replaced", "2: mounted m6", "round 2"],
    );
    assert!(!rig.mounts.admits(name(1, 5), SESSION), "replaced");
    rig.expect(|m, out| m.confirmed(2, Mark::NONE, out), ["2: ready none"]);
    rig.mounts.closed(conn(1));
    rig.expect(|m, out| m.committed(&run(0..1), out), ["2: feed 0 x1"]);
}

#[test]
fn the_same_mount_twice_ends_it() {
    let mut rig = rig();
    rig.ready(name(1, 1));
    let again = request(name(1, 1), 0, PLENTY);
    rig.expect(|m, out| m.mount(again, Mark::NONE, out), ["1: unmounted m1, Replaced"]);
    assert_eq!(rig.mounts.mounted(), 0);
}

#[test]
fn appends_are_admitted_from_the_ready_mount_alone() {
    let mut rig = rig();
    rig.ready(name(1, 2));
    let other_session = SessionId { nonce: 1, ..SESSION };
    let elsewhere = MountName { conn: conn(2), ..name(1, 2) };
    assert!(rig.mounts.admits(name(1, 2), SESSION));
    assert!(!rig.mounts.admits(name(1, 2), other_session));
    assert!(!rig.mounts.admits(elsewhere, SESSION));
    assert!(!rig.mounts.admits(name(1, 1), SESSION));
    assert!(!rig.mounts.admits(name(2, 2), SESSION));
    rig.expect(|m, out| m.unmount(elsewhere, out), ["2: unmounted m2, Asked"]);
    assert!(rig.mounts.admits(name(1, 2), SESSION), "another connection can't unmount it");
    rig.expect(|m, out| m.unmount(name(1, 2), out), ["1: unmounted m2, Asked"]);
    assert!(!rig.mounts.admits(name(1, 2), SESSION));
}

#[test]
fn mounts_are_bounded() {
    let mut rig = Rig::new(0, MountsConfig { mounts: 1, ..MountsConfig::default() });
    rig.ready(name(1, 1));
    rig.expect(
        |m, out| m.mount(request(name(2, 1), 0, 0), Mark::NONE, out),
        ["2: unmounted m1, Busy"],
    );
    rig.expect(
        |m, out| m.mount(request(name(1, 2), 0, 0), Mark::NONE, out),
        ["1: unmounted m1, Replaced", "1: mounted m2", "round 2"],
    );
}

#[test]
fn a_committed_run_is_shared_by_all_feeds() {
    let mut rig = rig();
    rig.ready(name(1, 1));
    rig.ready(name(2, 1));
    for n in [3, 4] {
        let headers = MountRequest { mode: FeedMode::Headers, ..request(name(n, 1), 0, PLENTY) };
        rig.mounts.mount(headers, Mark::NONE, &mut Vec::new());
    }
    let run = run(0..4);
    rig.expect(
        |m, out| m.committed(&run, out),
        ["1: feed 0 x4", "2: feed 0 x4", "3: feed 0 x4", "4: feed 0 x4"],
    );
    let payloads = rig.payloads();
    assert_eq!(payloads[0], run.bytes);
    assert_eq!(payloads[2], run.without_data().bytes);
    let shared = [0, 1, 2, 3].map(|n| payloads[n].as_ptr());
    assert_eq!([shared[0], shared[1]], [run.bytes.as_ptr(); 2]);
    assert_eq!(shared[2], shared[3]);
}

#[test]
fn credit_is_spent_by_payload_and_overdrawn_by_one_record_at_most() {
    let mut rig = rig();
    rig.ready(name(1, 1));
    rig.mounts.mount(request(name(2, 1), 0, PAIR + 1), Mark::NONE, &mut Vec::new());
    rig.expect(
        |m, out| m.committed(&run(0..4), out),
        ["1: feed 0 x4", "2: feed 0 x2", "2: feed 2 x1"],
    );
    rig.expect(|m, out| m.credit(name(2, 1), EVEN - 1, out), []);
    rig.expect(|m, out| m.committed(&run(4..6), out), ["1: feed 4 x2"]);
    rig.expect(|m, out| m.credit(name(2, 1), 1, out), ["2: feed 3 x1"]);
    rig.expect(|m, out| m.credit(name(2, 9), PLENTY, out), []);
    rig.expect(|m, out| m.credit(name(2, 1), PLENTY, out), ["2: feed 4 x2"]);
}

#[test]
fn who_is_behind_reads_up_to_what_memory_has() {
    let mut rig = Rig::new(10, MountsConfig::default());
    rig.expect(|m, out| m.committed(&run(10..12), out), []);
    rig.expect(
        |m, out| m.mount(request(name(1, 1), 2, PLENTY), mark(12), out),
        ["1: mounted m1", "read 1: 2 to 9, 1048576 bytes", "round 1"],
    );
    rig.expect(|m, out| m.confirmed(1, mark(12), out), []);
    rig.expect(|m, out| m.credit(name(1, 1), PLENTY, out), []);
    rig.expect(|m, out| m.records(1, &run(2..5), false, out), ["1: feed 2 x3"]);
    rig.expect(|m, out| m.committed(&run(12..13), out), []);
    rig.expect(
        |m, out| m.records(1, &run(5..8), true, out),
        ["1: feed 5 x3", "read 2: 8 to 9, 1048576 bytes"],
    );
    rig.expect(
        |m, out| m.records(2, &run(8..10), true, out),
        ["1: feed 8 x2", "1: feed 10 x2", "1: feed 12 x1", "1: ready 12"],
    );
    rig.expect(|m, out| m.records(2, &run(8..10), true, out), []);
}

#[test]
fn a_read_is_sized_by_credit_and_fed_without_data_where_asked() {
    let mut rig = Rig::new(10, MountsConfig::default());
    let headers = MountRequest { mode: FeedMode::Headers, ..request(name(1, 1), 0, 2 * EVEN) };
    rig.expect(
        |m, out| m.mount(headers, mark(10), out),
        ["1: mounted m1", "read 1: 0 to 9, 200 bytes", "round 1"],
    );
    rig.expect(|m, out| m.records(1, &run(0..4), true, out), ["1: feed 0 x3"]);
    assert_eq!(rig.payloads()[0], run(0..3).without_data().bytes);
    rig.expect(|m, out| m.credit(name(1, 1), 1, out), ["read 2: 3 to 9, 1 bytes"]);
}

#[test]
fn a_failed_read_waits_for_a_retry() {
    let mut rig = Rig::new(4, MountsConfig::default());
    let wish = request(name(1, 1), 0, EVEN);
    rig.expect(
        |m, out| m.mount(wish, mark(4), out),
        ["1: mounted m1", "read 1: 0 to 3, 100 bytes", "round 1"],
    );
    assert!(!rig.mounts.needs_retry());
    rig.expect(|m, out| m.read_failed(1, "unreachable", out), []);
    rig.expect(|m, out| m.credit(name(1, 1), EVEN, out), []);
    assert!(rig.mounts.needs_retry());
    rig.expect(|m, out| m.retry(out), ["read 2: 0 to 3, 200 bytes"]);
    assert!(!rig.mounts.needs_retry());
    rig.expect(|m, out| m.records(2, &run(1..2), true, out), []);
    assert!(rig.mounts.needs_retry(), "records beyond a gap are no progress");
    rig.mounts.closed(conn(1));
    assert!(!rig.mounts.needs_retry());
}

#[test]
fn reads_under_way_are_bounded_and_feeds_and_calls_take_turns() {
    let mut rig = Rig::new(4, MountsConfig { reads: 1, ..MountsConfig::default() });
    let wish = |n| request(name(n, 1), 0, EVEN);
    rig.expect(
        |m, out| m.mount(wish(1), mark(4), out),
        ["1: mounted m1", "read 1: 0 to 3, 100 bytes", "round 1"],
    );
    rig.expect(|m, out| m.mount(wish(2), mark(4), out), ["2: mounted m1"]);
    rig.expect(|m, out| m.mount(wish(3), mark(4), out), ["3: mounted m1"]);
    rig.expect(|m, out| m.fetch(conn(4), 1, TransactionId(3), out), []);
    rig.mounts.closed(conn(2));
    rig.mounts.closed(conn(1));
    rig.expect(|m, out| m.records(1, &run(0..1), true, out), ["read 2: 3 to 3, 1 bytes"]);
    rig.expect(
        |m, out| m.records(2, &run(3..4), true, out),
        ["4: fetched, call 1", "read 3: 0 to 3, 100 bytes"],
    );
    rig.expect(|m, out| m.records(3, &run(0..1), true, out), ["3: feed 0 x1"]);
}

#[test]
fn a_committed_record_is_fetched_from_memory_or_storage() {
    let mut rig = Rig::new(2, MountsConfig::default());
    let newest = run(2..4);
    rig.expect(|m, out| m.committed(&newest, out), []);
    rig.expect(|m, out| m.fetch(conn(1), 1, TransactionId(3), out), ["1: fetched, call 1"]);
    assert_eq!(rig.payloads(), [run(3..4).bytes]);
    rig.expect(
        |m, out| m.fetch(conn(1), 2, TransactionId(4), out),
        ["1: call 2 refused, NotCommitted"],
    );
    rig.expect(|m, out| m.fetch(conn(1), 3, TransactionId(1), out), ["read 1: 1 to 1, 1 bytes"]);
    rig.expect(|m, out| m.records(1, &run(0..2), false, out), ["1: fetched, call 3"]);
    assert_eq!(rig.payloads(), [run(1..2).bytes]);
    rig.expect(|m, out| m.records(1, &run(1..2), true, out), []);
    rig.expect(|m, out| m.fetch(conn(1), 4, TransactionId(0), out), ["read 2: 0 to 0, 1 bytes"]);
    rig.expect(|m, out| m.read_failed(2, "rot", out), ["1: call 4 refused, Failed(\"rot\")"]);
    rig.expect(|m, out| m.fetch(conn(1), 5, TransactionId(0), out), ["read 3: 0 to 0, 1 bytes"]);
    rig.expect(
        |m, out| m.records(3, &run(1..2), true, out),
        ["1: call 5 refused, Failed(\"the records read are others than asked for\")"],
    );
}

#[test]
fn calls_are_bounded() {
    let config = MountsConfig { calls: 1, reads: 1, ..MountsConfig::default() };
    let mut rig = Rig::new(4, config);
    let busy = "1: call 3 refused, Failed(\"too many calls wait for an answer; try again later\")";
    rig.expect(|m, out| m.current(conn(1), 1, out), ["round 1"]);
    rig.expect(|m, out| m.current(conn(1), 3, out), [busy]);
    rig.expect(|m, out| m.fetch(conn(1), 1, TransactionId(0), out), ["read 1: 0 to 0, 1 bytes"]);
    rig.expect(|m, out| m.fetch(conn(1), 2, TransactionId(0), out), []);
    rig.expect(|m, out| m.fetch(conn(1), 3, TransactionId(0), out), [busy]);
}

fn conflict_with(id: u64) -> LockConflict {
    LockConflict { id: TransactionId(id), lock: LockId(9), exact: true }
}

#[test]
fn a_conflict_is_told_when_its_cause_is_committed() {
    let mut rig = rig();
    rig.ready(name(1, 1));
    rig.expect(|m, out| m.conflict(name(1, 1), 70, conflict_with(1), out), []);
    rig.expect(|m, out| m.committed(&run(0..1), out), ["1: feed 0 x1"]);
    rig.expect(
        |m, out| m.committed(&run(1..2), out),
        ["1: conflict of #70 with 1", "1: feed 1 x1"],
    );
    rig.expect(
        |m, out| m.conflict(name(1, 1), 71, conflict_with(0), out),
        ["1: conflict of #71 with 0"],
    );
    let Some(MountsOutput::Reply { reply: ServerReply::Conflict { lock, exact, .. }, .. }) =
        rig.last_outputs.first()
    else {
        panic!("no conflict");
    };
    assert_eq!((*lock, *exact), (LockId(9), true));
}

#[test]
fn held_conflicts_are_bounded_and_end_with_their_mount() {
    let mut rig = Rig::new(0, MountsConfig { held_conflicts: 1, ..MountsConfig::default() });
    rig.ready(name(1, 1));
    rig.expect(|m, out| m.conflict(name(1, 1), 70, conflict_with(0), out), []);
    let busy = format!("1: #71 refused, {:?}", AppendRefusal::Busy);
    rig.expect(|m, out| m.conflict(name(1, 1), 71, conflict_with(0), out), [&busy]);
    rig.expect(
        |m, out| m.mount(request(name(1, 2), 0, PLENTY), mark(1), out),
        ["1: unmounted m1, Replaced", "1: mounted m2", "round 2"],
    );
    let stale = format!("1: #72 refused, {:?}", AppendRefusal::Stale);
    rig.expect(|m, out| m.conflict(name(1, 1), 72, conflict_with(0), out), [&stale]);
    rig.expect(|m, out| m.conflict(name(1, 2), 73, conflict_with(1), out), []);
    rig.expect(|m, out| m.committed(&run(0..1), out), ["1: feed 0 x1"]);
    rig.expect(
        |m, out| m.committed(&run(1..2), out),
        ["1: conflict of #73 with 1", "1: feed 1 x1"],
    );
    rig.expect(|m, out| m.conflict(name(1, 2), 74, conflict_with(2), out), []);
}

#[test]
fn the_end_of_the_session_is_told_to_everyone() {
    let mut rig = Rig::new(4, MountsConfig { reads: 1, ..MountsConfig::default() });
    rig.ready(name(1, 1));
    rig.expect(|m, out| m.conflict(name(1, 1), 70, conflict_with(9), out), []);
    rig.expect(|m, out| m.current(conn(2), 1, out), ["round 2"]);
    rig.expect(|m, out| m.fetch(conn(2), 2, TransactionId(0), out), ["read 1: 0 to 0, 1 bytes"]);
    rig.expect(|m, out| m.fetch(conn(2), 3, TransactionId(0), out), []);
    let not_owner = |call| format!("2: call {call} refused, {:?}", FetchRefusal::NotOwner);
    let [one, two, three] = [1, 2, 3].map(not_owner);
    rig.expect(
        |m, out| m.clone().end(MountRefusal::SessionEnded, out),
        ["1: unmounted m1, SessionEnded", &two, &three, &one],
    );
}

#[test]
fn an_attempt_is_new_once_and_only_after_those_before_it() {
    let mut rig = rig();
    rig.ready(name(1, 1));
    let told = [3, 4, 4, 2, 7].map(|sequence| rig.mounts.is_new(ClientId(1), sequence));
    assert_eq!(told, [true, true, false, false, true]);
    assert!(!rig.mounts.is_new(ClientId(2), 1), "nobody mounted it");
}
