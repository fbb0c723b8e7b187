//! `waltz admin cluster describe`

use clap::Args;
use serde::Serialize;

use super::super::operator::Operator;
use crate::args::ServerArgs;
use crate::commands::status::{ClusterStatus, PartitionLine};
use crate::commands::survey::Survey;
use crate::exit::Exit;

/// Show what the cluster consists of.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Serialize)]
struct Description {
    nodes: usize,
    live: usize,
    /// Nodes with a disk for replicas.
    storages: usize,
    /// Nodes that answered and reach the coordinator.
    coordinator_reached: usize,
    partitions: usize,
    open: usize,
    /// The fewest replicas that a partition has.
    fewest_replicas: usize,
    /// The most.
    most_replicas: usize,
    /// Committed transactions that are kept.
    transactions: u64,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached.
pub async fn run(args: &DescribeArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::looking(&args.server).await?;
    let description = describe(&Survey::take(&operator.client).await?);
    match operator.json {
        true => operator.output.json(&description)?,
        false => tell(&description, &mut operator)?,
    }
    operator.leave(Exit::Success).await
}

fn describe(survey: &Survey) -> Description {
    let partitions = ClusterStatus::of(survey).partitions;
    let count = |id: Option<u64>| id.map_or(0, |id| id + 1);
    let kept = |line: &PartitionLine| count(line.hwm).saturating_sub(count(line.start));
    let replicas = || partitions.iter().map(|line| line.members.len());
    let nodes = &survey.view.nodes;
    Description {
        nodes: nodes.len(),
        live: nodes.iter().filter(|node| node.live).count(),
        storages: nodes.iter().filter(|node| node.storage.is_some()).count(),
        coordinator_reached: survey.statuses().filter(|status| status.coordinator).count(),
        partitions: partitions.len(),
        open: partitions.iter().filter(|line| line.open).count(),
        fewest_replicas: replicas().min().unwrap_or(0),
        most_replicas: replicas().max().unwrap_or(0),
        transactions: partitions.iter().map(kept).sum(),
    }
}

fn tell(description: &Description, operator: &mut Operator) -> std::io::Result<()> {
    let Description { nodes, live, storages, coordinator_reached, partitions, open, .. } =
        description;
    let replicas = match (description.fewest_replicas, description.most_replicas) {
        (fewest, most) if fewest == most => most.to_string(),
        (fewest, most) => format!("{fewest} to {most}"),
    };
    let output = &mut operator.output;
    output
        .line(format_args!("nodes         {nodes}, {live} of them up, {storages} with a disk"))?;
    output.line(format_args!("coordinator   reached by {coordinator_reached} nodes"))?;
    output.line(format_args!("partitions    {partitions}, {open} of them open"))?;
    output.line(format_args!("replicas      {replicas} a partition"))?;
    output.line(format_args!("transactions  {}", description.transactions))
}
