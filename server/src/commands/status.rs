//! `waltz status`

use clap::Args;
use serde::Serialize;
use waltz_client::{
    Client, Mark, NoDatabase, NodeStatus, NodeView, PartitionStatus, PartitionView, Partitions,
    ReplicaStatus,
};
use waltz_core::id::{Member, ReplicaSet};

use super::connect::{config, connect};
use super::survey::Survey;
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
    /// The last transaction that was trimmed.
    pub start: Option<u64>,
    /// The version of its newest known replica set.
    pub version: u64,
    /// That set.
    pub members: Vec<MemberLine>,
    /// The replicas that an operator wants, if one has said so.
    pub target: Option<Vec<MemberLine>>,
    /// Its replicas, as its server sees them: those of the set, and those to be added.
    pub replicas: Vec<ReplicaLine>,
    /// Its registered consumers.
    pub consumers: Vec<ConsumerLine>,
}

/// A replica by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MemberLine {
    /// Its node.
    pub node: u32,
    /// Its disk.
    pub disk: String,
}

impl From<Member> for MemberLine {
    fn from(member: Member) -> Self {
        Self { node: member.node.0, disk: member.storage.to_string() }
    }
}

/// One replica.
#[derive(Debug, Serialize)]
pub struct ReplicaLine {
    /// Its node.
    pub node: u32,
    /// The disk that answered.
    pub disk: Option<String>,
    /// Whether it counts for a majority; one that does not learns, or is gone.
    pub counts: bool,
    /// What it is doing.
    pub state: String,
    /// Its last durable transaction.
    pub last: Option<u64>,
    /// How many committed transactions it lacks.
    pub lag: u64,
    /// How many transactions it is known to be unable to read.
    pub damaged: u64,
    /// The last transaction that it knows to be committed.
    pub low_water: Option<u64>,
}

impl ReplicaLine {
    /// Whether it counts and takes part in the session.
    pub fn has_joined(&self) -> bool {
        // The word may be followed by the version of the protocol that an older node speaks.
        self.counts && self.state.starts_with("joined")
    }
}

/// One registered consumer.
#[derive(Debug, Serialize)]
pub struct ConsumerLine {
    /// Its name.
    pub name: String,
    /// What it has applied.
    pub applied: Option<u64>,
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
    Ok(ClusterStatus::of(&Survey::take(client).await?))
}

impl ClusterStatus {
    /// The cluster, put together from what was answered.
    pub fn of(survey: &Survey) -> Self {
        let (view, served) = (&survey.view, survey.served());
        let partition = |partition: &PartitionView| {
            partition_line(partition, served.get(&partition.partition).copied())
        };
        Self {
            nodes: view
                .nodes
                .iter()
                .map(|node| node_line(node, survey.status(node.node)))
                .collect(),
            partitions: view.partitions.iter().map(partition).collect(),
        }
    }
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
    let committed = status.map_or(Mark::NONE, |status| status.committed);
    let newest = status.filter(|status| status.version >= view.version);
    let (version, members) = match newest {
        Some(status) => (status.version, &status.members),
        None => (view.version, &view.replicas),
    };
    let replicas = status.map_or(&[][..], |status| &status.replicas);
    let consumers = status.map_or(&[][..], |status| &status.consumers);
    PartitionLine {
        partition: view.partition.0,
        owner: view.owner.map(|owner| owner.0),
        generation: view.generation.0,
        session: status.and_then(|status| status.session).map(|session| session.to_string()),
        open: status.is_some_and(|status| status.open),
        hwm: number(committed),
        start: status.and_then(|status| number(status.start)),
        version: version.0,
        members: members_of(members),
        target: status.and_then(|status| status.target.as_ref()).map(members_of),
        replicas: replicas.iter().map(|replica| replica_line(replica, committed)).collect(),
        consumers: consumers
            .iter()
            .map(|(name, mark)| ConsumerLine { name: name.clone(), applied: number(*mark) })
            .collect(),
    }
}

/// The replicas of a set, ascending.
pub fn members_of(set: &ReplicaSet) -> Vec<MemberLine> {
    let mut members: Vec<_> = set.0.iter().copied().map(MemberLine::from).collect();
    members.sort_unstable();
    members
}

fn replica_line(replica: &ReplicaStatus, committed: Mark) -> ReplicaLine {
    let state = match (replica.wiped, replica.counts, replica.storage) {
        (true, false, None) => "wiped".to_owned(),
        (_, false, Some(_)) => format!("learner, {}", replica.state),
        _ => replica.state.clone(),
    };
    ReplicaLine {
        node: replica.node.0,
        disk: replica.storage.map(|storage| storage.to_string()),
        counts: replica.counts,
        state,
        last: number(replica.last),
        lag: committed.count().saturating_sub(replica.last.count()),
        damaged: replica.damaged,
        low_water: number(replica.low_water),
    }
}

fn number(mark: Mark) -> Option<u64> {
    mark.id().map(|id| id.0)
}

fn print_tables(status: &ClusterStatus, output: &mut Output) -> std::io::Result<()> {
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
    output.line(nodes)?;
    output.line(format_args!("\n{}", partition_table(&status.partitions)))?;
    output.line(format_args!("\n{}", replica_table(&status.partitions)))?;
    let consumers = consumer_table(&status.partitions);
    match consumers.is_empty() {
        true => Ok(()),
        false => output.line(format_args!("\n{consumers}")),
    }
}

/// The partitions, a row each.
pub fn partition_table(lines: &[PartitionLine]) -> Table {
    let mut table = Table::new([
        "partition",
        "owner",
        "session",
        "open",
        "start",
        "hwm",
        "set",
        "replicas",
        "target",
    ]);
    for line in lines {
        table.row([
            line.partition.to_string(),
            line.owner.map_or("none".into(), |owner| owner.to_string()),
            line.session.clone().unwrap_or_else(|| "none".into()),
            if line.open { "yes".into() } else { "no".into() },
            or_none(line.start),
            or_none(line.hwm),
            format!("v{}", line.version),
            nodes_of(&line.members),
            line.target.as_deref().map_or("none".into(), nodes_of),
        ]);
    }
    table
}

/// The partitions' registered consumers, a row each.
pub fn consumer_table(lines: &[PartitionLine]) -> Table {
    let mut table = Table::new(["partition", "consumer", "applied"]);
    for partition in lines {
        for ConsumerLine { name, applied } in &partition.consumers {
            table.row([partition.partition.to_string(), name.clone(), or_none(*applied)]);
        }
    }
    table
}

/// The partitions' replicas, a row each.
pub fn replica_table(lines: &[PartitionLine]) -> Table {
    let mut table = Table::new(["partition", "replica", "disk", "state", "last", "lag", "damaged"]);
    for line in lines {
        for replica in &line.replicas {
            table.row([
                line.partition.to_string(),
                replica.node.to_string(),
                replica.disk.clone().unwrap_or_else(|| "unknown".into()),
                replica.state.clone(),
                or_none(replica.last),
                replica.lag.to_string(),
                replica.damaged.to_string(),
            ]);
        }
    }
    table
}

/// The nodes of replicas, as people write them.
pub fn nodes_of(members: &[MemberLine]) -> String {
    members.iter().map(|member| member.node.to_string()).collect::<Vec<_>>().join(",")
}

/// A number for people.
pub fn or_none(number: Option<u64>) -> String {
    number.map_or("none".to_owned(), |number| number.to_string())
}
