//! `waltz admin storage add`

use std::time::Duration;

use clap::Args;
use waltz_client::NodeId;

use super::super::moves::{MovesArgs, carry_out};
use super::super::operator::{ChangeArgs, Operator};
use super::super::plan::{Layout, Placing, PlanError};
use super::super::roster::Roster;
use crate::commands::survey::Survey;
use crate::exit::Exit;

/// How often to look whether the node is there.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Wait until a new storage node has registered; with --rebalance, move replicas onto it from fuller
/// nodes until it has its share. A node joins by itself once it is started with the cluster's
/// coordinator: `waltz serve --node N --coordinator ADDR --data DIR`.
#[derive(Debug, Args)]
pub struct AddArgs {
    #[command(flatten)]
    change: ChangeArgs,

    /// The node
    node: u32,

    /// Move replicas onto it
    #[arg(long)]
    rebalance: bool,

    #[command(flatten)]
    moves: MovesArgs,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached.
pub async fn run(args: &AddArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::changing(&args.change).await?;
    let node = NodeId(args.node);
    let roster = registered(&mut operator, node).await?;
    if !operator.json {
        operator.output.line(format_args!("node {} has registered with a disk", args.node))?;
    }
    let exit = if args.rebalance {
        let layout = Layout::of(&Survey::take(&operator.client).await?);
        let moves = Placing::new(&roster, &layout).relieving(node)?;
        carry_out(&mut operator, moves, &args.moves).await?
    } else {
        Exit::Success
    };
    operator.leave(exit).await
}

/// Waits for the node. In a dry run one that is not there is an error.
async fn registered(operator: &mut Operator, node: NodeId) -> anyhow::Result<Roster> {
    let mut was_told = false;
    loop {
        let roster = Roster::take(&operator.client).await?;
        match roster.node(node) {
            Some(known) if known.live && known.storage.is_some() => return Ok(roster),
            Some(known) if known.live => return Err(PlanError::NoDisk(node).into()),
            _ if operator.is_dry() => return Err(PlanError::UnknownNode(node).into()),
            _ if !was_told && !operator.json => {
                operator.output.line(format_args!(
                    "node {node} has not registered; start it with `waltz serve --node {node} \
                     --coordinator ADDR --data DIR`",
                    node = node.0
                ))?;
                operator.output.flush()?;
                was_told = true;
            }
            _ => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
