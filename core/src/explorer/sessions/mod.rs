//! Random runs of sessions over replicas: whatever order messages and syncs come in, whichever
//! connections, nodes and servers are lost, the [oracle] finds nothing; and once all is well again,
//! the newest session goes on.

mod actions;
mod attention;
#[cfg_attr(not(test), expect(dead_code, reason = "some of it only transcripts need"))]
mod cluster;
mod event;
mod faults;
mod lapse;
mod oracle;
mod run;
#[cfg(test)]
mod tests;

use super::Violation;
use super::explore::explore;
use crate::planted::Planted;
use run::Run;

#[cfg(test)]
pub(crate) use cluster::{Cluster, Connection, Loss};
#[cfg(test)]
pub(crate) use event::Event;

/// One run.
pub(super) fn run(seed: u64, planted: Planted) -> Result<(), Violation> {
    explore(seed, &mut Run::new(seed, planted))
}
