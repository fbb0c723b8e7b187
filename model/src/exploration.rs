//! Breadth first through all states, up to a bound, with stateright's checker.
//!
//! One checker runs on one thread: only then are states visited strictly by their distance, so
//! that a bounded exploration can say up to which distance it left nothing out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::action::Action;
use crate::cluster::Cluster;
use crate::oracle::Promise;
use crate::start::Start;
use crate::step::{Told, World};
use crate::tally::Tally;

/// How often the bounds are looked at that a checker does not know.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Where an exploration ends, if it is not complete before.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// Steps from the start.
    pub depth: Option<usize>,
    /// Different states, roughly: what memory allows.
    pub states: Option<usize>,
    /// When to stop.
    pub until: Option<Instant>,
}

/// What an exploration found.
#[derive(Debug)]
pub struct Outcome {
    /// Different states.
    pub states: usize,
    /// Steps taken; many lead to states that are known.
    pub transitions: usize,
    /// Every state within so many steps of the start was looked at.
    pub depth: usize,
    /// Whether there are no others.
    pub is_complete: bool,
    /// How long it took.
    pub elapsed: Duration,
    /// What happened on the way.
    pub tally: Tally,
    /// The shortest story that breaks a promise.
    pub counterexample: Option<Counterexample>,
}

/// A story that breaks a promise.
#[derive(Debug)]
pub struct Counterexample {
    /// The promise.
    pub promise: Promise,
    /// Its steps after the start.
    pub steps: usize,
    /// All of it, as a transcript.
    pub transcript: String,
}

/// The model as the checker sees it.
struct Explored {
    start: Cluster,
    world: Arc<World>,
    /// Once it is set no state has a successor, and the checker comes to its end.
    is_stopped: Arc<AtomicBool>,
    /// Whether a broken promise was found. The checker would keep the last story of several, and
    /// the first one is the shortest.
    is_found: AtomicBool,
}

impl Explored {
    fn holds(&self, state: &Cluster, promise: Promise) -> bool {
        let breaks = state.broken().is_some_and(|broken| broken.promise == promise);
        !breaks || self.is_found.swap(true, Ordering::Relaxed)
    }
}

impl Model for Explored {
    type State = Cluster;
    type Action = Action;

    fn init_states(&self) -> Vec<Cluster> {
        vec![self.start.clone()]
    }

    fn actions(&self, state: &Cluster, actions: &mut Vec<Action>) {
        if state.broken().is_none() && !self.is_stopped.load(Ordering::Relaxed) {
            state.enabled(actions);
        }
    }

    fn next_state(&self, state: &Cluster, action: Action) -> Option<Cluster> {
        Some(after(state, action, &mut Told::default(), &self.world))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! always {
            ($($promise:ident)*) => {vec![$(Property::always(
                Promise::$promise.name(),
                |model: &Self, state: &Cluster| model.holds(state, Promise::$promise),
            )),*]};
        }
        always![OneRecordAnId OnAQuorum LowWater Fenced Current NoAlarm NoPanic]
    }
}

/// The state after an action; a machine that gives up breaks a promise, too.
fn after(state: &Cluster, action: Action, told: &mut Told, world: &World) -> Cluster {
    let next = catch_unwind(AssertUnwindSafe(|| state.after(action, told, world)));
    next.unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str);
        let what = what.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        told.tell(|| format!("  panic: {what}"));
        state.panicked(what.to_owned())
    })
}

/// Visits every state within the bounds, nearest first, until a promise is broken.
pub fn explore(start: &Start, bounds: Bounds) -> Outcome {
    let (begun, world) = (Instant::now(), Arc::new(World::default()));
    let is_stopped = Arc::new(AtomicBool::new(false));
    let model = Explored {
        start: start.cluster.clone(),
        world: Arc::clone(&world),
        is_stopped: Arc::clone(&is_stopped),
        is_found: AtomicBool::new(false),
    };
    // The checker counts states, not steps, and does not look at those at its own bound.
    let bound = bounds.depth.map(|depth| depth + 2);
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.target_max_depth(bound.unwrap_or(usize::MAX)).spawn_bfs();
    let mut stopped_at = None;
    while !checker.is_done() {
        thread::sleep(LOOK_EVERY);
        let is_late = bounds.until.is_some_and(|until| Instant::now() >= until);
        let is_full = bounds.states.is_some_and(|most| checker.unique_state_count() >= most);
        if (is_late || is_full) && stopped_at.is_none() {
            // Whatever is nearer than the state at hand was looked at.
            stopped_at = Some(checker.max_depth().saturating_sub(2));
            is_stopped.store(true, Ordering::Relaxed);
        }
    }
    let checker = checker.join();
    let deepest = checker.max_depth() - 1;
    let is_bounded = bound.is_some_and(|bound| checker.max_depth() >= bound);
    let depth = stopped_at.unwrap_or(if is_bounded { deepest - 1 } else { deepest });
    let (states, transitions) = (checker.unique_state_count(), checker.state_count());
    is_stopped.store(false, Ordering::Relaxed);
    let story = checker.discoveries().into_values().next().map(|path| path.into_actions());
    Outcome {
        states,
        transitions,
        depth,
        is_complete: stopped_at.is_none() && !is_bounded && story.is_none(),
        elapsed: begun.elapsed(),
        tally: world.tally.clone(),
        counterexample: story.map(|actions| tell(start, &actions)),
    }
}

/// Plays a story once more and writes it down.
fn tell(start: &Start, actions: &[Action]) -> Counterexample {
    let (mut cluster, mut told) = (start.cluster.clone(), Told::kept());
    for action in actions {
        cluster = after(&cluster, *action, &mut told, &World::default());
    }
    let broken = cluster.broken().expect("the story ends where a promise is broken");
    let lines = start.story.iter().cloned().chain(told.lines());
    Counterexample {
        promise: broken.promise,
        steps: actions.len(),
        transcript: lines.collect::<Vec<_>>().join("\n"),
    }
}
