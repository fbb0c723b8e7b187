//! `waltz status`

use std::collections::BTreeMap;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;
use waltz_client::{
    Client, ClusterView, Mark, NoDatabase, NodeStatus, NodeView, PartitionId, PartitionStatus,
    PartitionView, Partitions,
};

use super::connect::{config, connect};
use crate::args::ServerArgs;
use crate::exit::Exit;
use crate::output::{Output, Table};

/// Show partitions, their servers and their replicas.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// The whole cluster, put together from what its nodes say.
#[derive(Debug, Serialize)]
pub struct ClusterStatus {
    /// All nodes, ascending.
    pub nodes: Vec<NodeLine>,
    /// All partitions, ascending.
    pub partitions: Vec<PartitionLine>,
}

/// One node.
#[derive(Debug, Serialize)]
pub struct NodeLine {
    /// Its number.
    pub node: u32,
    /// Where it listens.
    pub address: String,
    /// Whether its lease is alive.
    pub live: bool,
    /// Whether it reaches the coordinator; `None` when it did not answer.
    pub coordinator: Option<bool>,
}

/// One partition.
#[derive(Debug, Serialize)]
pub struct PartitionLine {
    /// Its number.
    pub partition: u32,
    /// The node that should serve it.
    pub owner: Option<u32>,
    /// The version of that assignment.
    pub generation: u64,
    /// The session of its server.
    pub session: Option<String>,
    /// Whether appends are accepted.
    pub open: bool,
    /// The last committed transaction.
    pub hwm: Option<u64>,
    /// Its replicas, as its server sees them.
    pub replicas: Vec<ReplicaLine>,
}

/// One replica.
#[derive(Debug, Serialize)]
pub struct ReplicaLine {
    /// Its node.
    pub node: u32,
    /// What it is doing.
    pub state: String,
    /// Its last durable transaction.
    pub last: Option<u64>,
    /// How many committed transactions it lacks.
    pub lag: u64,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached.
pub async fn run(args: StatusArgs) -> anyhow::Result<Exit> {
    let config = config(&args.server).partitions(Partitions::none());
    let client = connect(config, NoDatabase::newest()).await?;
    let status = gather(&client).await?;
    client.close().await;
    let mut output = Output::new();
    if args.server.json {
        output.json(&status)?;
    } else {
        print_tables(&status, &mut output)?;
    }
    output.flush()?;
    Ok(Exit::Success)
}

/// Asks every live node, all at once. One that does not answer is told of as others see it.
///
/// # Errors
/// When no node describes the cluster.
pub async fn gather(client: &Client) -> anyhow::Result<ClusterStatus> {
    let view: ClusterView = client.cluster().await.context("no node told how the cluster is")?;
    let mut answers = BTreeMap::new();
    let mut asked = JoinSet::new();
    for node in view.nodes.iter().filter(|node| node.live).map(|node| node.node) {
        let client = client.clone();
        asked.spawn(async move { (node, client.status(Some(node)).await) });
    }
    while let Some(answer) = asked.join_next().await {
        match answer.context("could not ask a node")? {
            (node, Ok(status)) => drop(answers.insert(node, status)),
            (node, Err(error)) => tracing::warn!(node = node.0, %error, "a node did not answer"),
        }
    }
    let served = newest_tenures(&answers.values().collect::<Vec<_>>());
    Ok(ClusterStatus {
        nodes: view.nodes.iter().map(|node| node_line(node, answers.get(&node.node))).collect(),
        partitions: view
            .partitions
            .iter()
            .map(|partition| partition_line(partition, served.get(&partition.partition).copied()))
            .collect(),
    })
}

/// For a short while two nodes may believe to serve a partition: the higher session is the one.
fn newest_tenures<'a>(nodes: &[&'a NodeStatus]) -> BTreeMap<PartitionId, &'a PartitionStatus> {
    let mut served = BTreeMap::<_, &PartitionStatus>::new();
    for status in nodes.iter().flat_map(|node| &node.partitions) {
        let newest = served.entry(status.partition).or_insert(status);
        if newest.session < status.session {
            *newest = status;
        }
    }
    served
}

fn node_line(node: &NodeView, status: Option<&NodeStatus>) -> NodeLine {
    NodeLine {
        node: node.node.0,
        address: node.address.to_string(),
        live: node.live,
        coordinator: status.map(|status| status.coordinator),
    }
}

fn partition_line(view: &PartitionView, status: Option<&PartitionStatus>) -> PartitionLine {
    let number = |mark: Mark| mark.id().map(|id| id.0);
    let committed = status.map_or(Mark::NONE, |status| status.committed);
    let replicas = status.map_or(&[][..], |status| &status.replicas);
    PartitionLine {
        partition: view.partition.0,
        owner: view.owner.map(|owner| owner.0),
        generation: view.generation.0,
        session: status.and_then(|status| status.session).map(|session| session.to_string()),
        open: status.is_some_and(|status| status.open),
        hwm: number(committed),
        replicas: replicas
            .iter()
            .map(|replica| ReplicaLine {
                node: replica.node.0,
                state: replica.state.clone(),
                last: number(replica.last),
                lag: committed.count().saturating_sub(replica.last.count()),
            })
            .collect(),
    }
}

fn print_tables(status: &ClusterStatus, output: &mut Output) -> std::io::Result<()> {
    let or_none = |number: Option<u64>| number.map_or("none".to_owned(), |n| n.to_string());
    let mut nodes = Table::new(["node", "address", "live", "coordinator"]);
    for node in &status.nodes {
        let coordinator = match node.coordinator {
            Some(true) => "reached",
            Some(false) => "away",
            None => "unknown",
        };
        let live = if node.live { "yes" } else { "no" };
        nodes.row([node.node.to_string(), node.address.clone(), live.into(), coordinator.into()]);
    }
    let mut partitions = Table::new(["partition", "owner", "session", "open", "hwm"]);
    let mut replicas = Table::new(["partition", "replica", "state", "last", "lag"]);
    for partition in &status.partitions {
        partitions.row([
            partition.partition.to_string(),
            partition.owner.map_or("none".into(), |owner| owner.to_string()),
            partition.session.clone().unwrap_or_else(|| "none".into()),
            if partition.open { "yes".into() } else { "no".into() },
            or_none(partition.hwm),
        ]);
        for replica in &partition.replicas {
            replicas.row([
                partition.partition.to_string(),
                replica.node.to_string(),
                replica.state.clone(),
                or_none(replica.last),
                replica.lag.to_string(),
            ]);
        }
    }
    output.line(nodes)?;
    output.line(format_args!("\n{partitions}"))?;
    output.line(format_args!("\n{replicas}"))
}
