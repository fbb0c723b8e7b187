//! Makes a failing run smaller: fewer faults, nodes, clients and operations, as long as it still
//! fails in the same way.
//!
//! Whatever is left out changes everything that happens later, so a smaller run may need other luck
//! to fail: each is tried with some.

use std::fmt::Write;

use crate::plan::{FaultKind, Overrides, Plan};
use crate::run::{Outcome, Request, run};

/// How often a smaller run may fail to fail.
const TRIES: u32 = 12;

/// A run that fails, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// The run.
    pub request: Request,
    /// What it broke first.
    pub violation: String,
}

/// Makes a run smaller until nothing more can go; `None` if it does not fail. `tell` hears of each
/// step.
pub fn shrink(request: Request, tell: impl FnMut(&Failing)) -> Option<Failing> {
    shrink_with(request, |request| run(request.clone()), tell)
}

fn shrink_with(
    request: Request,
    run: impl Fn(&Request) -> Outcome,
    mut tell: impl FnMut(&Failing),
) -> Option<Failing> {
    let violation = run(&request).violations.into_iter().next()?;
    let mut smallest = Failing { request, violation };
    while let Some(smaller) = smaller(&smallest, &run) {
        smallest = smaller;
        tell(&smallest);
    }
    Some(smallest)
}

/// The first of the smaller runs that fails in the same way.
fn smaller(failing: &Failing, run: &impl Fn(&Request) -> Outcome) -> Option<Failing> {
    let kind = kind(&failing.violation);
    for overrides in candidates(&failing.request) {
        for luck in 0..TRIES {
            // The first try keeps its luck.
            let luck = if luck == 0 { overrides.luck } else { Some(luck) };
            let overrides = Overrides { luck, ..overrides.clone() };
            let request = Request { overrides, ..failing.request.clone() };
            let violations = run(&request).violations;
            if let Some(violation) = violations.into_iter().find(|found| self::kind(found) == kind)
            {
                return Some(Failing { request, violation });
            }
        }
    }
    None
}

/// The part of a violation that says which promise it breaks.
fn kind(violation: &str) -> &str {
    violation.split_once(':').map_or(violation, |(kind, _)| kind)
}

/// What could be left out, the most first.
fn candidates(request: &Request) -> Vec<Overrides> {
    let plan = request.plan();
    let mut candidates = Vec::new();
    let mut change = |change: &dyn Fn(&mut Overrides)| {
        let mut overrides = request.overrides.clone();
        change(&mut overrides);
        // Only what makes a difference makes progress.
        if request.plan() != (Request { overrides: overrides.clone(), ..request.clone() }).plan() {
            candidates.push(overrides);
        }
    };
    let faults: Vec<FaultKind> = plan.faults.keys().copied().collect();
    change(&|overrides| overrides.without.extend(&faults));
    let (one, other) = faults.split_at(faults.len() / 2);
    change(&|overrides| overrides.without.extend(one));
    change(&|overrides| overrides.without.extend(other));
    for fault in &faults {
        change(&|overrides| *overrides = overrides.clone().without(*fault));
    }
    for (nodes, replicas) in [(1, 1), (3, 1), (3, 3), (5, 3), (5, 5)] {
        let is_smaller =
            nodes < plan.shape.nodes || nodes == plan.shape.nodes && replicas < plan.shape.replicas;
        if is_smaller && replicas <= plan.shape.replicas {
            change(&|overrides| {
                (overrides.nodes, overrides.replicas) = (Some(nodes), Some(replicas));
            });
        }
    }
    for number in less_than(plan.shape.partitions) {
        change(&|overrides| overrides.partitions = Some(number));
    }
    for number in less_than(plan.services) {
        change(&|overrides| overrides.services = Some(number));
    }
    for number in less_than(plan.workers as u32) {
        change(&|overrides| overrides.workers = Some(number));
    }
    for number in less_than(plan.operations as u32) {
        change(&|overrides| overrides.operations = Some(number));
    }
    for number in less_than(plan.storm.as_millis() as u32 / 500) {
        change(&|overrides| overrides.storm_ms = Some(number * 500));
    }
    candidates
}

/// One, half, three quarters, and one less.
fn less_than(number: u32) -> impl Iterator<Item = u32> {
    let mut smaller = vec![1, number / 2, number / 4 * 3, number.saturating_sub(1)];
    smaller.retain(|smaller| (1..number).contains(smaller));
    smaller.dedup();
    smaller.into_iter()
}

/// A failing run as a test that can be pasted into `tests/seeds.rs`.
pub fn test_of(failing: &Failing) -> String {
    let Failing { request, violation } = failing;
    let Plan { workload, shape, .. } = request.plan();
    let mut test = String::new();
    // Writing to a string can't fail.
    let _ = write!(
        test,
        "/// {workload:?} on {} nodes, {} replicas: {violation}\n\
         #[test]\n\
         fn seed_{}_keeps_every_promise() {{\n    \
             let overrides = {:?}.parse().expect(\"they are sound\");\n    \
             let request = Request {{ overrides, ..Request::new({}) }};\n    \
             assert_eq!(run(request).violations, [\"\"; 0]);\n\
         }}\n",
        shape.nodes,
        shape.replicas,
        request.seed,
        request.overrides.to_string(),
        request.seed,
    );
    test
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Summary;

    /// A run that fails as long as there is a certain fault and enough to do.
    fn fails(request: &Request) -> Outcome {
        let plan = request.plan();
        let broken = plan.faults.contains_key(&FaultKind::Power) && plan.operations >= 7;
        let violations = if broken { vec!["promise 2: lost".to_owned()] } else { Vec::new() };
        Outcome { summary: Summary::default(), violations, lines: Vec::new() }
    }

    #[test]
    fn all_but_the_cause_is_left_out() {
        let seed = (0..).find(|seed| {
            let plan = Request::new(*seed).plan();
            plan.faults.contains_key(&FaultKind::Power) && plan.shape.nodes == 7
        });
        let seed = seed.expect("some seed loses power");
        let mut steps = 0;
        let found = shrink_with(Request::new(seed), fails, |_| steps += 1);
        let plan = found.expect("it fails").request.plan();
        assert_eq!(plan.faults.keys().collect::<Vec<_>>(), [&FaultKind::Power]);
        assert_eq!((plan.operations, plan.services, plan.workers), (7, 1, 1));
        assert_eq!((plan.shape.nodes, plan.shape.partitions), (1, 1));
        assert!(steps > 5);
    }

    #[test]
    fn what_does_not_fail_is_not_shrunk() {
        let sound = |_: &Request| Outcome {
            summary: Summary::default(),
            violations: Vec::new(),
            lines: Vec::new(),
        };
        assert_eq!(shrink_with(Request::new(1), sound, |_| ()), None);
    }

    #[test]
    fn a_failing_run_is_printed_as_a_test() {
        let overrides = Overrides { nodes: Some(3), ..Overrides::default() };
        let request = Request { overrides, ..Request::new(5) };
        let test = test_of(&Failing { request, violation: "promise 2: lost".to_owned() });
        assert!(test.contains("fn seed_5_keeps_every_promise() {"), "{test}");
        assert!(test.contains("let overrides = \"nodes=3\".parse()"), "{test}");
    }
}
