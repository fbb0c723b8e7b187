//! The simulated world as a user of the crate sees it.

mod determinism;
mod disk;
mod journal;
mod network;
mod peer;
mod store;
