//! `waltz admin cluster delete`

use clap::Args;
use waltz_client::OperatorRequest;

use super::super::operator::{ConfirmArgs, Operator};
use crate::commands::survey::Survey;
use crate::exit::Exit;

/// Have the coordinator forget the cluster: nothing is served any more. What is on disks stays there,
/// and "waltz admin cluster restore" brings it back; a new cluster is made only of emptied disks.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// Runs the command. It can be run again where it was interrupted.
///
/// # Errors
/// When no node can be reached, or nobody says yes.
pub async fn run(args: &DeleteArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::confirming(&args.confirm).await?;
    let partitions = Survey::take(&operator.client).await?.view.partitions.len();
    operator.confirm(&format!("delete the cluster of {partitions} partitions?"))?;
    let exit = match operator.ask(OperatorRequest::DeleteCluster).await? {
        true => Exit::Success,
        false => Exit::Failure,
    };
    operator.leave(exit).await
}
