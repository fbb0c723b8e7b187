//! Runs with every rule unbroken keep every promise; with a rule broken, some do not.

use super::{Simulation, Violation};
use crate::planted::Planted;

/// How many runs of each the test makes. (Sessions have a test of their own.)
const RUNS: u64 = 400;

/// The first violation of so many runs.
fn first_violation(simulation: Simulation, runs: u64, planted: Planted) -> Option<Violation> {
    (0..runs).find_map(|seed| simulation.run(seed, planted).err())
}

#[test]
fn nothing_promised_is_broken() {
    for simulation in Simulation::ALL.into_iter().filter(|it| *it != Simulation::Sessions) {
        let violation = first_violation(simulation, RUNS, Planted::NONE);
        assert_eq!(violation, None, "{simulation}");
    }
}

#[test]
#[ignore = "minutes: for a change of the protocol"]
fn nothing_promised_is_broken_in_many_more_runs() {
    for simulation in Simulation::ALL {
        let violation = first_violation(simulation, 300 * RUNS, Planted::NONE);
        assert_eq!(violation, None, "{simulation}");
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn every_broken_rule_shows() {
    use crate::planted::PlantedBug;

    for bug in PlantedBug::ALL {
        let Some(simulation) = Simulation::of(bug) else { continue };
        let violation = first_violation(simulation, 5_000, Planted::bug(bug));
        assert!(violation.is_some(), "5000 runs of {simulation} did not notice {bug:?}");
    }
}

/// What is left out has to show in whole clusters: `sim-tests` demands it.
#[cfg(feature = "planted-bugs")]
#[test]
fn leases_checkpoints_and_failing_archives_have_no_smaller_simulation() {
    use crate::planted::PlantedBug;

    let left_out: Vec<_> =
        PlantedBug::ALL.into_iter().filter(|bug| Simulation::of(*bug).is_none()).collect();
    let expected = [PlantedBug::FailedIsLacking, PlantedBug::GiveUpHeld, PlantedBug::LeaseForEver];
    assert_eq!(left_out, expected);
}
