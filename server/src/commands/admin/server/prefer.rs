//! `waltz admin server prefer` and `unprefer`

use clap::Args;
use waltz_client::{NodeId, OperatorRequest};

use super::super::operator::{ChangeArgs, Operator};
use crate::commands::ranges::PartitionRanges;
use crate::exit::Exit;

/// Which node, for which partitions.
#[derive(Debug, Args)]
pub struct PreferArgs {
    #[command(flatten)]
    change: ChangeArgs,

    /// The node
    node: u32,

    /// Which partitions: all, or numbers and ranges such as 0-6,9
    #[arg(long, value_name = "P")]
    partition: PartitionRanges,
}

/// Records that a node is preferred for partitions, or no longer.
///
/// # Errors
/// When the cluster can't be reached or has no such partition.
pub async fn run(args: &PreferArgs, preferred: bool) -> anyhow::Result<Exit> {
    let mut operator = Operator::changing(&args.change).await?;
    let partitions = args.partition.resolve(&operator.client.cluster().await?)?;
    let (node, partitions) = (NodeId(args.node), partitions.into_iter().collect());
    let request = OperatorRequest::Prefer { node, partitions, preferred };
    let exit = if operator.ask(request).await? { Exit::Success } else { Exit::Failure };
    operator.leave(exit).await
}
