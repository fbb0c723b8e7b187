//! `waltz replicas`

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use waltz_client::{
    Client, ClusterView, NoDatabase, NodeId, OperatorRequest, PartitionId, Partitions,
};

use super::connect::{config, connect, require_partition};
use super::status::{MemberLine, PartitionLine, gather, members_of, nodes_of};
use crate::args::{PartitionList, ServerArgs};
use crate::exit::Exit;
use crate::output::Output;

/// How often to look how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Move replicas to other nodes. One at a time: a new one copies the log and is added when it has
/// it, and those that are not wanted any more are removed at last. The partition goes on meanwhile.
#[derive(Debug, Args)]
pub struct ReplicasArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Which partitions: numbers and ranges, such as 0-3,7
    #[arg(long, value_name = "P")]
    partition: PartitionList,

    /// The nodes to keep replicas on, each with the disk it has now
    #[arg(long, value_name = "NODES", value_delimiter = ',', required = true)]
    set: Vec<u32>,

    /// Ask for it and don't wait until it is done
    #[arg(long)]
    detach: bool,
}

/// How far a partition is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Progress {
    partition: u32,
    done: bool,
    /// The version of its replica set.
    version: u64,
    /// The nodes of its replica set.
    replicas: Vec<u32>,
    /// What the replicas do that are not in the set or not joined yet.
    waits_for: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached or refuses, or somebody wants something else.
pub async fn run(args: ReplicasArgs) -> anyhow::Result<Exit> {
    let config = config(&args.server).partitions(Partitions::none());
    let client = connect(config, NoDatabase::newest()).await?;
    let mut output = Output::new();
    for partition in args.partition.iter() {
        require_partition(&client, partition).await?;
    }
    let wanted = wanted(&client.cluster().await?, &args.set);
    let (mut waiting, mut exit) = (Vec::new(), Exit::Success);
    for partition in args.partition.iter() {
        let nodes = args.set.iter().copied().map(NodeId).collect();
        match client.operate(OperatorRequest::SetReplicas { partition, nodes }).await {
            Ok(()) => waiting.push(partition),
            Err(error) => {
                tracing::error!("partition {}: {error}", partition.0);
                exit = Exit::Failure;
            }
        }
    }
    if !args.detach {
        Watch { client: &client, wanted, json: args.server.json, told: BTreeMap::new() }
            .until_done(waiting, &mut output)
            .await?;
    }
    client.close().await;
    output.flush()?;
    Ok(exit)
}

/// The replicas that the nodes' present disks make.
fn wanted(view: &ClusterView, nodes: &[u32]) -> Vec<MemberLine> {
    let named = view.nodes.iter().filter(|node| nodes.contains(&node.node.0));
    let mut members: Vec<_> = named
        .filter_map(|node| Some(MemberLine { node: node.node.0, disk: node.storage?.to_string() }))
        .collect();
    members.sort_unstable();
    members
}

struct Watch<'a> {
    client: &'a Client,
    wanted: Vec<MemberLine>,
    json: bool,
    told: BTreeMap<PartitionId, Progress>,
}

impl Watch<'_> {
    /// Shows how far the partitions are until all of them are done.
    async fn until_done(
        mut self,
        mut waiting: Vec<PartitionId>,
        output: &mut Output,
    ) -> anyhow::Result<()> {
        while !waiting.is_empty() {
            let status = gather(self.client).await?;
            let committed = self.client.cluster().await?;
            let is_recorded = |partition: PartitionId| {
                let mut views = committed.partitions.iter();
                let view = views.find(|view| view.partition == partition);
                view.is_some_and(|view| members_of(&view.replicas) == self.wanted)
            };
            let mut left = Vec::new();
            for partition in waiting {
                let line = status.partitions.iter().find(|line| line.partition == partition.0);
                let Some(line) = line else { bail!("partition {} is gone", partition.0) };
                let progress = self.progress(line, is_recorded(partition));
                if !progress.done {
                    left.push(partition);
                    self.check_target(line)?;
                }
                if self.told.insert(partition, progress.clone()).as_ref() != Some(&progress) {
                    self.show(&progress, output)?;
                }
            }
            waiting = left;
            if !waiting.is_empty() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    fn progress(&self, line: &PartitionLine, is_recorded: bool) -> Progress {
        let is_current = line.members == self.wanted && is_recorded;
        let named = |node: u32| self.wanted.iter().any(|member| member.node == node);
        let late = line.replicas.iter().filter(|replica| {
            named(replica.node) && !(replica.counts && replica.state == "joined")
        });
        let waits_for = late.map(|replica| match replica.lag {
            0 => format!("node {} is {}", replica.node, replica.state),
            lag => format!("node {} is {}, {lag} behind", replica.node, replica.state),
        });
        Progress {
            partition: line.partition,
            done: is_current,
            version: line.version,
            replicas: line.members.iter().map(|member| member.node).collect(),
            waits_for: waits_for.collect(),
        }
    }

    /// Another operator may want something else meanwhile.
    fn check_target(&self, line: &PartitionLine) -> anyhow::Result<()> {
        let was_seen = self.told.contains_key(&PartitionId(line.partition));
        match &line.target {
            Some(target) if was_seen && *target != self.wanted => bail!(
                "partition {}: somebody else asked for replicas on nodes {} since",
                line.partition,
                nodes_of(target)
            ),
            _ => Ok(()),
        }
    }

    fn show(&self, progress: &Progress, output: &mut Output) -> std::io::Result<()> {
        if self.json {
            output.json(progress)?;
            return output.flush();
        }
        let Progress { partition, done, version, replicas, waits_for } = progress;
        let nodes = replicas.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let state = match (done, waits_for.is_empty()) {
            (true, _) => "done".to_owned(),
            (false, true) => "changing".to_owned(),
            (false, false) => waits_for.join("; "),
        };
        output.line(format_args!("partition {partition}: v{version} on nodes {nodes}: {state}"))?;
        output.flush()
    }
}
