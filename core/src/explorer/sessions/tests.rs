//! Runs with every rule unbroken keep every promise, and get somewhere.

use super::run;
use super::run::Run;
use crate::explorer::explore::explore;
use crate::planted::Planted;

/// How many runs the test makes. More of them find rarer things.
const RUNS: u64 = 1_000;

#[test]
fn nothing_promised_is_broken_and_all_ends_well() {
    nothing_is_broken_in(RUNS);
}

#[test]
#[ignore = "minutes: for a change of the protocol"]
fn nothing_promised_is_broken_in_many_more_runs() {
    nothing_is_broken_in(300 * RUNS);
}

fn nothing_is_broken_in(runs: u64) {
    let mut violations = (0..runs).filter_map(|seed| run(seed, Planted::NONE).err());
    let Some(violation) = violations.next() else { return };
    let mut run = Run::told(violation.seed);
    let again = explore(violation.seed, &mut run);
    let story = run.story.unwrap_or_default().join("\n");
    panic!("{story}\n{violation:?}\nand once more: {again:?}");
}

/// The runs go somewhere: they commit, fence, cut, and catch up through reads.
#[test]
fn the_runs_reach_what_they_are_for() {
    let (mut committed, mut fenced, mut cut, mut read) = (0, 0, 0, 0);
    for seed in 0..50 {
        let mut run = Run::told(seed);
        explore(seed, &mut run).expect("nothing is broken");
        committed += run.oracle.committed().count();
        let story = run.story.unwrap_or_default();
        for line in story {
            fenced += u64::from(line.contains("is over: n"));
            cut += u64::from(line.contains("writes cut"));
            read += u64::from(line.contains("-> s") && line.contains("records"));
        }
    }
    let reached = [committed, fenced, cut, read];
    assert!(reached.iter().all(|count| *count > 20), "{reached:?}");
}
