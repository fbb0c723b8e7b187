//! `waltz trim`

use clap::Args;
use serde::Serialize;
use waltz_client::{Mark, NoDatabase, OperatorRequest, Partitions, TransactionId};

use super::connect::{config, connect, require_partition};
use crate::args::{PartitionList, ServerArgs};
use crate::exit::Exit;
use crate::output::Output;

/// Forget the oldest transactions. Readers that have not applied them are told so; consumers that
/// are registered don't hold this up.
#[derive(Debug, Args)]
pub struct TrimArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Which partitions: numbers and ranges, such as 0-3,7
    #[arg(long, value_name = "P")]
    partition: PartitionList,

    /// The last transaction to forget
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    to: u64,
}

#[derive(Debug, Serialize)]
struct Trimmed {
    partition: u32,
    start: u64,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached or has no such partition.
pub async fn run(args: TrimArgs) -> anyhow::Result<Exit> {
    let config = config(&args.server).partitions(Partitions::none());
    let client = connect(config, NoDatabase::newest()).await?;
    for partition in args.partition.iter() {
        require_partition(&client, partition).await?;
    }
    let (mut output, mut exit) = (Output::new(), Exit::Success);
    let start = Mark::at(TransactionId(args.to));
    for partition in args.partition.iter() {
        match client.operate(OperatorRequest::Trim { partition, start }).await {
            Ok(()) if args.server.json => {
                output.json(&Trimmed { partition: partition.0, start: args.to })?;
            }
            Ok(()) => output.line(format_args!(
                "partition {}: everything up to {} is trimmed",
                partition.0, args.to
            ))?,
            Err(error) => {
                tracing::error!("partition {}: {error}", partition.0);
                exit = Exit::Failure;
            }
        }
    }
    client.close().await;
    output.flush()?;
    Ok(exit)
}
