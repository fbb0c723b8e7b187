//! `waltz admin partition assign` and `move`
//!
//! A new replica copies the log and is added when it has it; those that are not wanted any more are
//! removed at last. The partition goes on meanwhile.

use clap::Args;
use waltz_client::NodeId;
use waltz_core::membership::MAX_REPLICAS;

use super::super::moves::{MovesArgs, carry_out};
use super::super::operator::{ChangeArgs, Operator};
use super::super::plan::{Layout, Placing};
use super::super::roster::Roster;
use crate::commands::ranges::PartitionRanges;
use crate::commands::survey::Survey;
use crate::exit::Exit;

/// Choose the nodes that keep the replicas of partitions.
#[derive(Debug, Args)]
pub struct AssignArgs {
    #[command(flatten)]
    change: ChangeArgs,

    /// Which partitions: all, or numbers and ranges such as 0-6,9
    #[arg(long, value_name = "P")]
    partition: PartitionRanges,

    /// The nodes to keep replicas on, each with the disk it has now
    #[arg(long, value_name = "NODES", value_delimiter = ',', required_unless_present = "auto")]
    set: Vec<u32>,

    /// Choose them: in as many zones and regions as there are, on nodes that are up and not drained,
    /// and change no more than that takes
    #[arg(long, conflicts_with = "set")]
    auto: bool,

    /// How many replicas to choose nodes for [default: as many as the partition has]
    #[arg(long, value_name = "N", requires = "auto",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_REPLICAS)))]
    replicas: Option<u32>,

    #[command(flatten)]
    moves: MovesArgs,
}

/// Move the replicas that one node has to another one.
#[derive(Debug, Args)]
pub struct MoveArgs {
    #[command(flatten)]
    change: ChangeArgs,

    /// Which partitions, of those with a replica on the node: all, or numbers and ranges
    #[arg(long, value_name = "P", default_value = "all")]
    partition: PartitionRanges,

    /// The node to take replicas from
    #[arg(long, value_name = "NODE")]
    from: u32,

    /// The node to give them to
    #[arg(long, value_name = "NODE")]
    to: u32,

    #[command(flatten)]
    moves: MovesArgs,
}

/// Brings the replicas of partitions to the nodes that were named.
///
/// # Errors
/// When the cluster can't be reached, or has no such partition or node.
pub async fn assign(args: &AssignArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::changing(&args.change).await?;
    let survey = Survey::take(&operator.client).await?;
    let (layout, partitions) = (Layout::of(&survey), args.partition.resolve(&survey.view)?);
    let moves = if args.auto {
        let roster = Roster::take(&operator.client).await?;
        Placing::new(&roster, &layout).sets(partitions, args.replicas)?
    } else {
        let nodes = layout.named(&args.set)?;
        let planned = partitions.iter().map(|partition| layout.set(*partition, &nodes));
        planned.filter_map(Result::transpose).collect::<Result<_, _>>()?
    };
    let exit = carry_out(&mut operator, moves, &args.moves).await?;
    operator.leave(exit).await
}

/// Brings the replicas on one node to another.
///
/// # Errors
/// When the cluster can't be reached, has no such partition or node, or the other one can't take a
/// replica.
pub async fn move_replicas(args: &MoveArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::changing(&args.change).await?;
    let survey = Survey::take(&operator.client).await?;
    let (layout, from, to) = (Layout::of(&survey), NodeId(args.from), NodeId(args.to));
    let mut moves = Vec::new();
    for partition in args.partition.resolve(&survey.view)?.intersection(&layout.on(from)) {
        moves.extend(layout.exchange(*partition, from, to)?);
    }
    let exit = carry_out(&mut operator, moves, &args.moves).await?;
    operator.leave(exit).await
}
