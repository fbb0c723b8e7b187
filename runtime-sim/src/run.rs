//! One run: a thread of its own, one seed, virtual time.

use std::cell::OnceCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use madsim::Config;
use madsim::runtime::Runtime;

use crate::world::SimWorld;

/// Runs a scenario to its end in a world of its own and returns what it returns. Everything that
/// is drawn is drawn from `seed`.
///
/// # Panics
/// With the scenario's own panic; when virtual time passes `limit`; and when every task waits for
/// something that can't happen any more.
pub fn simulate<T, F>(
    seed: u64,
    limit: Duration,
    scenario: impl FnOnce(SimWorld) -> F + Send + 'static,
) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    // A thread that ran one simulation gives the next another order: each has its own.
    let run = thread::Builder::new().name(format!("seed {seed}")).spawn(move || {
        let mut runtime = Runtime::with_seed_and_config(seed, Config::default());
        runtime.set_time_limit(limit);
        let made = Rc::new(OnceCell::new());
        let kept = made.clone();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async move {
                let world = SimWorld::new(seed);
                let _ = kept.set(world.clone());
                scenario(world).await
            })
        }));
        if let Some(world) = made.get() {
            end(&runtime, world);
        }
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    });
    match run.expect("the system has room for a thread").join() {
        Ok(outcome) => outcome,
        Err(panic) => resume_unwind(panic),
    }
}

/// Drops what takes space: the processes and their disks. A task that waits holds the world, and
/// the world holds who is to wake it: left to themselves they would keep each other for ever, as
/// those few of the harness do that a panic left behind.
fn end(runtime: &Runtime, world: &SimWorld) {
    for process in world.running() {
        runtime.handle().kill(process);
    }
    // Killed tasks are dropped by the next turn. Another panic of what is left changes nothing.
    let _ = catch_unwind(AssertUnwindSafe(|| runtime.block_on(async {})));
    world.disks().clear();
}
