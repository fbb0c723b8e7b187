//! `waltz consumer`

use anyhow::Context;
use clap::{Args, Subcommand};
use waltz_client::{Mark, NoDatabase, OperatorRequest, PartitionId, Partitions};

use super::connect::{config, connect, require_partition};
use crate::args::{ServerArgs, parse_mark};
use crate::exit::Exit;

/// What to do about a consumer.
#[derive(Debug, Subcommand)]
pub enum ConsumerCommand {
    /// Register a consumer, or say how far it is
    Set(SetArgs),
    /// Remove a consumer: nothing is kept for it any more
    Remove(RemoveArgs),
}

/// Which consumer.
#[derive(Debug, Args)]
pub struct NameArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Which partition
    #[arg(long, value_name = "P")]
    partition: u32,

    /// The consumer's name
    #[arg(long, value_name = "NAME")]
    name: String,
}

/// Register a consumer. What it has not applied is not trimmed by age or size.
#[derive(Debug, Args)]
pub struct SetArgs {
    #[command(flatten)]
    name: NameArgs,

    /// The last transaction that it has applied: an id, or `none`; never goes back
    #[arg(long, value_name = "HWM", value_parser = parse_mark)]
    applied: Mark,
}

/// Remove a consumer.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    #[command(flatten)]
    name: NameArgs,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached or refuses.
pub async fn run(command: ConsumerCommand) -> anyhow::Result<Exit> {
    let (name, applied) = match command {
        ConsumerCommand::Set(SetArgs { name, applied }) => (name, Some(applied)),
        ConsumerCommand::Remove(RemoveArgs { name }) => (name, None),
    };
    let NameArgs { server, partition, name: consumer } = name;
    let partition = PartitionId(partition);
    let config = config(&server).partitions(Partitions::none());
    let client = connect(config, NoDatabase::newest()).await?;
    require_partition(&client, partition).await?;
    let request = match applied {
        Some(mark) => OperatorRequest::AdvanceConsumer { partition, consumer, mark },
        None => OperatorRequest::RemoveConsumer { partition, consumer },
    };
    client.operate(request).await.context("the consumers are as they were")?;
    client.close().await;
    Ok(Exit::Success)
}
