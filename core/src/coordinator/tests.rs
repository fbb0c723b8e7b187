//! The coordinator alone, with its journal in the test's hands.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::io::{Caller, ConnectionId, Context, Effect, Ticket, Tickets};
use crate::journal::EntryHead;
use crate::time::{Random, Time};
use crate::wire::{CoordinatorRefusal, FromCoordinator, ToCoordinator};

const ALICE: Caller = Caller::Local;
const LEASE: LeaseId = LeaseId(7);
const TTL_MS: u32 = 3000;

fn bob() -> Caller {
    Caller::Peer(ConnectionId::accepted(1))
}

/// A coordinator and everything it journalled.
struct Rig {
    coordinator: Coordinator,
    now: Time,
    random: Random,
    tickets: Tickets,
    changes: Vec<Change>,
    /// How many of `changes` are durable.
    durable: usize,
}

impl Rig {
    fn new() -> Self {
        Self {
            coordinator: Coordinator::new(),
            now: Time::ZERO,
            random: Random::new(1),
            tickets: Tickets::default(),
            changes: Vec::new(),
            durable: 0,
        }
    }

    fn step(
        &mut self,
        act: impl FnOnce(&mut Coordinator, &mut Context<'_>, &mut Vec<(Caller, FromCoordinator)>),
    ) -> Vec<(Caller, FromCoordinator)> {
        let (mut effects, mut replies) = (Vec::new(), Vec::new());
        let mut cx = Context {
            now: self.now,
            random: &mut self.random,
            tickets: &mut self.tickets,
            effects: &mut effects,
        };
        act(&mut self.coordinator, &mut cx, &mut replies);
        for effect in effects {
            if let Effect::Append { entry, .. } = effect
                && let EntryHead::Coordinator(change) = entry.head
            {
                self.changes.push(change);
            }
        }
        replies
    }

    fn ask(&mut self, from: Caller, request: ToCoordinator) -> Vec<(Caller, FromCoordinator)> {
        self.step(|coordinator, cx, replies| coordinator.on_request(cx, from, request, replies))
    }

    /// Makes the first `count` changes durable.
    fn sync(&mut self, count: usize) -> Vec<(Caller, FromCoordinator)> {
        self.durable = count;
        self.step(|coordinator, _, replies| {
            coordinator.on_durable(Ticket(count as u64), replies);
        })
    }

    fn sync_all(&mut self) -> Vec<(Caller, FromCoordinator)> {
        self.sync(self.changes.len())
    }

    /// Lives until then, its timer coming whenever it is due.
    fn at(&mut self, ms: u64) -> Vec<(Caller, FromCoordinator)> {
        let (until, mut said) = (Time::ZERO + Duration::from_millis(ms), Vec::new());
        while let Some(due) = self.coordinator.deadline().filter(|due| *due <= until) {
            self.now = due;
            said.extend(self.step(|coordinator, cx, replies| coordinator.on_timer(cx, replies)));
        }
        self.now = until;
        said
    }

    /// The coordinator that its journal's durable part makes.
    fn restarted(&self) -> Self {
        let mut rig = Self { now: self.now, ..Self::new() };
        rig.changes = self.changes[..self.durable].to_vec();
        for change in &rig.changes {
            rig.coordinator.replay(change).expect("what was journalled replays");
        }
        rig.step(|coordinator, cx, _| coordinator.start(cx));
        rig
    }
}

fn set(key: &str, expected: Option<u64>, value: &str) -> ToCoordinator {
    ToCoordinator::CompareAndSet {
        request: 1,
        key: key.to_owned(),
        expected: expected.map(Revision),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        lease: None,
    }
}

fn set_leased(key: &str) -> ToCoordinator {
    ToCoordinator::CompareAndSet {
        request: 2,
        key: key.to_owned(),
        expected: None,
        value: Some(Bytes::from_static(b"leased")),
        lease: Some(LEASE),
    }
}

fn delete(key: &str, expected: Option<u64>) -> ToCoordinator {
    ToCoordinator::CompareAndSet {
        request: 3,
        key: key.to_owned(),
        expected: expected.map(Revision),
        value: None,
        lease: None,
    }
}

fn watch(prefix: &str) -> ToCoordinator {
    ToCoordinator::Watch { prefix: prefix.to_owned() }
}

fn get(key: &str) -> ToCoordinator {
    ToCoordinator::Get { request: 4, key: key.to_owned() }
}

const KEEP_ALIVE: ToCoordinator = ToCoordinator::KeepAlive { lease: LEASE, ttl_ms: TTL_MS };

fn done(request: u64, revision: u64) -> FromCoordinator {
    FromCoordinator::Set { request, revision: Revision(revision) }
}

fn versioned(revision: u64, value: &str) -> Versioned {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Versioned { revision: Revision(revision), value, lease: None }
}

fn changed(key: &str, current: Option<Versioned>) -> FromCoordinator {
    FromCoordinator::Changed { key: key.to_owned(), current }
}

#[test]
fn only_what_is_as_expected_is_changed() {
    let mut rig = Rig::new();
    let conflict = |current| vec![(ALICE, FromCoordinator::Conflict { request: 1, current })];
    assert_eq!(rig.ask(ALICE, set("k", Some(1), "x")), conflict(None));
    rig.ask(ALICE, set("k", None, "a"));
    assert_eq!(rig.sync_all(), [(ALICE, done(1, 1))]);
    assert_eq!(rig.ask(ALICE, set("k", None, "b")), conflict(Some(versioned(1, "a"))));
    rig.ask(ALICE, set("k", Some(1), "b"));
    assert_eq!(rig.sync_all(), [(ALICE, done(1, 2))]);
    rig.ask(ALICE, delete("k", Some(2)));
    assert_eq!(rig.sync_all(), [(ALICE, done(3, 3))]);
    assert_eq!(rig.ask(ALICE, delete("k", None)), [(ALICE, done(3, 3))]);
    assert_eq!(rig.changes.len(), 3);
}

#[test]
fn nothing_is_told_before_it_is_durable() {
    let mut rig = Rig::new();
    rig.ask(ALICE, watch(""));
    assert_eq!(rig.ask(ALICE, set("k", None, "a")), []);
    assert_eq!(rig.ask(bob(), get("k")), []);
    assert_eq!(rig.ask(bob(), set("k", None, "b")), []);
    let current = Some(versioned(1, "a"));
    assert_eq!(
        rig.sync_all(),
        [
            // A writer that watches sees its change before the answer.
            (ALICE, changed("k", current.clone())),
            (ALICE, done(1, 1)),
            (bob(), FromCoordinator::Value { request: 4, current: current.clone() }),
            (bob(), FromCoordinator::Conflict { request: 1, current }),
        ]
    );
}

#[test]
fn a_watch_begins_with_a_snapshot_and_misses_nothing_after_it() {
    let mut rig = Rig::new();
    rig.ask(ALICE, set("a/1", None, "x"));
    rig.ask(ALICE, set("b/1", None, "x"));
    rig.ask(bob(), watch("a/"));
    rig.ask(ALICE, set("a/2", None, "y"));
    rig.ask(ALICE, delete("a/1", Some(1)));
    rig.ask(ALICE, set("b/1", Some(2), "y"));
    let (prefix, entries) = ("a/".to_owned(), vec![("a/1".to_owned(), versioned(1, "x"))]);
    let told: Vec<FromCoordinator> =
        rig.sync_all().into_iter().filter(|(to, _)| *to == bob()).map(|(_, reply)| reply).collect();
    assert_eq!(
        told,
        [
            FromCoordinator::Snapshot { prefix, entries },
            changed("a/2", Some(versioned(3, "y"))),
            changed("a/1", None),
        ]
    );
}

#[test]
fn a_closed_connection_is_told_nothing_more() {
    let mut rig = Rig::new();
    rig.ask(bob(), watch(""));
    rig.ask(bob(), set("k", None, "a"));
    rig.coordinator.on_closed(bob());
    assert_eq!(rig.sync_all(), []);
    rig.ask(ALICE, set("k", Some(1), "b"));
    assert_eq!(rig.sync_all(), [(ALICE, done(1, 2))]);
}

#[test]
fn a_key_dies_with_its_lease_and_not_with_a_connection() {
    let mut rig = Rig::new();
    rig.ask(ALICE, watch(""));
    rig.ask(bob(), KEEP_ALIVE);
    rig.ask(bob(), set_leased("nodes/1"));
    rig.sync_all();
    rig.coordinator.on_closed(bob());
    assert_eq!(rig.at(2999), []);
    rig.at(3000);
    assert_eq!(rig.sync_all(), [(ALICE, changed("nodes/1", None))]);
    assert_eq!(rig.coordinator.deadline(), None);
}

#[test]
fn a_key_that_another_lease_took_over_outlives_the_first() {
    let mut rig = Rig::new();
    rig.ask(ALICE, KEEP_ALIVE);
    rig.ask(ALICE, set_leased("nodes/1"));
    rig.ask(ALICE, set("nodes/1", Some(1), "permanent"));
    rig.at(3000);
    assert_eq!(rig.changes.len(), 2, "the lease's end deletes nothing");
}

#[test]
fn a_released_lease_ends_at_once() {
    let mut rig = Rig::new();
    rig.ask(ALICE, KEEP_ALIVE);
    rig.ask(ALICE, set_leased("nodes/1"));
    rig.ask(ALICE, ToCoordinator::Release { lease: LEASE });
    rig.sync_all();
    let current = None;
    let answer = FromCoordinator::Value { request: 4, current };
    assert_eq!(rig.ask(ALICE, get("nodes/1")), [(ALICE, answer)]);
}

#[test]
fn no_key_is_tied_to_a_dead_lease() {
    let mut rig = Rig::new();
    let conflict = FromCoordinator::Conflict { request: 2, current: None };
    assert_eq!(rig.ask(ALICE, set_leased("nodes/1")), [(ALICE, conflict)]);
}

#[test]
fn a_restart_gives_every_lease_a_full_grace_period() {
    let mut rig = Rig::new();
    rig.ask(ALICE, KEEP_ALIVE);
    rig.ask(ALICE, set_leased("nodes/1"));
    rig.now = Time::ZERO + Duration::from_millis(2900);
    rig.sync_all();
    let mut rig = rig.restarted();
    let end = 2900 + LEASE_GRACE.as_millis() as u64;
    rig.at(end - 1);
    assert_eq!(rig.changes.len(), 1);
    rig.at(end);
    assert_eq!(rig.changes.len(), 2, "nobody kept it alive");
}

#[test]
fn changes_replay_in_their_order_only() {
    let change = |revision| Change { revision: Revision(revision), key: Key::new(), value: None };
    let mut coordinator = Coordinator::new();
    let error = |last, found| Err(ReplayError { last: Revision(last), found: Revision(found) });
    assert_eq!(coordinator.replay(&change(2)), error(0, 2));
    assert_eq!(coordinator.replay(&change(1)), Ok(()));
    assert_eq!(coordinator.replay(&change(1)), error(1, 1));
}

#[test]
fn what_is_over_a_limit_is_refused() {
    let mut rig = Rig::new();
    let refused = |request, reason| vec![(ALICE, FromCoordinator::Refused { request, reason })];
    let long = "k".repeat(129);
    let key = CoordinatorRefusal::KeyLength { limit: 128 };
    assert_eq!(rig.ask(ALICE, set(&long, None, "")), refused(Some(1), key));
    assert_eq!(rig.ask(ALICE, watch(&long)), refused(None, key));
    let value = CoordinatorRefusal::ValueLength { limit: 128 << 10 };
    let big = "v".repeat(128 << 10);
    assert_eq!(rig.ask(ALICE, set("k", None, &format!("{big}v"))), refused(Some(1), value));
    for n in 0..55 {
        rig.ask(ALICE, set(&format!("k{n}"), None, &big));
    }
    assert_eq!(rig.changes.len(), 55);
    rig.sync_all();
    let state = CoordinatorRefusal::StateLength { limit: 7 << 20 };
    assert_eq!(rig.ask(ALICE, set("k55", None, &big)), refused(Some(1), state));
    rig.ask(ALICE, set("k0", Some(1), &big));
    assert_eq!(rig.changes.len(), 56, "a value may take the place of another");
    rig.sync_all();
    for n in 0..8 {
        rig.ask(ALICE, watch(&format!("w{n}")));
    }
    let watches = CoordinatorRefusal::Watches { limit: 8 };
    assert_eq!(rig.ask(ALICE, watch("w8")), refused(None, watches));
    assert_ne!(rig.ask(ALICE, watch("w7")), refused(None, watches));
}

#[test]
fn there_are_not_more_leases_than_the_limit() {
    let mut rig = Rig::new();
    let keep = |id| ToCoordinator::KeepAlive { lease: LeaseId(id), ttl_ms: TTL_MS };
    for id in 0..4096 {
        rig.ask(ALICE, keep(id));
    }
    let reason = CoordinatorRefusal::Leases { limit: 4096 };
    let refused = FromCoordinator::Refused { request: None, reason };
    assert_eq!(rig.ask(ALICE, keep(4096)), [(ALICE, refused)]);
    let alive = FromCoordinator::Alive { lease: LeaseId(0) };
    assert_eq!(rig.ask(ALICE, keep(0)), [(ALICE, alive)]);
}

/// What a watcher makes of what it is told.
fn fold(mirror: &mut BTreeMap<Key, Versioned>, told: FromCoordinator) {
    match told {
        FromCoordinator::Snapshot { entries, .. } => *mirror = entries.into_iter().collect(),
        FromCoordinator::Changed { key, current: Some(current) } => {
            mirror.insert(key, current);
        }
        FromCoordinator::Changed { key, current: None } => {
            mirror.remove(&key);
        }
        _ => {}
    }
}

#[derive(Debug, Clone)]
enum Act {
    Set { key: u8, right: bool, delete: bool, leased: bool },
    KeepAlive,
    Release,
    Watch,
    Sync(usize),
    Wait(u16),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..3_u8, prop::bool::weighted(0.8), any::<bool>(), any::<bool>())
            .prop_map(|(key, right, delete, leased)| Act::Set { key, right, delete, leased }),
        2 => Just(Act::KeepAlive),
        1 => Just(Act::Release),
        1 => Just(Act::Watch),
        4 => (0..4_usize).prop_map(Act::Sync),
        2 => (0..2000_u16).prop_map(Act::Wait),
        1 => Just(Act::Restart),
    ]
}

/// Plays an act; what is told goes to the one watcher's mirror.
fn play(rig: &mut Rig, act: &Act, mirror: &mut BTreeMap<Key, Versioned>) {
    let told = match *act {
        Act::Set { key, right, delete, leased } => {
            let key = format!("k{key}");
            let last = rig.changes.iter().rfind(|change| change.key == key);
            let current = last.filter(|change| change.value.is_some());
            let expected = current.map(|change| change.revision);
            let expected = if right { expected } else { Some(Revision(u64::MAX)) };
            rig.ask(
                bob(),
                ToCoordinator::CompareAndSet {
                    request: 1,
                    key,
                    expected,
                    value: (!delete).then(|| Bytes::from_static(b"v")),
                    lease: leased.then_some(LEASE),
                },
            )
        }
        Act::KeepAlive => rig.ask(bob(), KEEP_ALIVE),
        Act::Release => rig.ask(bob(), ToCoordinator::Release { lease: LEASE }),
        Act::Watch => rig.ask(ALICE, watch("")),
        Act::Sync(more) => rig.sync((rig.durable + more).min(rig.changes.len())),
        Act::Wait(ms) => rig.at((rig.now - Time::ZERO).as_millis() as u64 + u64::from(ms)),
        Act::Restart => {
            *rig = rig.restarted();
            // `sync` takes tickets for counts of changes.
            rig.tickets.appended = Ticket(rig.changes.len() as u64);
            rig.coordinator.on_durable(rig.tickets.appended, &mut Vec::new());
            rig.durable = rig.changes.len();
            mirror.clear();
            rig.ask(ALICE, watch(""))
        }
    };
    for (to, reply) in told {
        if to == ALICE {
            fold(mirror, reply);
        }
    }
}

proptest! {
    /// However requests, syncs and restarts fall: a watcher's mirror is exactly the fold of the
    /// durable changes, never ahead of them and never behind.
    #[test]
    fn a_mirror_is_the_fold_of_what_is_durable(acts in vec(act(), 0..60)) {
        let mut rig = Rig::new();
        let mut mirror = BTreeMap::new();
        play(&mut rig, &Act::Watch, &mut mirror);
        for act in acts {
            play(&mut rig, &act, &mut mirror);
            let mut naive: BTreeMap<Key, Versioned> = BTreeMap::new();
            for Change { revision, key, value } in &rig.changes[..rig.durable] {
                match value.clone() {
                    Some((value, lease)) => {
                        let versioned = Versioned { revision: *revision, value, lease };
                        naive.insert(key.clone(), versioned)
                    }
                    None => naive.remove(key),
                };
            }
            prop_assert_eq!(&mirror, &naive);
        }
    }
}
