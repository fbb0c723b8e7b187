//! Seeds that must hold, seeds that once did not, and rules whose breaking must show.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use waltz_core::planted::{Planted, PlantedBug};
use waltz_sim_tests::{Request, WorkloadKind, run};

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
fn each_planted_bug_is_caught_within_two_hundred_seeds() {
    for bug in [
        PlantedBug::AcknowledgeBeforeSync,
        PlantedBug::SkipPromiseCheck,
        PlantedBug::QuorumMinusOne,
    ] {
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
