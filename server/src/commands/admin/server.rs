//! `waltz admin server`: the nodes that serve partitions.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::operator::Operator;
use crate::args::ServerArgs;
use crate::commands::survey::Survey;
use crate::exit::Exit;
use crate::output::Table;

/// What to do with servers.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Show every node and the partitions that it serves
    List(ListArgs),
}

/// Which cluster.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Serialize)]
struct ServerLine {
    node: u32,
    address: String,
    live: bool,
    /// Whether it reaches the coordinator; `None` when it did not answer.
    coordinator: Option<bool>,
    /// The partitions that are assigned to it.
    partitions: Vec<u32>,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached.
pub async fn run(command: ServerCommand) -> anyhow::Result<Exit> {
    match command {
        ServerCommand::List(args) => list(&args).await,
    }
}

async fn list(args: &ListArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::looking(&args.server).await?;
    let survey = Survey::take(&operator.client).await?;
    let mut table = Table::new(["node", "address", "state", "coordinator", "serves"]);
    for line in lines(&survey) {
        if operator.json {
            operator.output.json(&line)?;
        }
        let state = if line.live { "up" } else { "down" };
        let coordinator = match line.coordinator {
            Some(true) => "reached",
            Some(false) => "away",
            None => "unknown",
        };
        let serves = line.partitions.len().to_string();
        table.row([line.node.to_string(), line.address, state.into(), coordinator.into(), serves]);
    }
    if !operator.json {
        operator.output.line(table)?;
    }
    operator.leave(Exit::Success).await
}

fn lines(survey: &Survey) -> Vec<ServerLine> {
    let line = |node: &waltz_client::NodeView| {
        let owned = survey.view.partitions.iter().filter(|view| view.owner == Some(node.node));
        ServerLine {
            node: node.node.0,
            address: node.address.to_string(),
            live: node.live,
            coordinator: survey.status(node.node).map(|status| status.coordinator),
            partitions: owned.map(|view| view.partition.0).collect(),
        }
    };
    survey.view.nodes.iter().map(line).collect()
}
