//! One run: a thread of its own, one seed, virtual time.

use std::future::Future;
use std::panic::resume_unwind;
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
        runtime.block_on(async move { scenario(SimWorld::new(seed)).await })
    });
    match run.expect("the system has room for a thread").join() {
        Ok(outcome) => outcome,
        Err(panic) => resume_unwind(panic),
    }
}
