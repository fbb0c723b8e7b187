//! One seed from beginning to end.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use waltz_core::planted::Planted;
use waltz_runtime_sim::{Filter, SimWorld, simulate};

use crate::bank::{self, Running};
use crate::chaos::storm;
use crate::checks::{self, Evidence};
use crate::cluster::Cluster;
use crate::history::History;
use crate::plan::{Plan, Size};
use crate::witness::Witness;

/// No run takes this long of virtual time; a live-lock ends here.
const LIMIT: Duration = Duration::from_secs(900);

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Decides everything.
    pub seed: u64,
    /// How much it does.
    pub size: Size,
    /// The rule broken on purpose.
    pub planted: Planted,
    /// Keep these lines of the trace.
    pub lines: Option<Filter>,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Transactions in all logs.
    pub committed: u64,
    /// Times a lock refused one.
    pub conflicts: u64,
    /// Times a process began to run.
    pub boots: u64,
    /// Virtual time, in milliseconds.
    pub virtual_ms: u64,
    /// Events of the trace, and its hash.
    pub events: u64,
    /// The trace's hash: equal for equal seeds.
    pub trace: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { committed, conflicts, boots, virtual_ms, events, trace } = self;
        write!(
            f,
            "committed {committed}, conflicts {conflicts}, boots {boots}, virtual {virtual_ms} ms, \
             events {events}, trace {trace:016x}"
        )
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What it did; nothing when it panicked.
    pub summary: Summary,
    /// Every broken promise, in words. A panic of the system is one.
    pub violations: Vec<String>,
    /// The trace, if it was asked for.
    pub lines: Vec<String>,
}

/// Runs one seed.
pub fn run(request: Request) -> Outcome {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        simulate(request.seed, LIMIT, move |world| scenario(world, request))
    }));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let text = format!("a panic: {}", text.unwrap_or_else(|| "without words".to_owned()));
        Outcome { summary: Summary::default(), violations: vec![text], lines: Vec::new() }
    })
}

async fn scenario(world: SimWorld, request: Request) -> Outcome {
    if let Some(filter) = request.lines {
        world.trace().keep_lines(filter);
    }
    let plan = Plan::draw(&mut world.random(), request.size, request.planted);
    let history = History::default();
    let cluster = Cluster::new(world.clone(), plan.clone(), history.clone());
    for index in 0..plan.nodes {
        cluster.boot(index);
    }
    let quorum = cluster.replicas() / 2 + 1;
    let witness = Witness::new(world.clone(), history.clone(), quorum);
    let running = Running::start(&world, &cluster, &plan, &witness);
    let bank = running.bank();
    let chaos = {
        let (world, cluster, plan) = (world.clone(), cluster.clone(), plan.clone());
        async move { storm(&world, &cluster, &plan, &bank::hosts(&plan)).await }
    };
    let chaos = madsim::task::spawn(chaos);
    let mut unfinished = running.finish(&plan, request.seed).await;
    if let Err(error) = chaos.await {
        unfinished.push(format!("the storm itself failed: {error}"));
    }
    let evidence = Evidence {
        logs: history.logs(),
        shown: witness.shown(),
        replicas: cluster.replicas(),
        bank,
        unfinished,
    };
    let mut violations = cluster.violations();
    violations.extend(witness.violations());
    violations.extend(checks::all(&evidence));
    let totals = evidence.bank.tally.totals();
    let trace = world.trace();
    let summary = Summary {
        committed: evidence.longest_logs().values().map(|log| log.len() as u64).sum(),
        conflicts: totals.conflicts,
        boots: cluster.boots(),
        virtual_ms: world.now().0 / 1_000_000,
        events: trace.events(),
        trace: trace.hash(),
    };
    Outcome { summary, violations, lines: trace.lines() }
}
