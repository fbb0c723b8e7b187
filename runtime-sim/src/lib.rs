//! The simulated world: links, disks, clocks and an object store under `madsim`, with faults drawn
//! from a seed.
//!
//! It implements what the loops of `waltz-runtime` need and decides nothing about Waltz. Time is
//! virtual, there is one thread, and everything random comes from one seed: the same seed gives
//! the same run, event for event, in every process. Nothing here reads a real clock, a real file
//! or a randomly seeded map.

#[cfg(not(madsim))]
compile_error!(
    "the simulator needs `--cfg madsim`, which .cargo/config.toml sets: unset RUSTFLAGS, which \
     replaces it"
);

mod alarm;
pub mod clock;
pub mod disk;
mod fault;
mod journal;
pub mod network;
mod run;
mod runtime;
mod store;
mod trace;
mod world;

pub use alarm::TrueTimer;
pub use clock::{Clocks, SimTimer};
pub use disk::{DiskQuality, SimDisk, SimDisks, SimFile};
pub use fault::{Chance, Crash, Latency};
pub use journal::SimJournal;
pub use network::{Network, Quality, SimNet};
pub use run::simulate;
pub use runtime::SimRuntime;
pub use store::{SimStore, StoreError, StoreQuality};
pub use trace::{Event, Filter, Trace};
pub use world::{SimHost, SimWorld};
