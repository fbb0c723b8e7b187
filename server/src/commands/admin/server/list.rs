//! `waltz admin server list`

use std::collections::BTreeSet;

use clap::Args;
use serde::Serialize;
use waltz_client::{NodeRegistration, PartitionId};

use super::super::operator::Operator;
use super::super::roster::Roster;
use crate::args::ServerArgs;
use crate::commands::ranges::written;
use crate::commands::survey::Survey;
use crate::exit::Exit;
use crate::output::Table;

/// Show every node.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Serialize)]
struct ServerLine {
    node: u32,
    address: Option<String>,
    region: Option<String>,
    live: bool,
    /// Whether it may serve partitions.
    server: bool,
    drained: bool,
    /// Whether it reaches the coordinator; `None` when it did not answer.
    coordinator: Option<bool>,
    /// The partitions that are assigned to it.
    partitions: BTreeSet<PartitionId>,
    /// Those that operators or the node itself prefer it for.
    preferred: BTreeSet<PartitionId>,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached, or is of a release that can't tell.
pub async fn run(args: &ListArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::looking(&args.server).await?;
    let survey = Survey::take(&operator.client).await?;
    let roster = Roster::take(&operator.client).await?;
    let lines: Vec<_> = roster.iter().map(|node| line(node, &survey)).collect();
    match operator.json {
        true => lines.iter().try_for_each(|line| operator.output.json(line))?,
        false => operator.output.line(table(&lines))?,
    }
    operator.leave(Exit::Success).await
}

fn line(node: &NodeRegistration, survey: &Survey) -> ServerLine {
    let owned = survey.view.partitions.iter().filter(|view| view.owner == Some(node.node));
    let preferred = node.preferred.union(&node.operations.preferred);
    ServerLine {
        node: node.node.0,
        address: node.address.as_ref().map(ToString::to_string),
        region: node.locality.region.clone(),
        live: node.live,
        server: node.server,
        drained: node.operations.server_drained,
        coordinator: survey.status(node.node).map(|status| status.coordinator),
        partitions: owned.map(|view| view.partition).collect(),
        preferred: preferred.copied().collect(),
    }
}

fn table(lines: &[ServerLine]) -> Table {
    let mut table = Table::new([
        "node",
        "address",
        "region",
        "state",
        "coordinator",
        "serves",
        "preferred for",
    ]);
    for line in lines {
        let state = match (line.live, line.server, line.drained) {
            (false, _, false) => "down",
            (false, _, true) => "down, drained",
            (true, false, _) => "up, no server",
            (true, true, false) => "up",
            (true, true, true) => "up, drained",
        };
        let coordinator = match line.coordinator {
            Some(true) => "reached",
            Some(false) => "away",
            None => "unknown",
        };
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        table.row([
            line.node.to_string(),
            or_none(&line.address),
            or_none(&line.region),
            state.to_owned(),
            coordinator.to_owned(),
            written(&line.partitions),
            written(&line.preferred),
        ]);
    }
    table
}
