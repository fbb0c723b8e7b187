//! `waltz admin cluster restore`

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use waltz_client::{KnownPartition, OperatorRequest};
use waltz_core::membership::MAX_REPLICAS;

use super::super::operator::{ConfirmArgs, Operator};
use super::super::restoration::restoration;
use super::opening::wait_until_open;
use crate::commands::survey::inspect_all;
use crate::exit::Exit;
use crate::output::{Output, Table};

/// Give a coordinator that was lost, and came back empty, its cluster back: every partition with the
/// newest replica set that a majority of its replicas agrees on. Start all nodes first. Drains,
/// preferences, consumers and moves that were pending are not on disks, and have to be asked for
/// again.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    confirm: ConfirmArgs,

    /// How many replicas partitions get that are added later [default: as many as most have]
    #[arg(long, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_REPLICAS)))]
    replicas: Option<u32>,
}

#[derive(Debug, Serialize)]
struct KnownLine {
    partition: u32,
    creation: String,
    version: u64,
    replicas: Vec<u32>,
    generation: u64,
}

/// Runs the command.
///
/// # Errors
/// When no node can be reached, too few disks know the cluster, or nobody says yes.
pub async fn run(args: &RestoreArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::confirming(&args.confirm).await?;
    let view = operator.client.cluster().await.context("no node told which nodes there are")?;
    let answers = inspect_all(&operator.client, &view).await?;
    let inspections: Vec<_> = answers.into_values().filter_map(Result::ok).collect();
    let restoration = restoration(&inspections)?;
    let lines: Vec<_> = restoration.partitions.iter().map(line).collect();
    match operator.json {
        true => lines.iter().try_for_each(|line| operator.output.json(line))?,
        false => tell(&lines, &mut operator.output)?,
    }
    let count = restoration.partitions.len();
    operator.confirm(&format!("restore the cluster with these {count} partitions?"))?;
    let replicas = args.replicas.unwrap_or(restoration.replicas);
    let partitions = restoration.partitions;
    if !operator.ask(OperatorRequest::RestoreCluster { replicas, partitions }).await? {
        return operator.leave(Exit::Failure).await;
    }
    if !operator.is_dry() {
        wait_until_open(&mut operator, count).await?;
    }
    operator.leave(Exit::Success).await
}

fn line(known: &KnownPartition) -> KnownLine {
    KnownLine {
        partition: known.partition.0,
        creation: known.meta.creation.to_string(),
        version: known.meta.version.0,
        replicas: known.meta.replicas.nodes().map(|node| node.0).collect(),
        generation: known.generation.0,
    }
}

fn tell(lines: &[KnownLine], output: &mut Output) -> std::io::Result<()> {
    let mut table = Table::new(["partition", "creation", "set", "replicas", "highest number"]);
    for line in lines {
        let nodes: Vec<_> = line.replicas.iter().map(u32::to_string).collect();
        table.row([
            line.partition.to_string(),
            line.creation.clone(),
            format!("v{}", line.version),
            nodes.join(","),
            line.generation.to_string(),
        ]);
    }
    output.line(table)
}
