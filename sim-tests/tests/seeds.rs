//! Seeds that must hold, seeds that once did not, and rules whose breaking must show.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use waltz_core::explorer::Simulation;
use waltz_core::planted::{Planted, PlantedBug};
use waltz_sim_tests::{
    ArchiveUse, FaultKind, Outcome, Overrides, PINNED, Request, WorkloadKind, run,
};

/// Seeds that found a bug, put back for the purpose, when they were kept; and which.
const FOUND: [(u64, &str); 9] = [
    (5, "a controller that waits for a slow disk kept its node's loop spinning"),
    (85, "a question to a former owner got lost when its connection was no longer needed"),
    (127, "the same, for another client"),
    (160, "the same, and a flush waited for ever"),
    (346, "what an instance was not fed, and its shared database knew, was trimmed: it gave up"),
    (1159, "a full replica set with two lost members could not be changed any more"),
    (1496, "damage that was reported beside a repair started one more repair each time"),
    (1507, "a full replica set again"),
    (319_324, "a joined replica that lagged was sent records past a change that was trimmed"),
];

fn request(seed: u64, planted: Planted) -> Request {
    Request { planted, ..Request::new(seed) }
}

/// The first seed below `to` that breaks a promise, and how.
fn first_broken(to: u64, planted: Planted) -> Option<(u64, Vec<String>)> {
    let (next, broken) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to || broken.load(Ordering::Relaxed) != u64::MAX {
                        return;
                    }
                    if !run(request(seed, planted)).violations.is_empty() {
                        broken.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let seed = broken.into_inner();
    (seed != u64::MAX).then(|| (seed, run(request(seed, planted)).violations))
}

#[test]
fn two_thousand_seeds_keep_every_promise() {
    if let Some((seed, violations)) = first_broken(2_000, Planted::NONE) {
        panic!("seed {seed}: {violations:#?}\nreplay with: {}", Request::new(seed).replay());
    }
}

#[test]
fn seeds_that_find_a_bug_keep_every_promise() {
    for (seed, story) in FOUND {
        // They were found when every coordinator was embedded, and nothing was archived.
        let overrides = Overrides { outside: Some(0), archive: Some(0), ..Overrides::default() };
        let request = Request { overrides, ..request(seed, Planted::NONE) };
        let violations = run(request).violations;
        assert!(violations.is_empty(), "seed {seed} ({story}): {violations:#?}");
    }
}

#[test]
fn each_planted_bug_is_caught_within_two_hundred_seeds() {
    for bug in [
        PlantedBug::AcknowledgeBeforeSync,
        PlantedBug::QuorumMinusOne,
        PlantedBug::CutToLowWater,
        PlantedBug::JoinAnywhere,
        PlantedBug::ResumeBlindly,
        PlantedBug::CopyAsOwn,
        PlantedBug::DuplicateRequest,
        PlantedBug::ResolveUndecided,
        PlantedBug::WithdrawSent,
    ] {
        let caught = first_broken(200, Planted::bug(bug));
        assert!(caught.is_some(), "200 seeds did not notice {bug:?}");
    }
}

#[test]
fn rules_without_a_smaller_simulation_show_in_clusters() {
    for bug in PlantedBug::ALL.into_iter().filter(|bug| Simulation::of(*bug).is_none()) {
        let caught = first_broken(200, Planted::bug(bug));
        assert!(caught.is_some(), "200 seeds did not notice {bug:?}");
    }
}

#[test]
fn every_workload_does_real_work() {
    for workload in WorkloadKind::ALL {
        let seed = (0..).find(|seed| {
            let plan = Request::new(*seed).plan();
            plan.workload == *workload && plan.shape.nodes > 1
        });
        let outcome = run(Request::new(seed.expect("some seed has it")));
        let summary = outcome.summary;
        assert!(summary.committed > 10, "{workload:?}: {summary}");
        assert!(summary.operations >= summary.committed, "{workload:?}: {summary}");
        assert!(summary.boots > 3, "{workload:?}: {summary}");
    }
}

/// Reads of an archive that nobody makes, or that never fail, would prove nothing.
#[test]
fn archives_are_read_and_fail_under_faults_of_every_kind() {
    let (mut used, mut faults, mut runs) = (ArchiveUse::default(), BTreeSet::new(), 0);
    for seed in 0..400 {
        let request = Request::new(seed);
        let plan = request.plan();
        if plan.archive {
            let outcome = run(request.clone());
            assert_eq!(outcome.violations, [""; 0], "replay with: {}", request.replay());
            if outcome.summary.archive.records > 0 {
                faults.extend(plan.faults.into_keys());
                runs += 1;
            }
            used += outcome.summary.archive;
        }
    }
    assert!(runs > 40, "records come from the archive in {runs} of 400 runs");
    assert!(used.pieces > 300 && used.reads > 350 && used.records > 1_000, "{used}");
    assert!(used.failed > 35 && used.unanswered > 0, "{used}");
    let never: Vec<_> = FaultKind::ALL.iter().filter(|fault| !faults.contains(fault)).collect();
    assert!(never.is_empty(), "never together with reads of an archive: {never:?}");
}

#[test]
fn overrides_change_what_they_name() {
    let request =
        Request { overrides: "operations=5,services=1".parse().unwrap(), ..Request::new(1) };
    let outcome = run(request.clone());
    assert_eq!(outcome.violations, [""; 0]);
    assert!(outcome.summary.operations < run(Request::new(1)).summary.operations);
    assert_eq!(run(request).summary, outcome.summary);
}

#[test]
fn one_seed_in_two_processes_gives_one_trace() {
    let trace = || {
        let program = env!("CARGO_BIN_EXE_waltz-sim");
        let output = Command::new(program).args(["--seed", "7", "--trace"]).output();
        let output = output.expect("the simulator runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        output.stdout
    };
    let (one, other) = (trace(), trace());
    assert!(one.len() > 10_000, "a trace has thousands of lines");
    assert!(one == other, "the traces differ");
}

/// Every run of a seed on any machine gives the same trace. Whoever changes the protocol, the plan
/// or the simulator pins the hashes anew, and says why:
/// `cargo run -p waltz-sim-tests --release -- --pin > sim-tests/tests/pinned.txt`
#[test]
fn pinned_seeds_give_the_traces_they_gave() {
    let found: String = PINNED
        .map(|seed| {
            let summary = run(Request::new(seed)).summary;
            format!("{seed} {:016x} {}\n", summary.trace, summary.events)
        })
        .collect();
    assert_eq!(
        found,
        include_str!("pinned.txt"),
        "traces (seed, hash, events) changed; if they should, pin them anew: \
         cargo run -p waltz-sim-tests --release -- --pin > sim-tests/tests/pinned.txt"
    );
}

#[test]
fn five_replicas_lose_two_for_good_are_five_again_and_lose_two_more() {
    let mut committed = 0;
    for seed in 0..100 {
        let overrides = Overrides { story: Some(1), ..Overrides::default() };
        let request = Request { overrides, ..Request::new(seed) };
        let Outcome { summary, violations, .. } = run(request.clone());
        assert!(violations.is_empty(), "{violations:#?}\nreplay with: {}", request.replay());
        assert!(summary.committed > 0, "seed {seed}: {summary}");
        committed += summary.committed;
    }
    assert!(committed > 4_000, "they are at work meanwhile: {committed}");
}
