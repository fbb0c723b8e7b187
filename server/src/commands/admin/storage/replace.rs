//! `waltz admin storage replace`

use anyhow::bail;
use clap::Args;
use waltz_client::NodeId;

use super::super::moves::{MovesArgs, carry_out};
use super::super::operator::{ConfirmArgs, Operator};
use super::super::plan::{Layout, Move, PlanError};
use super::super::roster::Roster;
use super::drain::leaving;
use crate::commands::survey::Survey;
use crate::exit::Exit;

/// Give every partition that has a replica on a node which is dead, or has come back with another
/// disk, a new replica: on that node's new disk, or on other nodes. Shows what is copied until every
/// partition is whole again.
#[derive(Debug, Args)]
pub struct ReplaceArgs {
    #[command(flatten)]
    confirm: ConfirmArgs,

    /// The node that is dead, or has lost its disk
    node: u32,

    /// The node that takes its place [default: itself if it has come back, or the best others]
    #[arg(long, value_name = "NODE")]
    with: Option<u32>,

    #[command(flatten)]
    moves: MovesArgs,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached, the node is as it should be, or there is no node for its
/// replicas.
pub async fn run(args: &ReplaceArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::confirming(&args.confirm).await?;
    let node = NodeId(args.node);
    let survey = Survey::take(&operator.client).await?;
    let (layout, roster) = (Layout::of(&survey), Roster::take(&operator.client).await?);
    let Some(registered) = roster.node(node) else {
        return Err(PlanError::UnknownNode(node).into());
    };
    let had = layout.on(node);
    let is_whole = !had.is_empty() && had.iter().all(|one| layout.is_at_home(*one, node));
    if registered.live && is_whole && args.with.is_some() {
        bail!(
            "node {} is running with the disk that its replicas are on, and needs no replacement; \
             to move them elsewhere use `waltz admin storage drain {}`",
            args.node,
            args.node
        );
    }
    let moves = match args.with {
        Some(with) => exchanged(&layout, node, NodeId(with))?,
        None if registered.live => returned(&layout, node)?,
        None => leaving(&layout, &roster, node)?,
    };
    if !moves.is_empty() {
        let question =
            format!("give up the replicas that node {node} had, and copy {} anew?", moves.len());
        operator.confirm(&question)?;
    }
    let exit = carry_out(&mut operator, moves, &args.moves).await?;
    operator.leave(exit).await
}

/// Every replica of a node on another one.
fn exchanged(layout: &Layout, node: NodeId, with: NodeId) -> Result<Vec<Move>, PlanError> {
    let mut moves = Vec::new();
    for partition in layout.on(node) {
        moves.extend(layout.exchange(partition, node, with)?);
    }
    Ok(moves)
}

/// Every replica of a node on the disk that the node has now.
fn returned(layout: &Layout, node: NodeId) -> Result<Vec<Move>, PlanError> {
    exchanged(layout, node, node)
}
