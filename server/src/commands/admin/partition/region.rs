//! `waltz admin partition region`

use clap::Args;
use waltz_client::OperatorRequest;

use super::super::operator::{ChangeArgs, Operator};
use crate::commands::ranges::PartitionRanges;
use crate::exit::Exit;

/// Have partitions served in a region while a live node there can; a node that is preferred for one
/// comes first, wherever it is.
#[derive(Debug, Args)]
pub struct RegionArgs {
    #[command(flatten)]
    change: ChangeArgs,

    /// Which partitions: all, or numbers and ranges such as 0-6,9
    #[arg(long, value_name = "P")]
    partition: PartitionRanges,

    /// The region, as its nodes were told it
    #[arg(long, value_name = "NAME", required_unless_present = "any")]
    to: Option<String>,

    /// Serve them in any region again
    #[arg(long, conflicts_with = "to")]
    any: bool,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached or has no such partition.
pub async fn run(args: &RegionArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::changing(&args.change).await?;
    let mut exit = Exit::Success;
    for partition in args.partition.resolve(&operator.client.cluster().await?)? {
        let region = args.to.clone();
        if !operator.ask(OperatorRequest::PreferRegion { partition, region }).await? {
            exit = Exit::Failure;
        }
    }
    operator.leave(exit).await
}
