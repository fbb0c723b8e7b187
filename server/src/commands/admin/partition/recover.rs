//! `waltz admin partition recover`

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use waltz_client::{Client, NodeId, OperatorRequest, PartitionId};
use waltz_core::id::SetVersion;

use super::super::operator::{ConfirmArgs, Operator};
use crate::commands::connect::require_partition;
use crate::commands::status::{PartitionLine, ReplicaLine, gather};
use crate::exit::Exit;
use crate::output::Output;

/// How often to look whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Go on with the replicas that are left, when a majority of them is lost for good. Committed
/// transactions that none of them holds are lost: this says what is known of them, and asks.
#[derive(Debug, Args)]
pub struct RecoverArgs {
    #[command(flatten)]
    confirm: ConfirmArgs,

    /// Which partition
    #[arg(long, value_name = "P")]
    partition: u32,

    /// The nodes whose replicas are left
    #[arg(long, value_name = "NODES", value_delimiter = ',', required = true)]
    survivors: Vec<u32>,

    /// Decide it and don't wait until the partition is open
    #[arg(long)]
    detach: bool,
}

/// What is known about what would be lost.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Loss {
    partition: u32,
    /// The last transaction of the survivors, if one of them has said so.
    survivors_end: Option<u64>,
    /// How many transactions that a replica at hand knows to be committed the survivors lack.
    lost: u64,
    /// How many more transactions, committed or not, only others at hand hold.
    uncertain: u64,
    /// Survivors that have not said what they hold.
    silent: Vec<u32>,
    /// Replicas that are not at hand: what only they hold is lost, however much that is.
    unknown: Vec<u32>,
    /// Transactions that no survivor may be able to read.
    damaged: u64,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached or refuses, the partition needs no recovery, or nobody says
/// yes.
pub async fn run(args: RecoverArgs) -> anyhow::Result<Exit> {
    let partition = PartitionId(args.partition);
    let mut operator = Operator::confirming(&args.confirm).await?;
    require_partition(&operator.client, partition).await?;
    let line = line(&operator.client, partition).await?;
    if line.open {
        bail!(
            "partition {} is open: a majority of its replicas is there, and nothing has to be \
             lost; to move replicas use `waltz admin partition assign`",
            partition.0
        );
    }
    let loss = loss(&line, &args.survivors);
    match operator.json {
        true => operator.output.json(&loss)?,
        false => tell(&loss, &mut operator.output)?,
    }
    operator.confirm(&format!("recover partition {} like that?", partition.0))?;
    let survivors = args.survivors.iter().copied().map(NodeId).collect();
    let version = SetVersion(line.version);
    let request = OperatorRequest::Recover { partition, survivors, version };
    if !operator.ask(request).await? {
        return operator.leave(Exit::Failure).await;
    }
    if !args.detach && !operator.is_dry() {
        wait_until_open(&operator.client, partition).await?;
        if !operator.json {
            operator.output.line(format_args!("partition {} is open again", partition.0))?;
        }
    }
    operator.leave(Exit::Success).await
}

async fn line(client: &Client, partition: PartitionId) -> anyhow::Result<PartitionLine> {
    let status = gather(client).await?;
    let mut lines = status.partitions.into_iter();
    lines.find(|line| line.partition == partition.0).context("the partition is gone")
}

/// What the replicas say that the server has reached.
fn loss(line: &PartitionLine, survivors: &[u32]) -> Loss {
    let count = |id: Option<u64>| id.map_or(0, |id| id + 1);
    let has_answered = |replica: &&ReplicaLine| replica.disk.is_some();
    let (left, others): (Vec<_>, Vec<_>) = line
        .replicas
        .iter()
        .filter(has_answered)
        .partition(|replica| survivors.contains(&replica.node));
    let end = left.iter().map(|replica| count(replica.last)).max().unwrap_or(0);
    let known = others.iter().map(|replica| count(replica.low_water)).max().unwrap_or(0);
    let held = others.iter().map(|replica| count(replica.last)).max().unwrap_or(0);
    let answered: BTreeSet<_> = line.replicas.iter().filter(has_answered).map(|r| r.node).collect();
    let silent = survivors.iter().copied().filter(|node| !answered.contains(node));
    let members = line.members.iter().map(|member| member.node);
    let unknown = members.filter(|node| !answered.contains(node) && !survivors.contains(node));
    Loss {
        partition: line.partition,
        survivors_end: end.checked_sub(1),
        lost: known.saturating_sub(end),
        uncertain: held.saturating_sub(end.max(known)),
        silent: silent.collect(),
        unknown: unknown.collect(),
        damaged: left.iter().map(|replica| replica.damaged).min().unwrap_or(0),
    }
}

fn tell(loss: &Loss, output: &mut Output) -> std::io::Result<()> {
    let nodes = |nodes: &[u32]| nodes.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let Loss { partition, survivors_end, lost, uncertain, silent, unknown, damaged } = loss;
    let end = survivors_end.map_or("nothing".to_owned(), |id| format!("everything up to {id}"));
    output.line(format_args!("partition {partition}: the survivors hold {end}"))?;
    if !silent.is_empty() {
        output.line(format_args!(
            "  not heard from node {}: what it holds is not known",
            nodes(silent)
        ))?;
    }
    output.line(format_args!("  {lost} transactions known to be committed will be lost"))?;
    if *uncertain > 0 {
        output.line(format_args!("  {uncertain} more, committed or not, will be lost"))?;
    }
    if *damaged > 0 {
        output.line(format_args!(
            "  {damaged} can't be read by a survivor; the log ends before those that none can read"
        ))?;
    }
    if !unknown.is_empty() {
        output.line(format_args!(
            "  what only node {} held will be lost; how much that is can't be known",
            nodes(unknown)
        ))?;
    }
    Ok(())
}

async fn wait_until_open(client: &Client, partition: PartitionId) -> anyhow::Result<()> {
    while !line(client, partition).await?.open {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::status::MemberLine;

    fn replica(node: u32, last: Option<u64>, low_water: Option<u64>) -> ReplicaLine {
        ReplicaLine {
            node,
            disk: last.map(|_| node.to_string()),
            counts: last.is_some(),
            state: "answered".to_owned(),
            last,
            lag: 0,
            damaged: 0,
            low_water,
        }
    }

    fn line(replicas: Vec<ReplicaLine>) -> PartitionLine {
        let member = |node: u32| MemberLine { node, disk: node.to_string() };
        PartitionLine {
            partition: 0,
            owner: Some(1),
            generation: 1,
            session: None,
            open: false,
            hwm: None,
            start: None,
            version: 3,
            members: replicas.iter().map(|replica| member(replica.node)).collect(),
            target: None,
            replicas,
            consumers: Vec::new(),
        }
    }

    #[test]
    fn what_is_known_of_the_loss_is_told_in_figures() {
        let line = line(vec![
            replica(1, Some(90), Some(80)),
            replica(2, Some(99), Some(95)),
            replica(3, None, None),
            replica(4, None, None),
        ]);
        let expected = Loss {
            partition: 0,
            survivors_end: Some(90),
            lost: 5,
            uncertain: 4,
            silent: vec![4],
            unknown: vec![3],
            damaged: 0,
        };
        assert_eq!(loss(&line, &[1, 4]), expected);
    }

    #[test]
    fn survivors_with_everything_lose_nothing_known() {
        let line = line(vec![replica(1, Some(9), Some(9)), replica(2, None, None)]);
        let loss = loss(&line, &[1]);
        assert_eq!((loss.lost, loss.uncertain, loss.unknown), (0, 0, vec![2]));
    }
}
