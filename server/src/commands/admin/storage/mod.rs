//! `waltz admin storage`: the nodes that keep replicas.

pub mod add;
pub mod drain;
pub mod list;
pub mod remove;
pub mod replace;

use clap::Subcommand;

use crate::exit::Exit;

/// What to do with storage nodes.
#[derive(Debug, Subcommand)]
pub enum StorageCommand {
    /// Show every storage node: where it stands, its disk, and how many replicas it keeps
    List(list::ListArgs),
    /// Wait for a new storage node, and move replicas onto it
    Add(add::AddArgs),
    /// Forget a storage node that is gone for good and holds nothing
    Remove(remove::RemoveArgs),
    /// Move every replica off a node and place no new one on it, or take that back
    Drain(drain::DrainArgs),
    /// Give every partition with a replica on a dead or wiped node a new one
    Replace(replace::ReplaceArgs),
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached, or something was asked that can't be.
pub async fn run(command: StorageCommand) -> anyhow::Result<Exit> {
    match command {
        StorageCommand::List(args) => list::run(&args).await,
        StorageCommand::Add(args) => add::run(&args).await,
        StorageCommand::Remove(args) => remove::run(&args).await,
        StorageCommand::Drain(args) => drain::run(&args).await,
        StorageCommand::Replace(args) => replace::run(&args).await,
    }
}
