//! Many seeds on all cores, and how fast they went.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use waltz_sim_tests::{ArchiveUse, Doubts, Outcome, Request, run};

/// What many runs came to.
#[derive(Debug)]
pub(crate) struct Totals {
    pub(crate) seeds: u64,
    pub(crate) failed: Vec<u64>,
    committed: u64,
    doubts: Doubts,
    archive: ArchiveUse,
    simulated: Duration,
    elapsed: Duration,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let simulated = self.simulated.as_secs_f64();
        write!(
            f,
            "{} seeds, {} failed, {} transactions committed, {}, {}, {simulated:.0} simulated \
             seconds in {elapsed:.1} s: {:.0} a second, {:.0} seeds a minute",
            self.seeds,
            self.failed.len(),
            self.committed,
            self.doubts,
            self.archive,
            simulated / elapsed,
            self.seeds as f64 * 60.0 / elapsed,
        )
    }
}

/// Runs every seed of a range; `report` hears of each that fails.
pub(crate) fn run_all(
    (from, to): (u64, u64),
    request: impl Fn(u64) -> Request + Sync,
    report: impl Fn(&Request, &Outcome) + Sync,
) -> Totals {
    let started = Instant::now();
    let (next, failed) = (AtomicU64::new(from), Mutex::new(Vec::new()));
    let sums = Mutex::new((Doubts::default(), ArchiveUse::default()));
    let (committed, simulated_ms) = (AtomicU64::new(0), AtomicU64::new(0));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to {
                        return;
                    }
                    let request = request(seed);
                    let outcome = run(request.clone());
                    committed.fetch_add(outcome.summary.committed, Ordering::Relaxed);
                    {
                        let mut sums = sums.lock().expect("adding does not panic");
                        sums.0 += outcome.summary.doubts;
                        sums.1 += outcome.summary.archive;
                    }
                    simulated_ms.fetch_add(outcome.summary.virtual_ms, Ordering::Relaxed);
                    if !outcome.violations.is_empty() {
                        let mut failed = failed.lock().expect("reporting does not panic");
                        report(&request, &outcome);
                        failed.push(seed);
                    }
                }
            });
        }
    });
    let (doubts, archive) = sums.into_inner().expect("adding does not panic");
    Totals {
        seeds: to - from,
        failed: failed.into_inner().expect("reporting does not panic"),
        committed: committed.into_inner(),
        doubts,
        archive,
        simulated: Duration::from_millis(simulated_ms.into_inner()),
        elapsed: started.elapsed(),
    }
}
