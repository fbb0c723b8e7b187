//! `waltz admin cluster create`

use clap::Args;
use waltz_client::OperatorRequest;
use waltz_core::membership::{MAX_PARTITIONS, MAX_REPLICAS};

use super::super::operator::{ChangeArgs, Operator};
use super::opening::wait_until_open;
use crate::exit::Exit;

/// Make the cluster of nodes that were started without --partitions and --replicas, on a coordinator
/// outside of them. Their disks have to be empty.
#[derive(Debug, Args)]
pub struct CreateArgs {
    #[command(flatten)]
    change: ChangeArgs,

    /// How many partitions
    #[arg(long, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PARTITIONS)))]
    partitions: u32,

    /// How many replicas each of them has
    #[arg(long, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_REPLICAS)))]
    replicas: u32,

    /// Ask for it and don't wait until all partitions are open
    #[arg(long)]
    detach: bool,
}

/// Runs the command.
///
/// # Errors
/// When no node can be reached.
pub async fn run(args: &CreateArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::changing(&args.change).await?;
    let (partitions, replicas) = (args.partitions, args.replicas);
    if !operator.ask(OperatorRequest::CreateCluster { partitions, replicas }).await? {
        return operator.leave(Exit::Failure).await;
    }
    if !args.detach && !operator.is_dry() {
        wait_until_open(&mut operator, partitions as usize).await?;
    }
    operator.leave(Exit::Success).await
}
