//! `waltz admin storage drain`

use clap::Args;
use waltz_client::{NodeId, OperatorRequest};

use super::super::moves::{MovesArgs, carry_out};
use super::super::operator::{ChangeArgs, Operator};
use super::super::plan::{Layout, Move, Placing, PlanError};
use super::super::roster::Roster;
use crate::commands::survey::Survey;
use crate::exit::Exit;

/// Place no new replica on a node, and move those that it has to others, far from the ones that stay.
/// Takes effect until it is undone.
#[derive(Debug, Args)]
pub struct DrainArgs {
    #[command(flatten)]
    change: ChangeArgs,

    /// The node
    node: u32,

    /// Place replicas on it again; those that were moved stay where they are
    #[arg(long, conflicts_with_all = ["parallel", "detach"])]
    undo: bool,

    #[command(flatten)]
    moves: MovesArgs,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached, or there is no room for the replicas elsewhere.
pub async fn run(args: &DrainArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::changing(&args.change).await?;
    let node = NodeId(args.node);
    let survey = Survey::take(&operator.client).await?;
    let (layout, roster) = (Layout::of(&survey), Roster::take(&operator.client).await?);
    // Planned before anything is recorded: a node whose replicas have nowhere to go stays as it is.
    let moves = if args.undo { Vec::new() } else { leaving(&layout, &roster, node)? };
    let request = OperatorRequest::DrainStorage { node, drained: !args.undo };
    if !operator.ask(request).await? {
        return operator.leave(Exit::Failure).await;
    }
    let exit = match args.undo {
        true => Exit::Success,
        false => carry_out(&mut operator, moves, &args.moves).await?,
    };
    operator.leave(exit).await
}

/// Every replica on a node moved to the best other one. What was asked to leave before and has not
/// left is asked for again.
pub(super) fn leaving(
    layout: &Layout,
    roster: &Roster,
    node: NodeId,
) -> Result<Vec<Move>, PlanError> {
    Placing::new(roster, layout).without(node).sets(layout.on(node), None)
}
