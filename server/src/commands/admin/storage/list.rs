//! `waltz admin storage list`

use clap::Args;
use serde::Serialize;
use waltz_client::NodeRegistration;

use super::super::operator::Operator;
use super::super::roster::Roster;
use crate::args::ServerArgs;
use crate::commands::status::{ClusterStatus, PartitionLine};
use crate::commands::survey::Survey;
use crate::exit::Exit;
use crate::output::Table;

/// Show every storage node.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Serialize)]
struct StorageLine {
    node: u32,
    address: Option<String>,
    region: Option<String>,
    zone: Option<String>,
    /// In bytes, if it was told.
    capacity: Option<u64>,
    disk: String,
    /// Whether the disk belongs to a cluster that was formed.
    used: bool,
    live: bool,
    drained: bool,
    /// How many partitions have a replica on the node, whichever disk it was on.
    replicas: usize,
    /// How many of them can't be used now.
    missing: usize,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached, or is of a release that can't tell.
pub async fn run(args: &ListArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::looking(&args.server).await?;
    let status = ClusterStatus::of(&Survey::take(&operator.client).await?);
    let roster = Roster::take(&operator.client).await?;
    let lines: Vec<_> = roster.iter().filter_map(|node| line(node, &status)).collect();
    match operator.json {
        true => lines.iter().try_for_each(|line| operator.output.json(line))?,
        false => operator.output.line(table(lines))?,
    }
    operator.leave(Exit::Success).await
}

fn line(node: &NodeRegistration, status: &ClusterStatus) -> Option<StorageLine> {
    let number = node.node.0;
    let has = |line: &&PartitionLine| line.members.iter().any(|member| member.node == number);
    let is_usable = |line: &&PartitionLine| {
        let mut replicas = line.replicas.iter();
        replicas.any(|replica| replica.node == number && replica.has_joined())
    };
    let replicas = status.partitions.iter().filter(has).count();
    let usable = status.partitions.iter().filter(has).filter(is_usable).count();
    Some(StorageLine {
        node: number,
        address: node.address.as_ref().map(ToString::to_string),
        region: node.locality.region.clone(),
        zone: node.locality.zone.clone(),
        capacity: node.locality.capacity,
        disk: node.storage?.to_string(),
        used: node.used,
        live: node.live,
        drained: node.operations.storage_drained,
        replicas,
        missing: replicas - usable,
    })
}

fn table(lines: Vec<StorageLine>) -> Table {
    let mut table = Table::new([
        "node", "address", "region", "zone", "disk", "capacity", "state", "replicas", "missing",
    ]);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    for line in lines {
        let state = match (line.live, line.drained) {
            (true, false) => "up",
            (true, true) => "up, drained",
            (false, false) => "down",
            (false, true) => "down, drained",
        };
        table.row([
            line.node.to_string(),
            or_none(line.address),
            or_none(line.region),
            or_none(line.zone),
            line.disk,
            or_none(line.capacity.map(|capacity| capacity.to_string())),
            state.to_owned(),
            line.replicas.to_string(),
            line.missing.to_string(),
        ]);
    }
    table
}
