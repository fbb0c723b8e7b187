//! What is near the starts, in every run of the tests; `waltz-model` itself goes further.

use waltz_core::planted::{Planted, PlantedBug};
use waltz_model::{Bounds, Happening, Outcome, Promise, explore, start, starts};

fn to_depth(depth: usize) -> Bounds {
    Bounds { depth: Some(depth), ..Bounds::default() }
}

/// How far to go: the more may fail, the more states there are.
fn depth_with(faults: &str) -> usize {
    match faults {
        "none" => 12,
        "a crash and a reset" => 6,
        _ => 7,
    }
}

#[test]
fn every_state_near_a_start_keeps_every_promise() {
    let mut happened = [0; Happening::ALL.len()];
    for start in starts(Planted::NONE) {
        let depth = depth_with(start.faults);
        let outcome = explore(&start, to_depth(depth));
        if let Some(counterexample) = outcome.counterexample {
            panic!("{} with {}:\n{}", start.name, start.faults, counterexample.transcript);
        }
        assert_eq!(outcome.depth, depth, "{} with {}", start.name, start.faults);
        for (count, happening) in happened.iter_mut().zip(Happening::ALL) {
            *count += outcome.tally.of(happening);
        }
    }
    // One that never gets there proves nothing.
    assert!(happened.iter().all(|count| *count > 20), "{happened:?}");
}

#[test]
fn a_bound_of_no_steps_looks_at_the_start_alone() {
    let start = start("open", "none", Planted::NONE).expect("a start of that name");
    let outcome = explore(&start, to_depth(0));
    assert_eq!((outcome.depth, outcome.is_complete), (0, false));
    // s2 to each node, and an append of s1, lead on from there.
    assert_eq!(outcome.states, 1 + 4);
}

fn planted(bug: PlantedBug, name: &str) -> Outcome {
    let start = start(name, "none", Planted::bug(bug)).expect("a start of that name");
    explore(&start, to_depth(14))
}

/// What shows it, in so many steps, and how the story ends.
fn assert_caught(outcome: Outcome, promise: Promise, steps: usize, end: &str) {
    let counterexample = outcome.counterexample.expect("the broken rule shows");
    let transcript = counterexample.transcript;
    assert_eq!((counterexample.promise, counterexample.steps), (promise, steps), "{transcript}");
    assert!(transcript.starts_with("> open s1\n"), "{transcript}");
    assert!(transcript.lines().last().is_some_and(|line| line.contains(end)), "{transcript}");
}

#[test]
fn an_acknowledgement_before_the_sync_is_caught() {
    let outcome = planted(PlantedBug::AcknowledgeBeforeSync, "open");
    assert_caught(outcome, Promise::OnAQuorum, 5, "committed record 0 of e1.n1.00000001 is on 0");
}

#[test]
fn a_quorum_off_by_one_is_caught() {
    let outcome = planted(PlantedBug::QuorumMinusOne, "open");
    assert_caught(outcome, Promise::OnAQuorum, 4, "committed record 0 of e1.n1.00000001 is on 1");
}

#[test]
fn a_skipped_fence_is_caught() {
    let outcome = planted(PlantedBug::SkipPromiseCheck, "tail");
    assert_caught(outcome, Promise::OnAQuorum, 10, "committed record 1 of e1.n1.00000001 is on 1");
}
