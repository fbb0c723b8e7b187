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
mod contents;
mod logs;
mod replicas;
mod report;
mod work;

use std::time::Duration;

pub use audit::{Check, Evidence};
pub use contents::Contents;
pub use logs::Digest;
pub use replicas::{Sets, compare_logs, wait_until_whole};
pub use report::Report;
pub use work::{Bank, Crew, Plan};

/// How long anything may take that should take seconds.
pub const PATIENCE: Duration = Duration::from_secs(60);
