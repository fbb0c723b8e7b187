//! The loops that drive machines, and what they need of a runtime.
//!
//! This crate knows no runtime. `runtime-tokio` and `runtime-sim` implement its traits and decide
//! nothing: they move bytes, durability, time and randomness.

pub mod disk;
pub mod journal;
pub mod node;
pub mod recorder;
pub mod world;

pub use world::{
    ArchiveEvent, ArchivePort, CoordinatorPort, JournalEvent, JournalPort, Net, NetEvent, Observer,
    Runtime, Timer,
};
