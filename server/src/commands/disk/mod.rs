//! `waltz disk`: what a stopped node's disk holds. Nothing on it is changed.

pub mod dump;
pub mod index;
pub mod stats;
pub mod verify;
mod walk;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::exit::Exit;

/// What to look for.
#[derive(Debug, Subcommand)]
pub enum DiskCommand {
    /// Check everything that is there; exits with 1 if anything is not as it was written
    Verify(verify::VerifyArgs),
    /// Show what takes how much space, and how far each partition's log goes
    Stats(stats::StatsArgs),
    /// Show every entry of the journal
    Dump(dump::DumpArgs),
    /// Show where each partition's records are
    Index(index::IndexArgs),
}

/// Whose disk.
#[derive(Debug, Args)]
struct DirectoryArgs {
    /// A node's data directory, or the directory of a journal
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Print JSON, one value a line
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When a node runs on the directory, it holds no journal, or the journal can't be read.
pub fn run(command: DiskCommand) -> anyhow::Result<Exit> {
    match command {
        DiskCommand::Verify(args) => verify::run(&args),
        DiskCommand::Stats(args) => stats::run(&args),
        DiskCommand::Dump(args) => dump::run(&args),
        DiskCommand::Index(args) => index::run(&args),
    }
}
