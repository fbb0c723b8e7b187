//! One seed from beginning to end.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::time::Duration;

use madsim::time::sleep;
use waltz_core::planted::Planted;
use waltz_runtime_sim::{Filter, SimWorld, simulate};

use crate::archive::{Archive, ArchiveUse};
use crate::chaos::storm;
use crate::checks::{self, Evidence, longest_logs};
use crate::cluster::Cluster;
use crate::history::History;
use crate::operations::{Doubts, Operations};
use crate::peaks::Peaks;
use crate::plan::{Overrides, Plan, Size};
use crate::witness::Witness;
use crate::workloads::followers::Followers;
use crate::workloads::{self, Stage};

/// No run takes this long of virtual time; a live-lock ends here.
const LIMIT: Duration = Duration::from_secs(900);

/// How long, after everything else, the last damaged record may wait for its repair.
const REPAIR_SECONDS: u32 = 60;

/// The seeds whose trace hashes are pinned in `tests/pinned.txt`.
pub const PINNED: std::ops::Range<u64> = 0..12;

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Decides everything that is not overridden.
    pub seed: u64,
    /// How much it does.
    pub size: Size,
    /// The rule broken on purpose.
    pub planted: Planted,
    /// What differs from the seed's plan.
    pub overrides: Overrides,
    /// Keep these lines of the trace.
    pub lines: Option<Filter>,
}

impl Request {
    /// A short run of a seed, as it is.
    pub fn new(seed: u64) -> Self {
        let (size, planted, overrides) = (Size::Short, Planted::NONE, Overrides::default());
        Self { seed, size, planted, overrides, lines: None }
    }

    /// The command that replays it, but for a rule broken on purpose.
    pub fn replay(&self) -> String {
        let seed = self.seed;
        let mut command = format!("cargo run -p waltz-sim-tests --release -- --seed {seed}");
        if self.size == Size::Long {
            command.push_str(" --long");
        }
        if self.overrides != Overrides::default() {
            command.push_str(&format!(" --set {}", self.overrides));
        }
        command
    }

    /// The plan that is run.
    pub fn plan(&self) -> Plan {
        Plan::draw(self.seed, self.size, self.planted).with(&self.overrides)
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Transactions in all logs.
    pub committed: u64,
    /// Operations that clients began.
    pub operations: u64,
    /// What came of asking about operations that had ended in doubt.
    pub doubts: Doubts,
    /// What the archive was used for, if there was one.
    pub archive: ArchiveUse,
    /// Times a process of the cluster began to run.
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
        let Self { committed, operations, doubts, archive, boots, virtual_ms, events, trace } =
            self;
        write!(
            f,
            "committed {committed}, operations {operations}, {doubts}, {archive}, boots {boots}, \
             virtual {virtual_ms} ms, events {events}, trace {trace:016x}"
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
    // The plan is drawn from the seed alone; what happens in it, with the luck asked for.
    let luck = u64::from(request.overrides.luck.unwrap_or(0)) << 40;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        simulate(request.seed ^ luck, LIMIT, move |world| scenario(world, request))
    }));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let text = format!("a panic: {}", text.unwrap_or_else(|| "without words".to_owned()));
        Outcome { summary: Summary::default(), violations: vec![text], lines: Vec::new() }
    })
}

/// Waits until no replica keeps damaged records, and says which still do when that takes too long.
async fn repaired(cluster: &Cluster) -> Vec<String> {
    for _ in 0..REPAIR_SECONDS {
        if cluster.damaged().is_empty() {
            return Vec::new();
        }
        sleep(Duration::from_secs(1)).await;
    }
    cluster.damaged()
}

async fn scenario(world: SimWorld, request: Request) -> Outcome {
    let plan = request.plan();
    if let Some(filter) = request.lines {
        world.trace().keep_lines(filter);
    }
    let history = History::default();
    let cluster = Cluster::new(world.clone(), plan.clone(), history.clone());
    for index in 0..plan.shape.nodes {
        cluster.boot(index);
    }
    let witness = Witness::new(world.clone(), history.clone());
    let operations = Operations::new(world.clone());
    let peaks = Peaks::watch(world.clone(), history.clone());
    let stage = Stage {
        world: world.clone(),
        cluster: cluster.clone(),
        plan: plan.clone(),
        witness: witness.clone(),
        operations: operations.clone(),
        followers: Followers::default(),
        seed: request.seed,
    };
    let operator = stage.operator(history.clone());
    let hosts = workloads::hosts(&plan);
    let trimming = madsim::task::spawn({
        let operator = operator.clone();
        async move { operator.keep_quotas().await }
    });
    let newcomers = plan.archive.then(|| {
        let (stage, random) = (stage.clone(), world.random());
        madsim::task::spawn(async move { workloads::newcomers::come(&stage, random).await })
    });
    let chaos = madsim::task::spawn(async move { storm(&operator, &hosts).await });
    let mut finished = workloads::perform(&stage).await;
    trimming.abort();
    match chaos.await {
        Ok(unsettled) => finished.unfinished.extend(unsettled),
        Err(error) => finished.unfinished.push(format!("the storm itself failed: {error}")),
    }
    if let Some(newcomers) = newcomers {
        finished.unfinished.extend(newcomers.await.expect("nobody ends them"));
    }
    finished.unfinished.extend(repaired(&cluster).await);
    let peaks = peaks.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let evidence = Evidence {
        plan,
        longest: longest_logs(&history),
        logs: history.logs_left(),
        shown: witness.shown(),
        late: witness.shown_on(&workloads::late_host()),
        archive: cluster.archive().map(Archive::used),
        clients: operations.history(),
        bank: finished.bank,
        peaks,
        unfinished: finished.unfinished,
    };
    let mut violations = cluster.violations();
    violations.extend(history.violations());
    violations.extend(witness.violations());
    violations.extend(checks::all(&evidence));
    let trace = world.trace();
    let summary = Summary {
        committed: evidence.longest_logs().values().map(|log| log.len() as u64).sum(),
        operations: evidence.clients.operations.len() as u64,
        doubts: evidence.clients.doubts,
        archive: evidence.archive.unwrap_or_default(),
        boots: cluster.boots(),
        virtual_ms: world.now().0 / 1_000_000,
        events: trace.events(),
        trace: trace.hash(),
    };
    Outcome { summary, violations, lines: trace.lines() }
}
