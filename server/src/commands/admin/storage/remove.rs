//! `waltz admin storage remove`

use clap::Args;
use waltz_client::{NodeId, OperatorRequest};

use super::super::operator::{ConfirmArgs, Operator};
use crate::exit::Exit;

/// Forget a node that is stopped for good, with all that is recorded of it. It must hold no replica
/// that counts: drain it first, or replace it if it is dead.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    #[command(flatten)]
    confirm: ConfirmArgs,

    /// The node
    node: u32,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached, or nobody says yes.
pub async fn run(args: &RemoveArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::confirming(&args.confirm).await?;
    operator.confirm(&format!("forget node {}?", args.node))?;
    let forget = OperatorRequest::ForgetNode { node: NodeId(args.node) };
    let exit = if operator.ask(forget).await? { Exit::Success } else { Exit::Failure };
    operator.leave(exit).await
}
