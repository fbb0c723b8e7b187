//! `waltz admin cluster`: the cluster as a whole.

pub mod describe;
pub mod verify;

use clap::Subcommand;

use crate::exit::Exit;

/// What to do with the cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show what the cluster consists of
    Describe(describe::DescribeArgs),
    /// Check that everything is as it should be; exits with 1 if anything is not
    Verify(verify::VerifyArgs),
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached, or something was asked that can't be.
pub async fn run(command: ClusterCommand) -> anyhow::Result<Exit> {
    match command {
        ClusterCommand::Describe(args) => describe::run(&args).await,
        ClusterCommand::Verify(args) => verify::run(&args).await,
    }
}
