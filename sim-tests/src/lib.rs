//! Whole clusters in one thread, from one seed: the nodes, the client and the bank that ship, in
//! a world whose faults are drawn from the seed.
//!
//! ```text
//!  plan (from the seed) ─▶ chaos ─▶ links, disks, clocks, crashes
//!                                       │
//!  bank services ─▶ client ─▶ nodes ─▶ journals ─▶ history ─▶ checks
//! ```
//!
//! A run has two phases: while faults last, nothing may be lost; when they have stopped, all that
//! was begun must end. [`checks`] has a file for each promise.

#[cfg(not(madsim))]
compile_error!(
    "the simulator needs `--cfg madsim`, which .cargo/config.toml sets: unset RUSTFLAGS, which \
     replaces it"
);

mod bank;
mod chaos;
pub mod checks;
mod cluster;
mod history;
mod plan;
mod run;
mod witness;

pub use plan::{Plan, Size};
pub use run::{Outcome, Request, Summary, run};
