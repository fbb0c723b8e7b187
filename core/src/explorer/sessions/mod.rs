//! Random runs of sessions over replicas: whatever order messages and syncs come in, whichever
//! connections, nodes and servers are lost, the [oracle] finds nothing; and once all is well again,
//! the newest session goes on.

mod actions;
mod attention;
#[cfg_attr(not(test), expect(dead_code, reason = "some of it only transcripts need"))]
mod cluster;
mod event;
mod faults;
mod oracle;
mod run;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Violation;
use crate::planted::Planted;
use run::Run;

#[cfg(test)]
pub(crate) use cluster::{Cluster, Connection, Loss};
#[cfg(test)]
pub(crate) use event::Event;

/// One run.
pub(super) fn run(seed: u64, planted: Planted) -> Result<(), Violation> {
    explore(&mut Run::new(seed, planted))
}

/// A whole run, and what it broke; a panic is a violation, too.
fn explore(run: &mut Run) -> Result<(), Violation> {
    let outcome = catch_unwind(AssertUnwindSafe(|| run.whole()));
    let outcome = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("a panic: {}", text.unwrap_or("without words")))
    });
    outcome.map_err(|what| Violation { seed: run.seed, step: run.steps, what })
}
