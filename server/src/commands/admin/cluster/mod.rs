//! `waltz admin cluster`: the cluster as a whole.

pub mod create;
pub mod delete;
pub mod describe;
pub(super) mod opening;
pub mod restore;
pub mod verify;

use clap::Subcommand;

use crate::exit::Exit;

/// What to do with the cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Make the cluster, where no node was told to make one
    Create(create::CreateArgs),
    /// Show what the cluster consists of
    Describe(describe::DescribeArgs),
    /// Check that everything is as it should be; exits with 1 if anything is not
    Verify(verify::VerifyArgs),
    /// Give a coordinator that lost everything its cluster back, from what disks know
    Restore(restore::RestoreArgs),
    /// Have the coordinator forget the cluster; what is on disks stays there
    Delete(delete::DeleteArgs),
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached, or something was asked that can't be.
pub async fn run(command: ClusterCommand) -> anyhow::Result<Exit> {
    match command {
        ClusterCommand::Create(args) => create::run(&args).await,
        ClusterCommand::Restore(args) => restore::run(&args).await,
        ClusterCommand::Delete(args) => delete::run(&args).await,
        ClusterCommand::Describe(args) => describe::run(&args).await,
        ClusterCommand::Verify(args) => verify::run(&args).await,
    }
}
