//! Carries out a plan of moves: some partitions at a time, shown until all are done.
//!
//! A request only records what is wanted; the partition's server brings it about, one replica at a
//! time, whether anyone watches or not. So a watch that ends early loses nothing: the same command
//! again finds what is left.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use waltz_client::{OperatorRequest, PartitionId};

use super::operator::Operator;
use super::plan::Move;
use super::progress::{Board, Progress};
use crate::commands::status::{ClusterStatus, MemberLine, PartitionLine, members_of, nodes_of};
use crate::commands::survey::Survey;
use crate::exit::Exit;

/// How often to look how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How moves are carried out.
#[derive(Debug, Clone, Args)]
pub(super) struct MovesArgs {
    /// How many partitions to move at the same time
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..))]
    parallel: u16,

    /// Ask for all of it at once and don't wait until it is done
    #[arg(long, conflicts_with = "parallel")]
    detach: bool,
}

/// Carries moves out, one after another or some at a time. [`Exit::Failure`]: one was refused.
///
/// # Errors
/// When the cluster can't be reached any more, or somebody wants something else meanwhile.
pub(super) async fn carry_out(
    operator: &mut Operator,
    moves: Vec<Move>,
    args: &MovesArgs,
) -> anyhow::Result<Exit> {
    if moves.is_empty() && !operator.json {
        operator.output.line("nothing has to be moved")?;
    }
    let room = match args.detach || operator.is_dry() {
        true => usize::MAX,
        false => args.parallel.into(),
    };
    let mut waiting: VecDeque<_> = moves.into();
    let mut watch = Watch { board: Board::new(operator.json), active: BTreeMap::new() };
    let mut exit = Exit::Success;
    loop {
        while watch.active.len() < room
            && let Some(planned) = waiting.pop_front()
        {
            let nodes = planned.to.iter().map(|member| member.node).collect();
            let request = OperatorRequest::SetReplicas { partition: planned.partition, nodes };
            match operator.ask(request).await? {
                true => watch.add(planned),
                false => exit = Exit::Failure,
            }
        }
        if args.detach || operator.is_dry() || watch.active.is_empty() {
            return Ok(exit);
        }
        watch.look(operator).await?;
        if !watch.active.is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// A move that was asked for.
#[derive(Debug)]
struct Active {
    planned: Move,
    since: Instant,
    /// Whether the partition's server has been seen to know of it.
    is_known: bool,
}

#[derive(Debug)]
struct Watch {
    board: Board,
    active: BTreeMap<PartitionId, Active>,
}

impl Watch {
    fn add(&mut self, planned: Move) {
        let active = Active { since: Instant::now(), is_known: false, planned };
        self.active.insert(active.planned.partition, active);
    }

    /// Shows how far the moves are, and forgets those that are done.
    async fn look(&mut self, operator: &mut Operator) -> anyhow::Result<()> {
        let survey = Survey::take(&operator.client).await?;
        let status = ClusterStatus::of(&survey);
        let mut done = Vec::new();
        for (partition, active) in &mut self.active {
            let line = status.partitions.iter().find(|line| line.partition == partition.0);
            let view = survey.view.partitions.iter().find(|view| view.partition == *partition);
            let (Some(line), Some(view)) = (line, view) else {
                bail!("partition {} is gone", partition.0)
            };
            let recorded = members_of(&view.replicas);
            let progress = Progress::of(&active.planned, line, &recorded, active.since.elapsed());
            if progress.done {
                done.push(*partition);
            } else {
                active.check_target(line)?;
            }
            self.board.show(progress, &mut operator.output)?;
        }
        self.active.retain(|partition, _| !done.contains(partition));
        Ok(())
    }
}

impl Active {
    /// Another operator may want something else meanwhile. What the partition's server has not
    /// heard of yet is not that.
    fn check_target(&mut self, line: &PartitionLine) -> anyhow::Result<()> {
        let wanted: Vec<_> = self.planned.to.iter().copied().map(MemberLine::from).collect();
        match &line.target {
            Some(target) if *target == wanted => self.is_known = true,
            Some(target) if self.is_known => bail!(
                "partition {}: somebody else asked for replicas on nodes {} since",
                line.partition,
                nodes_of(target)
            ),
            _ => {}
        }
        Ok(())
    }
}
