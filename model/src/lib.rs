//! Every order of events: the session and replica machines of `waltz-core`, three nodes and two
//! competing sessions, under a model checker.
//!
//! A state is all machines, all disks and every message on its way; an action delivers one
//! message, makes one journal entry durable, loses a connection, or takes a node's power. The
//! checker visits states breadth first, so that what breaks a promise is found by its shortest
//! story, which is told as a transcript.
//!
//! ```text
//! start ─▶ actions ─▶ cluster: machines, channels ─▶ oracle: promises ─▶ exploration
//! ```
//!
//! Records and faults are bounded by a budget: within it nothing is left out. Order and loss are
//! those of connections: each delivers in order; when it is lost its answers are lost with it,
//! while its requests may still arrive, even after those of a later one. A crash takes what is not
//! durable, or any part of it.

mod action;
mod channel;
mod cluster;
mod exploration;
mod machines;
mod oracle;
mod shared;
mod start;
mod step;
mod tally;

pub use exploration::{Bounds, Counterexample, Outcome, explore};
pub use oracle::Promise;
pub use start::{START_NAMES, Start, start, starts};
pub use tally::{Happening, Tally};
