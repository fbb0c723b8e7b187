//! Which broken rules are noticed, how soon, and by which promise: by whole clusters, and by the
//! smaller simulation that looks closer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::{Value, json};
use waltz_core::explorer::Simulation;
use waltz_core::planted::{Planted, PlantedBug};
use waltz_sim_tests::Request;

use crate::arguments::name_of;
use crate::many::run_all;

/// How many runs of a smaller simulation each rule gets.
const RUNS: u64 = 5_000;

/// What came of breaking one rule in many seeds.
struct Noticed {
    from: u64,
    of: u64,
    /// The seeds that noticed, ascending.
    seeds: Vec<u64>,
}

impl Noticed {
    fn new((from, to): (u64, u64), mut seeds: Vec<u64>) -> Self {
        seeds.sort_unstable();
        Self { from, of: to - from, seeds }
    }

    /// Of all runs of seeds in a row that end with one that notices: the median of their lengths.
    fn median(&self) -> Option<u64> {
        let first = *self.seeds.first()?;
        let gaps = self.seeds.windows(2).map(|pair| pair[1] - pair[0]);
        let gaps = gaps.chain([first - self.from + 1]);
        let mut needed: Vec<u64> = gaps.flat_map(|gap| 1..=gap).collect();
        needed.sort_unstable();
        Some(needed[needed.len() / 2])
    }

    fn json(&self) -> Value {
        json!({
            "noticed": self.seeds.len(),
            "of": self.of,
            "first": self.seeds.first(),
            "median": self.median(),
        })
    }
}

impl fmt::Display for Noticed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, of) = (self.seeds.len(), self.of);
        match (self.seeds.first(), self.median()) {
            (Some(first), Some(median)) => {
                write!(f, "{count} of {of}, first {first}, median {median}")
            }
            _ => write!(f, "0 of {of}"),
        }
    }
}

/// One rule.
struct Row {
    rule: String,
    clusters: Noticed,
    /// The promise that most whole clusters failed in first.
    promise: Option<String>,
    smaller: Option<(Simulation, Noticed)>,
}

impl Row {
    fn is_noticed(&self) -> bool {
        let smaller = self.smaller.iter().map(|(_, noticed)| noticed);
        smaller.chain([&self.clusters]).any(|noticed| !noticed.seeds.is_empty())
    }

    fn json(&self) -> Value {
        let smaller = self.smaller.as_ref().map(|(simulation, noticed)| {
            json!({ "simulation": simulation.to_string(), "runs": noticed.json() })
        });
        json!({
            "rule": self.rule,
            "clusters": self.clusters.json(),
            "promise": self.promise,
            "smaller": smaller,
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} | {} | ", self.rule, self.clusters)?;
        write!(f, "{} | ", self.promise.as_deref().unwrap_or(""))?;
        match &self.smaller {
            Some((simulation, noticed)) => write!(f, "{simulation}: {noticed} |"),
            None => write!(f, "|"),
        }
    }
}

/// Prints a line for each rule that can be broken, or for one of them, for people or for programs.
/// Whether each was noticed somewhere.
pub(crate) fn print(range: (u64, u64), only: Option<PlantedBug>, as_json: bool) -> bool {
    if !as_json {
        println!("| rule | whole clusters | promise | smaller simulation |");
        println!("|---|---|---|---|");
    }
    let mut all_noticed = true;
    for bug in PlantedBug::ALL.into_iter().filter(|bug| only.is_none_or(|only| only == *bug)) {
        let row = row(bug, range);
        all_noticed &= row.is_noticed();
        println!("{}", if as_json { row.json().to_string() } else { row.to_string() });
    }
    all_noticed
}

fn row(bug: PlantedBug, range: (u64, u64)) -> Row {
    let promises = Mutex::new(BTreeMap::<_, u64>::new());
    let request = |seed| Request { planted: Planted::bug(bug), ..Request::new(seed) };
    let totals = run_all(range, request, |_, outcome| {
        let first = outcome.violations.first().map_or("", String::as_str);
        let promise = first.split(':').next().unwrap_or_default().to_owned();
        *promises.lock().expect("counting does not panic").entry(promise).or_default() += 1;
    });
    let promises = promises.into_inner().expect("counting does not panic");
    Row {
        rule: name_of(bug),
        clusters: Noticed::new(range, totals.failed),
        promise: promises.into_iter().max_by_key(|(_, count)| *count).map(|(promise, _)| promise),
        smaller: Simulation::of(bug).map(|simulation| (simulation, looked_at(simulation, bug))),
    }
}

/// Runs a smaller simulation on all cores.
fn looked_at(simulation: Simulation, bug: PlantedBug) -> Noticed {
    let (next, noticed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= RUNS {
                        return;
                    }
                    if simulation.run(seed, Planted::bug(bug)).is_err() {
                        noticed.lock().expect("counting does not panic").push(seed);
                    }
                }
            });
        }
    });
    Noticed::new((0, RUNS), noticed.into_inner().expect("counting does not panic"))
}
