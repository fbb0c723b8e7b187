//! `waltz admin server drain`

use std::time::Duration;

use clap::Args;
use waltz_client::{NodeId, OperatorRequest};

use super::super::operator::{ChangeArgs, Operator};
use super::super::roster::Roster;
use crate::commands::survey::Survey;
use crate::exit::Exit;

/// How often to look how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Have a node serve no partitions while another live one can, before it is stopped for maintenance.
/// Its replicas stay. Takes effect until it is undone.
#[derive(Debug, Args)]
pub struct DrainArgs {
    #[command(flatten)]
    change: ChangeArgs,

    /// The node
    node: u32,

    /// Have it serve as usual again
    #[arg(long)]
    undo: bool,

    /// Ask for it and don't wait until the node serves nothing
    #[arg(long)]
    detach: bool,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached.
pub async fn run(args: &DrainArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::changing(&args.change).await?;
    let node = NodeId(args.node);
    let request = OperatorRequest::DrainServer { node, drained: !args.undo };
    if !operator.ask(request).await? {
        return operator.leave(Exit::Failure).await;
    }
    if !args.undo && !args.detach && !operator.is_dry() {
        wait_until_idle(&mut operator, node).await?;
    }
    operator.leave(Exit::Success).await
}

/// Waits until others serve what the node served. Where no other node can serve, it goes on.
async fn wait_until_idle(operator: &mut Operator, node: NodeId) -> anyhow::Result<()> {
    let mut told = None;
    loop {
        let roster = Roster::take(&operator.client).await?;
        let can_serve = |other: &waltz_client::NodeRegistration| {
            other.live && other.server && !other.operations.server_drained
        };
        let survey = Survey::take(&operator.client).await?;
        let served = survey.served();
        let views = || survey.view.partitions.iter();
        let left = views().filter(|view| view.owner == Some(node)).count();
        let opening =
            views().filter(|view| !served.get(&view.partition).is_some_and(|it| it.open)).count();
        let text = match (roster.iter().any(can_serve), left, opening) {
            (false, _, _) => format!("node {} serves on: no other node can", node.0),
            (true, 0, 0) => format!("node {} serves nothing", node.0),
            (true, 0, opening) => format!("{opening} partitions open elsewhere"),
            (true, left, _) => format!("node {} serves {left} partitions", node.0),
        };
        if told.as_ref() != Some(&text) && !operator.json {
            operator.output.line(&text)?;
            operator.output.flush()?;
            told = Some(text);
        }
        if left + opening == 0 || !roster.iter().any(can_serve) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
