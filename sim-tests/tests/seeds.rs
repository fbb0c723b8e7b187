//! Seeds that must hold, seeds that once did not, and rules whose breaking must show.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use waltz_core::planted::{Planted, PlantedBug};
use waltz_sim_tests::{Request, Size, run};

/// Seeds that found a bug once, and which.
const FOUND: [(u64, &str); 3] = [
    (12, "a controller that waits for a slow disk kept its node's loop spinning"),
    (923, "a question to a former owner got lost when its connection was no longer needed"),
    (1119, "the same, for another client"),
];

fn request(seed: u64, planted: Planted) -> Request {
    Request { seed, size: Size::Short, planted, lines: None }
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
        panic!(
            "seed {seed}: {violations:#?}\n\
             replay with: cargo run -p waltz-sim-tests --release -- --seed {seed}"
        );
    }
}

#[test]
fn seeds_that_found_a_bug_keep_every_promise() {
    for (seed, story) in FOUND {
        let violations = run(request(seed, Planted::NONE)).violations;
        assert!(violations.is_empty(), "seed {seed} ({story}): {violations:#?}");
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
fn a_run_does_real_work() {
    let outcome = run(request(1, Planted::NONE));
    assert!(outcome.summary.committed > 20, "{}", outcome.summary);
    assert!(outcome.summary.boots > 3, "{}", outcome.summary);
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
