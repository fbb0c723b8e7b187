//! `waltz admin server balance`

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use waltz_client::{NodeId, OperatorRequest, PartitionId};

use super::super::operator::{ChangeArgs, Operator};
use crate::args::parse_duration;
use crate::commands::survey::Survey;
use crate::exit::Exit;
use crate::output::Table;

/// Have servers serve about equally much: measure how many transactions are appended to each
/// partition, and have the busiest ones served by different nodes. Every node still serves as many
/// partitions as the others. What was measured counts, after failures, too, until it is measured again.
#[derive(Debug, Args)]
pub struct BalanceArgs {
    #[command(flatten)]
    change: ChangeArgs,

    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    over: Duration,

    /// Forget what was measured: only the number of partitions counts again
    #[arg(long, conflicts_with = "over")]
    forget: bool,
}

/// What a server has to do, as measured.
#[derive(Debug, Default, Serialize)]
struct Busy {
    partitions: u32,
    transactions: u64,
}

#[derive(Debug, Serialize)]
struct BusyLine<'a> {
    node: Option<u32>,
    #[serde(flatten)]
    busy: &'a Busy,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached, or a partition is not open.
pub async fn run(args: &BalanceArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::changing(&args.change).await?;
    let loads = match args.forget {
        true => BTreeMap::new(),
        false => measured(&mut operator, args.over).await?,
    };
    let request = OperatorRequest::SetLoads { loads: loads.into_iter().collect() };
    let exit = if operator.ask(request).await? { Exit::Success } else { Exit::Failure };
    operator.leave(exit).await
}

/// The transactions of each partition in that time. Shows what each server has to do.
async fn measured(
    operator: &mut Operator,
    over: Duration,
) -> anyhow::Result<BTreeMap<PartitionId, u32>> {
    let before = committed(&Survey::take(&operator.client).await?)?;
    tokio::time::sleep(over).await;
    let survey = Survey::take(&operator.client).await?;
    let appended = |(partition, now): (PartitionId, u64)| {
        let then = before.get(&partition).copied().unwrap_or_default();
        (partition, u32::try_from(now.saturating_sub(then)).unwrap_or(u32::MAX))
    };
    let loads: BTreeMap<_, _> = committed(&survey)?.into_iter().map(appended).collect();
    let mut servers = BTreeMap::<Option<NodeId>, Busy>::new();
    for view in &survey.view.partitions {
        let busy = servers.entry(view.owner).or_default();
        busy.partitions += 1;
        busy.transactions += u64::from(loads.get(&view.partition).copied().unwrap_or_default());
    }
    let mut table = Table::new(["node", "partitions", "transactions"]);
    for (node, busy) in &servers {
        let node = node.map(|node| node.0);
        if operator.json {
            operator.output.json(&BusyLine { node, busy })?;
        }
        let name = node.map_or_else(|| "none".to_owned(), |node| node.to_string());
        table.row([name, busy.partitions.to_string(), busy.transactions.to_string()]);
    }
    if !operator.json {
        operator.output.line(table)?;
    }
    Ok(loads)
}

/// How many transactions each partition has had.
fn committed(survey: &Survey) -> anyhow::Result<BTreeMap<PartitionId, u64>> {
    let served = survey.served();
    let count = |partition: PartitionId| {
        let status = served.get(&partition).filter(|status| status.open);
        let status = status.with_context(|| {
            format!("partition {} is not open: measure when all of them are", partition.0)
        })?;
        Ok((partition, status.committed.count()))
    };
    survey.view.partitions.iter().map(|view| count(view.partition)).collect()
}
