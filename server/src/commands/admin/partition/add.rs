//! `waltz admin partition add`

use clap::Args;
use waltz_client::OperatorRequest;
use waltz_core::membership::MAX_PARTITIONS;

use super::super::cluster::opening::wait_until_open;
use super::super::operator::{ConfirmArgs, Operator};
use crate::exit::Exit;

/// Have more partitions. They are never taken away again, and an application that spreads its keys
/// over the number of partitions finds them elsewhere from then on.
#[derive(Debug, Args)]
pub struct AddArgs {
    #[command(flatten)]
    confirm: ConfirmArgs,

    /// How many there are to be in all
    #[arg(long, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PARTITIONS)))]
    total: u32,

    /// Ask for it and don't wait until they are open
    #[arg(long)]
    detach: bool,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached, or nobody says yes.
pub async fn run(args: &AddArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::confirming(&args.confirm).await?;
    let now = operator.client.cluster().await?.partitions.len();
    operator.confirm(&format!("have {} partitions instead of {now}?", args.total))?;
    let request = OperatorRequest::AddPartitions { partitions: args.total };
    if !operator.ask(request).await? {
        return operator.leave(Exit::Failure).await;
    }
    if !args.detach && !operator.is_dry() {
        wait_until_open(&mut operator, args.total as usize).await?;
    }
    operator.leave(Exit::Success).await
}
