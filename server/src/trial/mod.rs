//! A bank at work over a cluster of real processes, and the verdict on everything it left behind.
//!
//! ```text
//!   operations ─▶ service 1..n ─▶ cluster (child processes) ─▶ every service, and one more client
//!                     └── one SQLite database, shared               └── its own database
//!                                                                 audit ◀── all of it
//! ```
//!
//! Whoever uses it does their worst to the cluster meanwhile.

mod audit;
mod logs;
mod report;
mod work;

use std::time::Duration;

pub use audit::{Check, Evidence};
pub use logs::Digest;
pub use report::Report;
pub use work::{Bank, Crew, Plan};

/// How long anything may take that should take seconds.
pub const PATIENCE: Duration = Duration::from_secs(60);
