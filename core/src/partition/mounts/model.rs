//! Random mounts, credits, commits, reads and rounds against a model that knows what each client
//! may be told at any moment, and what everyone must have been told in the end.

use proptest::prelude::*;

use super::*;
use crate::lock::LockId;
use crate::locks::LockConflict;
use crate::partition::testing::{SESSION, run_of};
use crate::record::Run;

const CLIENTS: u64 = 4;
const RECORDS: u64 = 60;
const GENERATION: Generation = Generation(1);

#[derive(Debug, Clone)]
enum Step {
    Mount { client: u64, after: u64, headers: bool, credit: u32 },
    Credit { client: u64, bytes: u32 },
    Unmount { client: u64 },
    Close { client: u64 },
    Number { records: u64 },
    Commit { records: u64 },
    Answer { read: usize, records: u64, done: bool },
    Fail { read: usize },
    Retry,
    Confirm,
    Conflict { client: u64, id: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = || 1..=CLIENTS;
    let step = prop_oneof![
        3 => (client(), 0..RECORDS, any::<bool>(), 0u32..2000).prop_map(
            |(client, after, headers, credit)| Step::Mount { client, after, headers, credit }
        ),
        4 => (client(), 1u32..1000).prop_map(|(client, bytes)| Step::Credit { client, bytes }),
        1 => client().prop_map(|client| Step::Unmount { client }),
        1 => client().prop_map(|client| Step::Close { client }),
        3 => (1u64..5).prop_map(|records| Step::Number { records }),
        4 => (1u64..5).prop_map(|records| Step::Commit { records }),
        4 => (any::<usize>(), 0u64..6, any::<bool>()).prop_map(
            |(read, records, done)| Step::Answer { read, records, done }
        ),
        1 => any::<usize>().prop_map(|read| Step::Fail { read }),
        1 => Just(Step::Retry),
        3 => Just(Step::Confirm),
        2 => (client(), 0..RECORDS).prop_map(|(client, id)| Step::Conflict { client, id }),
    ];
    prop::collection::vec(step, 1..120)
}

/// What the model knows of a mount.
#[derive(Debug)]
struct Told {
    name: MountName,
    mode: FeedMode,
    after: Mark,
    next: TransactionId,
    credit: i64,
    sequenced: Mark,
    rounds_before: u64,
    confirmed: Option<Mark>,
    ready: bool,
    held: Vec<(u64, TransactionId)>,
}

struct World {
    mounts: Mounts,
    log: Run,
    numbered: u64,
    committed: u64,
    told: BTreeMap<ClientId, Told>,
    reads: BTreeMap<u64, (TransactionId, Mark)>,
    rounds: u64,
    round_under_way: bool,
    last_mount: u64,
    sequence: u64,
    /// Mounts that others have taken the place of, on connections that are still open.
    replaced: Vec<MountName>,
}

fn mark(count: u64) -> Mark {
    Mark::before(TransactionId(count))
}

impl World {
    fn new(committed: u64, planted: Planted) -> Self {
        let config = MountsConfig {
            reads: 2,
            tail_bytes: 900,
            header_tail_bytes: 700,
            ..Default::default()
        };
        Self {
            mounts: Mounts::new(config, PartitionId(0), GENERATION, SESSION, mark(committed))
                .with_planted(planted),
            log: run_of(0..RECORDS, |id| id.0 as usize * 7 % 90),
            numbered: committed,
            committed,
            told: BTreeMap::new(),
            reads: BTreeMap::new(),
            rounds: 0,
            round_under_way: false,
            last_mount: 0,
            sequence: 0,
            replaced: Vec::new(),
        }
    }

    fn part(&self, from: u64, to: u64) -> Option<Run> {
        self.log.slice(TransactionId(from), mark(to))
    }

    fn name(&self, client: u64) -> Option<MountName> {
        self.told.get(&ClientId(client)).map(|told| told.name)
    }

    fn step(&mut self, step: &Step) {
        let mut out = Vec::new();
        match *step {
            Step::Mount { client, after, headers, credit } => {
                self.mount(client, after, headers, credit, &mut out);
            }
            Step::Credit { client, bytes } => {
                if let Some(told) = self.told.get_mut(&ClientId(client)) {
                    told.credit += i64::from(bytes);
                    self.mounts.credit(told.name, bytes, &mut out);
                }
            }
            Step::Unmount { client } => {
                if let Some(name) = self.name(client) {
                    self.mounts.unmount(name, &mut out);
                }
            }
            Step::Close { client } => {
                if let Some(told) = self.told.remove(&ClientId(client)) {
                    self.mounts.closed(told.name.conn);
                }
            }
            Step::Number { records } => self.numbered = RECORDS.min(self.numbered + records),
            Step::Commit { records } => {
                let to = self.numbered.min(self.committed + records);
                if let Some(run) = self.part(self.committed, to) {
                    self.committed = to;
                    self.mounts.committed(&run, &mut out);
                }
            }
            Step::Answer { read, records, done } => self.answer(read, records, done, &mut out),
            Step::Fail { read } => {
                if let Some(request) = self.pick(read) {
                    self.reads.remove(&request);
                    self.mounts.read_failed(request, "failed", &mut out);
                }
            }
            Step::Retry => self.mounts.retry(&mut out),
            Step::Confirm => self.confirm(&mut out),
            Step::Conflict { client, id } => self.conflict(client, id, &mut out),
        }
        for output in out {
            self.check(output);
        }
        let admitted = self.replaced.iter().find(|name| self.mounts.admits(**name, SESSION));
        assert_eq!(admitted, None, "a former mount appends");
    }

    fn mount(&mut self, client: u64, after: u64, headers: bool, credit: u32, out: &mut Outputs) {
        self.last_mount += 1;
        let name = MountName {
            conn: ConnectionId::accepted(self.last_mount),
            client: ClientId(client),
            mount: MountId(self.last_mount),
        };
        // Now and then ahead of the log, mostly not.
        let after = mark(after % (self.committed + 3));
        let mode = if headers { FeedMode::Headers } else { FeedMode::Records };
        let told = Told {
            name,
            mode,
            after,
            next: after.next(),
            credit: credit.into(),
            sequenced: mark(self.numbered),
            rounds_before: self.rounds,
            confirmed: None,
            ready: false,
            held: Vec::new(),
        };
        self.replaced.extend(self.told.insert(name.client, told).map(|former| former.name));
        let request = MountRequest { name, generation: GENERATION, after, mode, credit };
        self.mounts.mount(request, mark(self.numbered), out);
    }

    fn pick(&self, read: usize) -> Option<u64> {
        self.reads.keys().nth(read % self.reads.len().max(1)).copied()
    }

    fn answer(&mut self, read: usize, records: u64, done: bool, out: &mut Outputs) {
        let Some(request) = self.pick(read) else {
            return;
        };
        let (first, to) = self.reads[&request];
        let end = to.count().min(first.0 + records);
        match self.part(first.0, end) {
            Some(run) => {
                self.reads.insert(request, (TransactionId(end), to));
                let done = done || end == to.count();
                if done {
                    self.reads.remove(&request);
                }
                self.mounts.records(request, &run, done, out);
            }
            None => {
                self.reads.remove(&request);
                self.mounts.read_failed(request, "nothing came", out);
            }
        }
    }

    fn confirm(&mut self, out: &mut Outputs) {
        if !self.round_under_way {
            return;
        }
        self.round_under_way = false;
        let waiting = self.told.values_mut().filter(|told| told.confirmed.is_none());
        for told in waiting.filter(|told| told.rounds_before < self.rounds) {
            told.confirmed = Some(mark(self.committed));
        }
        self.mounts.confirmed(self.rounds, mark(self.committed), out);
    }

    fn conflict(&mut self, client: u64, id: u64, out: &mut Outputs) {
        let Some(told) = self.told.get_mut(&ClientId(client)).filter(|_| id < self.numbered) else {
            return;
        };
        if self.mounts.admits(told.name, SESSION) {
            assert!(told.ready, "admitted before it is ready");
            self.sequence += 1;
            told.held.push((self.sequence, TransactionId(id)));
            let conflict = LockConflict { id: TransactionId(id), lock: LockId(1), exact: true };
            self.mounts.conflict(told.name, self.sequence, conflict, out);
        }
    }

    fn check(&mut self, output: MountsOutput) {
        let committed = mark(self.committed);
        match output {
            MountsOutput::Confirm { round } => {
                assert!(!self.round_under_way, "one round at a time");
                (self.round_under_way, self.rounds) = (true, self.rounds + 1);
                assert_eq!(round, self.rounds);
            }
            MountsOutput::Read { request, first, to, max_bytes } => {
                assert!(to.includes(first) && to <= committed && max_bytes > 0);
                assert!(self.reads.insert(request, (first, to)).is_none());
                assert!(self.reads.len() <= 2, "reads are bounded");
            }
            MountsOutput::Reply { conn, reply, payload } => self.check_reply(conn, reply, payload),
        }
    }

    fn check_reply(&mut self, conn: ConnectionId, reply: ServerReply, payload: Bytes) {
        let committed = mark(self.committed);
        let log = self.log.clone();
        let told = self.told.values_mut().find(|told| told.name.conn == conn);
        match (reply, told) {
            (ServerReply::Mounted { session, .. }, Some(_)) => assert_eq!(session, SESSION),
            (ServerReply::Feed { first, count, .. }, Some(told)) => {
                assert_eq!(first, told.next, "no gap and no repetition");
                assert!(told.credit > 0, "sent on credit");
                told.next = TransactionId(first.0 + u64::from(count));
                assert!(Mark::before(told.next) <= committed, "only what is committed");
                told.credit -= payload.len() as i64;
                let run = log.slice(first, Mark::before(told.next)).expect("of the log");
                let last = log.slice(TransactionId(told.next.0 - 1), mark(told.next.0));
                assert!(told.credit > -(last.expect("of the log").bytes.len() as i64));
                let headers = told.mode == FeedMode::Headers;
                assert_eq!(payload, if headers { run.without_data() } else { run }.bytes);
            }
            (ServerReply::Ready { mark, .. }, Some(told)) => {
                assert!(!told.ready, "once");
                told.ready = true;
                assert!(committed >= told.sequenced, "all that was numbered is decided");
                assert!(told.confirmed.is_some_and(|confirmed| mark >= confirmed), "confirmed");
                assert!(mark >= told.sequenced && mark == Mark::before(told.next), "fed");
            }
            (ServerReply::Conflict { sequence, id, .. }, Some(told)) => {
                assert!(committed.includes(id), "its cause is committed");
                let place = told.held.iter().position(|held| *held == (sequence, id));
                told.held.swap_remove(place.expect("told once"));
            }
            (ServerReply::Unmounted { reason: MountRefusal::AheadOfLog { log, .. }, .. }, told) => {
                let told = told.expect("mounted");
                assert!(told.confirmed == Some(log) && told.after > log);
                let client = told.name.client;
                self.told.remove(&client);
            }
            (ServerReply::Unmounted { reason: MountRefusal::Asked, .. }, Some(told)) => {
                let client = told.name.client;
                self.told.remove(&client);
            }
            (ServerReply::Unmounted { reason: MountRefusal::Replaced, .. }, None) => {}
            (reply, told) => panic!("unexpected {reply:?} for {told:?}"),
        }
    }

    /// Faults end: everything numbered is committed, reads and rounds succeed, credit flows.
    fn settle(&mut self) {
        self.step(&Step::Commit { records: RECORDS });
        for _ in 0..10 * RECORDS {
            self.step(&Step::Retry);
            self.step(&Step::Confirm);
            self.step(&Step::Answer { read: 0, records: RECORDS, done: true });
            for client in 1..=CLIENTS {
                self.step(&Step::Credit { client, bytes: 100 });
            }
        }
    }
}

/// Everything that a run of these steps has to show, or why it does not.
fn run(committed: u64, steps: &[Step], planted: Planted) -> Result<(), TestCaseError> {
    let mut world = World::new(committed, planted);
    for step in steps {
        world.step(step);
    }
    world.settle();
    prop_assert!(world.reads.is_empty() && !world.round_under_way);
    prop_assert_eq!(world.mounts.mounted(), world.told.len());
    for told in world.told.values() {
        prop_assert_eq!(Mark::before(told.next), mark(world.committed), "{:?}", told);
        prop_assert!(told.ready && told.held.is_empty(), "{:?}", told);
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_client_sees_the_log_and_nothing_else(committed in 0u64..20, steps in steps()) {
        run(committed, &steps, Planted::NONE)?;
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn broken_rules_show() {
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let bugs = [
        PlantedBug::FeedGap,
        PlantedBug::ReadyWithoutDrain,
        PlantedBug::ReadyWithoutRound,
        PlantedBug::AcceptStaleMount,
    ];
    for bug in bugs {
        let config = Config { max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let caught = runner.run(&(0u64..20, steps()), |(committed, steps)| {
            run(committed, &steps, Planted::bug(bug))
        });
        assert!(caught.is_err(), "{bug:?}");
    }
}
