//! `waltz admin partition trim`

use clap::Args;
use waltz_client::{Mark, OperatorRequest, TransactionId};

use super::super::operator::{ConfirmArgs, Operator};
use super::super::ranges::PartitionRanges;
use crate::exit::Exit;

/// Forget the oldest transactions. Readers that have not applied them are told so; consumers that
/// are registered don't hold this up.
#[derive(Debug, Args)]
pub struct TrimArgs {
    #[command(flatten)]
    confirm: ConfirmArgs,

    /// Which partitions: all, or numbers and ranges such as 0-6,9
    #[arg(long, value_name = "P")]
    partition: PartitionRanges,

    /// The last transaction to forget
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    to: u64,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached or has no such partition, or nobody says yes.
pub async fn run(args: &TrimArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::confirming(&args.confirm).await?;
    let partitions = args.partition.resolve(&operator.client.cluster().await?)?;
    operator.confirm(&format!(
        "forget everything up to {} in {} partitions?",
        args.to,
        partitions.len()
    ))?;
    let (mut exit, start) = (Exit::Success, Mark::at(TransactionId(args.to)));
    for partition in partitions {
        if !operator.ask(OperatorRequest::Trim { partition, start }).await? {
            exit = Exit::Failure;
        }
    }
    operator.leave(exit).await
}
