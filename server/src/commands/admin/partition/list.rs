//! `waltz admin partition list` and `describe`

use clap::Args;

use super::super::operator::Operator;
use crate::args::ServerArgs;
use crate::commands::ranges::PartitionRanges;
use crate::commands::status::{
    ClusterStatus, PartitionLine, consumer_table, partition_table, replica_table,
};
use crate::commands::survey::Survey;
use crate::exit::Exit;

/// Show partitions.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Which partitions: all, or numbers and ranges such as 0-6,9
    #[arg(long, value_name = "P", default_value = "all")]
    partition: PartitionRanges,
}

/// Show partitions with everything that is known of them.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Which partitions: all, or numbers and ranges such as 0-6,9
    #[arg(long, value_name = "P")]
    partition: PartitionRanges,
}

/// Shows partitions, a row each.
///
/// # Errors
/// When the cluster can't be reached or has no such partition.
pub async fn list(args: &ListArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::looking(&args.server).await?;
    let lines = lines(&operator, &args.partition).await?;
    match operator.json {
        true => lines.iter().try_for_each(|line| operator.output.json(line))?,
        false => operator.output.line(partition_table(&lines))?,
    }
    operator.leave(Exit::Success).await
}

/// Shows partitions with their replicas and consumers.
///
/// # Errors
/// When the cluster can't be reached or has no such partition.
pub async fn describe(args: &DescribeArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::looking(&args.server).await?;
    let lines = lines(&operator, &args.partition).await?;
    if operator.json {
        lines.iter().try_for_each(|line| operator.output.json(line))?;
        return operator.leave(Exit::Success).await;
    }
    let consumers = consumer_table(&lines);
    operator.output.line(partition_table(&lines))?;
    operator.output.line(format_args!("\n{}", replica_table(&lines)))?;
    if !consumers.is_empty() {
        operator.output.line(format_args!("\n{consumers}"))?;
    }
    operator.leave(Exit::Success).await
}

async fn lines(
    operator: &Operator,
    ranges: &PartitionRanges,
) -> anyhow::Result<Vec<PartitionLine>> {
    let survey = Survey::take(&operator.client).await?;
    let named = ranges.resolve(&survey.view)?;
    let is_named = |line: &PartitionLine| named.iter().any(|named| named.0 == line.partition);
    let mut lines = ClusterStatus::of(&survey).partitions;
    lines.retain(is_named);
    Ok(lines)
}
