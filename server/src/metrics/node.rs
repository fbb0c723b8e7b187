//! The node as a whole: who it is, whether it answers, and whom it is connected to.

use waltz_core::measure::Measurements;
use waltz_core::wire::Version;

use super::Snapshot;
use super::metric::Metric;

pub(super) fn metrics(snapshot: &Snapshot<'_>) -> Vec<Metric> {
    let node = snapshot.measurements;
    let about = |figure: fn(&Measurements) -> bool| node.map(figure);
    let build = vec![env!("CARGO_PKG_VERSION").to_owned(), Version::NEWEST.to_string()];
    let who = vec![snapshot.node.to_string(), snapshot.cluster.to_owned()];
    vec![
        Metric::gauge("waltz_build_info", "1, of this release and newest version of the protocol.")
            .by(&["version", "protocol"])
            .samples([(build, true)]),
        Metric::gauge("waltz_node_info", "1, of this node of this cluster.")
            .by(&["node", "cluster"])
            .samples([(who, true)]),
        Metric::gauge(
            "waltz_loop_answered",
            "1 if the node's loop answered this scrape in time; without that, all that only the loop \
             knows is left out.",
        )
        .value(Some(node.is_some())),
        Metric::gauge("waltz_ready", "1 if the node is ready, as /readyz says.")
            .value(about(|node| node.missing().is_empty())),
        Metric::gauge(
            "waltz_coordinator_registered",
            "1 if the coordinator has registered this life of the node.",
        )
        .value(about(|node| node.is_registered)),
        Metric::gauge(
            "waltz_coordinator_synced",
            "1 if the coordinator is connected and its state is known here.",
        )
        .value(about(|node| node.is_synced)),
        Metric::gauge("waltz_controls", "1 if this node assigns the cluster's partitions.")
            .value(about(|node| node.controls)),
        Metric::gauge(
            "waltz_cluster_partitions",
            "Partitions of the cluster, as far as this node knows.",
        )
        .value(node.map(|node| node.cluster_partitions)),
        Metric::gauge(
            "waltz_recent_bytes",
            "Bytes of the newest committed records that are kept in memory, of all partitions served \
             here.",
        )
        .value(node.map(|node| node.recent_bytes)),
        Metric::gauge(
            "waltz_connections",
            "Connections: from clients, from nodes that ask this one, to peers that it asks, and from \
             strangers who have not said who they are.",
        )
        .by(&["kind"])
        .samples(node.into_iter().flat_map(connections)),
    ]
}

fn connections(node: &Measurements) -> Vec<(Vec<String>, u64)> {
    let connections = node.connections;
    let kinds = [
        ("client", connections.clients),
        ("node", connections.nodes),
        ("peer", connections.peers),
        ("stranger", connections.strangers),
    ];
    kinds.map(|(kind, count)| (vec![kind.to_owned()], count)).to_vec()
}
