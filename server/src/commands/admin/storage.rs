//! `waltz admin storage`: the nodes that keep replicas.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::operator::Operator;
use crate::args::ServerArgs;
use crate::commands::status::ClusterStatus;
use crate::commands::survey::Survey;
use crate::exit::Exit;
use crate::output::Table;

/// What to do with storage nodes.
#[derive(Debug, Subcommand)]
pub enum StorageCommand {
    /// Show every storage node with its disk and how many replicas it keeps
    List(ListArgs),
}

/// Which cluster.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Serialize)]
struct StorageLine {
    node: u32,
    address: String,
    disk: String,
    /// How many partitions have a replica on the node, whichever disk it was on.
    replicas: usize,
    /// How many of them can't be used now.
    missing: usize,
    live: bool,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached.
pub async fn run(command: StorageCommand) -> anyhow::Result<Exit> {
    match command {
        StorageCommand::List(args) => list(&args).await,
    }
}

async fn list(args: &ListArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::looking(&args.server).await?;
    let survey = Survey::take(&operator.client).await?;
    let mut table = Table::new(["node", "address", "disk", "state", "replicas", "missing"]);
    for line in lines(&survey) {
        if operator.json {
            operator.output.json(&line)?;
        }
        let state = if line.live { "up" } else { "down" };
        let StorageLine { node, address, disk, replicas, missing, .. } = line;
        let counts = [replicas, missing].map(|count| count.to_string());
        let [replicas, missing] = counts;
        table.row([node.to_string(), address, disk, state.to_owned(), replicas, missing]);
    }
    if !operator.json {
        operator.output.line(table)?;
    }
    operator.leave(Exit::Success).await
}

fn lines(survey: &Survey) -> Vec<StorageLine> {
    let status = ClusterStatus::of(survey);
    let line = |node: &waltz_client::NodeView| {
        let disk = node.storage?.to_string();
        let number = node.node.0;
        let has = |partition: &&crate::commands::status::PartitionLine| {
            partition.members.iter().any(|member| member.node == number)
        };
        let usable = |partition: &&crate::commands::status::PartitionLine| {
            let mut replicas = partition.replicas.iter();
            replicas.any(|r| r.node == number && r.counts && r.state.starts_with("joined"))
        };
        let replicas = status.partitions.iter().filter(has).count();
        let whole = status.partitions.iter().filter(has).filter(usable).count();
        let (address, live) = (node.address.to_string(), node.live);
        let missing = replicas - whole;
        Some(StorageLine { node: number, address, disk, replicas, missing, live })
    };
    survey.view.nodes.iter().filter_map(line).collect()
}
