//! The `waltz` program.
//!
//! Everything here is the outermost shell: it parses what people type, wires the crates below
//! together, and prints. It decides nothing about the log.

pub mod args;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod exit;
pub mod health;
pub mod logging;
pub mod measure;
pub mod metrics;
pub mod output;
pub mod trial;
