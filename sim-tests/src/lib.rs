//! Whole clusters in one thread, from one seed: the nodes, the client and the bank that ship, in
//! a world whose faults are drawn from the seed.
//!
//! ```text
//!  plan (from the seed) ─▶ chaos ─▶ links, disks, clocks, crashes
//!                                       │
//!  workload ─▶ client ───────▶ nodes ─▶ journals ─▶ history ─┐
//!      └─▶ operations, witness ──────────────────────────────┴─▶ checks
//! ```
//!
//! A run has two phases: while faults last, nothing may be lost; when they have stopped, all that
//! was begun must end. [`checks`] has a file for each promise. A failing run is made smaller by
//! [`shrink`].

#[cfg(not(madsim))]
compile_error!(
    "the simulator needs `--cfg madsim`, which .cargo/config.toml sets: unset RUSTFLAGS, which \
     replaces it"
);

mod archive;
mod atlas;
mod chaos;
pub mod checks;
mod cluster;
mod coordinator;
mod disk_log;
mod history;
mod operations;
mod operator;
mod peaks;
mod plan;
mod replicas;
mod run;
pub mod shrink;
mod story;
#[cfg(test)]
mod testing;
mod witness;
mod workloads;

pub use archive::ArchiveUse;
pub use operations::Doubts;
pub use plan::{FaultKind, Overrides, Plan, Shape, Size, Strength};
pub use run::{Outcome, PINNED, Request, Summary, run};
pub use workloads::WorkloadKind;
