//! `waltz admin partition`: partitions, their replicas and their logs.

pub mod add;
pub mod assign;
pub mod list;
pub mod recover;
pub mod region;
pub mod trim;

use clap::Subcommand;

use crate::exit::Exit;

/// What to do with partitions.
#[derive(Debug, Subcommand)]
pub enum PartitionCommand {
    /// Show partitions, a row each
    List(list::ListArgs),
    /// Show partitions with their replicas and consumers
    Describe(list::DescribeArgs),
    /// Choose the nodes that keep the replicas
    Assign(assign::AssignArgs),
    /// Move the replicas on one node to another
    Move(assign::MoveArgs),
    /// Have partitions served in a region
    Region(region::RegionArgs),
    /// Have more partitions
    Add(add::AddArgs),
    /// Forget the oldest transactions
    Trim(trim::TrimArgs),
    /// Go on with the replicas that are left when a majority is lost for good
    Recover(recover::RecoverArgs),
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached, or something was asked that can't be.
pub async fn run(command: PartitionCommand) -> anyhow::Result<Exit> {
    match command {
        PartitionCommand::List(args) => list::list(&args).await,
        PartitionCommand::Describe(args) => list::describe(&args).await,
        PartitionCommand::Assign(args) => assign::assign(&args).await,
        PartitionCommand::Move(args) => assign::move_replicas(&args).await,
        PartitionCommand::Add(args) => add::run(&args).await,
        PartitionCommand::Region(args) => region::run(&args).await,
        PartitionCommand::Trim(args) => trim::run(&args).await,
        PartitionCommand::Recover(args) => recover::run(args).await,
    }
}
