//! `waltz admin server`: the nodes that serve partitions.

pub mod balance;
pub mod drain;
pub mod list;
pub mod prefer;

use clap::Subcommand;

use crate::exit::Exit;

/// What to do with servers.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Show every node, the partitions that it serves and those it is preferred for
    List(list::ListArgs),
    /// Have a node serve nothing while another one can, or take that back
    Drain(drain::DrainArgs),
    /// Have servers serve about equally much, as measured for a while
    Balance(balance::BalanceArgs),
    /// Have partitions served by a node rather than by others
    Prefer(prefer::PreferArgs),
    /// Prefer a node for partitions no longer
    Unprefer(prefer::PreferArgs),
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached, or something was asked that can't be.
pub async fn run(command: ServerCommand) -> anyhow::Result<Exit> {
    match command {
        ServerCommand::List(args) => list::run(&args).await,
        ServerCommand::Drain(args) => drain::run(&args).await,
        ServerCommand::Balance(args) => balance::run(&args).await,
        ServerCommand::Prefer(args) => prefer::run(&args, true).await,
        ServerCommand::Unprefer(args) => prefer::run(&args, false).await,
    }
}
