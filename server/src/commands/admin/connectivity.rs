//! `waltz admin connectivity`: who reaches whom, and how fast.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;
use waltz_client::{ClusterView, NoDatabase, NodeId, NodeStatus, NodeView, Partitions};

use super::operator::Operator;
use crate::args::ServerArgs;
use crate::commands::connect::{config, connect};
use crate::exit::Exit;
use crate::output::Table;

/// How many answers the round-trip time is the least of.
const ROUNDS: usize = 5;

/// Connect to every node from this machine, and ask each whether it reaches the coordinator and the
/// nodes of the partitions that it serves. Exits with 1 if anybody who is up can't be reached.
#[derive(Debug, Args)]
pub struct ConnectivityArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// A node, seen from here.
#[derive(Debug, Serialize)]
struct Reach {
    node: u32,
    address: String,
    live: bool,
    /// From no connection to the first answer, in milliseconds.
    connect_ms: Option<f64>,
    /// From a question to its answer, in milliseconds: the least of some.
    round_trip_ms: Option<f64>,
    /// Whether it reaches the coordinator.
    coordinator: Option<bool>,
    /// The nodes whose replicas it needs.
    peers: Vec<u32>,
    /// Those among them that it does not reach.
    unreachable: Vec<u32>,
    /// Why it can't be reached from here.
    error: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When no node at all can be reached.
pub async fn run(args: ConnectivityArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::looking(&args.server).await?;
    let view = operator.client.cluster().await.context("no node told how the cluster is")?;
    let mut asked = JoinSet::new();
    for node in view.nodes.clone() {
        asked.spawn(reach(args.server.clone(), node));
    }
    let mut reached = asked.join_all().await;
    reached.sort_by_key(|reach| reach.node);
    let is_bad = reached.iter().any(|reach| is_bad(reach, &view));
    match operator.json {
        true => reached.iter().try_for_each(|reach| operator.output.json(reach))?,
        false => operator.output.line(table(&reached))?,
    }
    operator.leave(if is_bad { Exit::Failure } else { Exit::Success }).await
}

/// Connects to one node alone, and asks it.
async fn reach(mut args: ServerArgs, node: NodeView) -> Reach {
    let mut reach = Reach {
        node: node.node.0,
        address: node.address.to_string(),
        live: node.live,
        connect_ms: None,
        round_trip_ms: None,
        coordinator: None,
        peers: Vec::new(),
        unreachable: Vec::new(),
        error: None,
    };
    args.server = vec![reach.address.clone()];
    match measure(&args, node.node).await {
        Ok((connect, round_trip, status)) => {
            reach.connect_ms = Some(milliseconds(connect));
            reach.round_trip_ms = Some(milliseconds(round_trip));
            reach.coordinator = Some(status.coordinator);
            let (peers, unreachable) = peers(&status);
            (reach.peers, reach.unreachable) = (peers, unreachable);
        }
        Err(error) => reach.error = Some(crate::exit::explain(&error)),
    }
    reach
}

async fn measure(
    args: &ServerArgs,
    node: NodeId,
) -> anyhow::Result<(Duration, Duration, NodeStatus)> {
    let begun = Instant::now();
    let client = connect(config(args).partitions(Partitions::none()), NoDatabase::newest()).await?;
    let mut status = client.status(Some(node)).await?;
    let connected = begun.elapsed();
    let mut least = Duration::MAX;
    for _ in 0..ROUNDS {
        let asked = Instant::now();
        status = client.status(Some(node)).await?;
        least = least.min(asked.elapsed());
    }
    client.close().await;
    Ok((connected, least, status))
}

/// The nodes that a node deals with for the partitions it serves, and those it does not reach.
fn peers(status: &NodeStatus) -> (Vec<u32>, Vec<u32>) {
    let replicas = || status.partitions.iter().flat_map(|partition| &partition.replicas);
    let is_lost = |state: &str| state == "unreachable";
    let all: BTreeSet<_> = replicas().map(|replica| replica.node.0).collect();
    let lost = replicas().filter(|replica| is_lost(&replica.state)).map(|replica| replica.node.0);
    let lost: BTreeSet<_> = lost.collect();
    (all.into_iter().collect(), lost.into_iter().collect())
}

/// Whether somebody who is up is not reached, from here or by this node.
fn is_bad(reach: &Reach, view: &ClusterView) -> bool {
    let is_live = |number: &u32| view.nodes.iter().any(|n| n.node.0 == *number && n.live);
    reach.live && (reach.error.is_some() || reach.coordinator != Some(true))
        || reach.unreachable.iter().any(is_live)
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

fn table(reached: &[Reach]) -> Table {
    let mut table = Table::new([
        "node",
        "address",
        "state",
        "connect ms",
        "round trip ms",
        "coordinator",
        "reaches",
        "problem",
    ]);
    let time = |time: Option<f64>| time.map_or("none".to_owned(), |time| format!("{time:.3}"));
    for reach in reached {
        let coordinator = match reach.coordinator {
            Some(true) => "reached",
            Some(false) => "away",
            None => "unknown",
        };
        let lost: Vec<_> = reach.unreachable.iter().map(u32::to_string).collect();
        let problem = match (&reach.error, lost.is_empty()) {
            (Some(error), _) => error.clone(),
            (None, true) => String::new(),
            (None, false) => format!("does not reach node {}", lost.join(", ")),
        };
        table.row([
            reach.node.to_string(),
            reach.address.clone(),
            if reach.live { "up".into() } else { "down".into() },
            time(reach.connect_ms),
            time(reach.round_trip_ms),
            coordinator.into(),
            format!("{} of {}", reach.peers.len() - reach.unreachable.len(), reach.peers.len()),
            problem,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(node: u32) -> Reach {
        Reach {
            node,
            address: String::new(),
            live: true,
            connect_ms: Some(1.0),
            round_trip_ms: Some(0.5),
            coordinator: Some(true),
            peers: vec![1, 2],
            unreachable: Vec::new(),
            error: None,
        }
    }

    fn view(live: [bool; 2]) -> ClusterView {
        let node = |(number, live): (u32, bool)| NodeView {
            node: NodeId(number),
            address: waltz_client::Address(String::new()),
            live,
            storage: None,
        };
        let nodes = (1..).zip(live).map(node).collect();
        ClusterView { partitions: Vec::new(), nodes }
    }

    #[test]
    fn only_those_who_are_up_have_to_be_reached() {
        let lost = || Reach { unreachable: vec![2], ..reach(1) };
        assert!(!is_bad(&reach(1), &view([true, true])));
        assert!(is_bad(&lost(), &view([true, true])));
        assert!(!is_bad(&lost(), &view([true, false])));
        let silent = || Reach { error: Some("refused".to_owned()), coordinator: None, ..reach(2) };
        assert!(is_bad(&silent(), &view([true, true])));
        assert!(!is_bad(&Reach { live: false, ..silent() }, &view([true, false])));
        assert!(is_bad(&Reach { coordinator: Some(false), ..reach(1) }, &view([true, true])));
    }
}
