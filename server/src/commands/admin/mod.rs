//! `waltz admin`: what operators do to a cluster, one file a command.
//!
//! A command looks at the cluster, plans requests, shows them, and has them granted; `--dry-run`
//! ends after showing. Plans are pure functions of what the nodes say (`plan`) and leave out what
//! is so already, so that a command that was interrupted is run again to go on. Nothing here decides
//! about the log: a plan may be out of date, and the cluster refuses what can't be.

pub mod checks;
pub mod cluster;
pub mod connectivity;
mod moves;
mod operator;
pub mod partition;
mod plan;
mod progress;
mod requests;
mod restoration;
mod roster;
pub mod server;
pub mod storage;

use clap::Subcommand;

use crate::exit::Exit;

/// What to look at or change.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// The cluster as a whole
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// The nodes that keep replicas
    #[command(subcommand)]
    Storage(storage::StorageCommand),
    /// The nodes that serve partitions
    #[command(subcommand)]
    Server(server::ServerCommand),
    /// Partitions: their replicas, their logs
    #[command(subcommand)]
    Partition(partition::PartitionCommand),
    /// Who reaches whom, and how fast
    Connectivity(connectivity::ConnectivityArgs),
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached, or something was asked that can't be.
pub async fn run(command: AdminCommand) -> anyhow::Result<Exit> {
    match command {
        AdminCommand::Cluster(command) => cluster::run(command).await,
        AdminCommand::Storage(command) => storage::run(command).await,
        AdminCommand::Server(command) => server::run(command).await,
        AdminCommand::Partition(command) => partition::run(command).await,
        AdminCommand::Connectivity(args) => connectivity::run(args).await,
    }
}
