//! Which broken rules the simulation notices, how soon, and by which promise.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use waltz_core::planted::{Planted, PlantedBug};
use waltz_sim_tests::Request;

use crate::arguments::name_of;
use crate::many::run_all;

/// What came of breaking one rule in many seeds.
struct Row {
    rule: String,
    seeds: u64,
    /// The seeds that noticed, ascending.
    noticed: Vec<u64>,
    /// How many of them each promise failed in first.
    promises: BTreeMap<String, u64>,
    elsewhere: &'static str,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, seeds, noticed, promises, elsewhere } = self;
        let Some(first) = noticed.first() else {
            return write!(f, "{rule:<26}   0 of {seeds}; shows in {elsewhere}");
        };
        let most = promises.iter().max_by_key(|(_, count)| **count);
        let promise = most.map_or("", |(promise, _)| promise);
        let (count, median) = (noticed.len(), median_needed(noticed));
        write!(f, "{rule:<26} {count:>3} of {seeds}; first {first}, median {median}; {promise}")
    }
}

/// Prints a line for each rule that can be broken.
pub(crate) fn print((from, to): (u64, u64)) {
    for bug in PlantedBug::ALL {
        println!("{}", row(bug, (from, to)));
    }
}

fn row(bug: PlantedBug, (from, to): (u64, u64)) -> Row {
    let promises = Mutex::new(BTreeMap::new());
    let request = |seed| Request { planted: Planted::bug(bug), ..Request::new(seed) };
    let totals = run_all((from, to), request, |_, outcome| {
        let first = outcome.violations.first().map_or("", String::as_str);
        let promise = first.split(':').next().unwrap_or_default().to_owned();
        *promises.lock().expect("counting does not panic").entry(promise).or_default() += 1;
    });
    let mut noticed = totals.failed;
    noticed.sort_unstable();
    Row {
        rule: name_of(bug),
        seeds: to - from,
        noticed,
        promises: promises.into_inner().expect("counting does not panic"),
        elsewhere: elsewhere(bug),
    }
}

/// Of all runs of seeds in a row that end with one that notices: the median of their lengths.
fn median_needed(noticed: &[u64]) -> u64 {
    let mut needed: Vec<u64> =
        noticed.windows(2).flat_map(|pair| 1..=pair[1] - pair[0]).chain([1]).collect();
    needed.sort_unstable();
    needed[needed.len() / 2]
}

/// Where a rule's breaking shows when whole clusters don't meet it.
fn elsewhere(bug: PlantedBug) -> &'static str {
    match bug {
        PlantedBug::QuorumMinusOne
        | PlantedBug::CountBeforeJoin
        | PlantedBug::ChooseByLength
        | PlantedBug::TrustStaleSet
        | PlantedBug::ResumeBlindly
        | PlantedBug::ReplaceInOneStep
        | PlantedBug::ChangeBeforeCommitted
        | PlantedBug::CountLearner => "core/src/explorer/",
        PlantedBug::AcknowledgeBeforeSync
        | PlantedBug::PromiseBeforeSync
        | PlantedBug::JoinBeforeSync
        | PlantedBug::SkipPromiseCheck
        | PlantedBug::OpenBeforeInFlight
        | PlantedBug::StaleCompletion
        | PlantedBug::KeepLongerTail
        | PlantedBug::CutToLowWater
        | PlantedBug::JoinAnywhere
        | PlantedBug::CopyAsOwn
        | PlantedBug::SuspectVotes
        | PlantedBug::RepairUnchecked
        | PlantedBug::TrimUncommitted => "core/src/storage/tests/planted.rs",
        PlantedBug::OldBytesRevive => "core/src/journal/tests.rs",
        PlantedBug::IgnoreLockFloor => "core/src/locks/tests.rs",
        PlantedBug::FeedGap | PlantedBug::ReadyWithoutDrain | PlantedBug::ReadyWithoutRound => {
            "core/src/partition/mounts/model.rs"
        }
        PlantedBug::ReuseSession
        | PlantedBug::ForgetLocks
        | PlantedBug::IgnoreInFlightLocks
        | PlantedBug::FeedUncommitted
        | PlantedBug::AcceptStaleMount
        | PlantedBug::DuplicateRequest
        | PlantedBug::LeaseForEver => "nothing yet",
    }
}
