//! Requests of operators in words.

use waltz_client::{NodeId, OperatorRequest};

use crate::commands::ranges::written;

/// What a request asks for.
pub(super) fn words(request: &OperatorRequest) -> String {
    match request {
        OperatorRequest::SetReplicas { partition, nodes } => {
            format!("partition {}: replicas on nodes {}", partition.0, node_list(nodes))
        }
        OperatorRequest::Recover { partition, survivors, version } => format!(
            "partition {}: recovery with what is left on nodes {}, over set {version}",
            partition.0,
            node_list(survivors)
        ),
        OperatorRequest::Trim { partition, start } => {
            format!("partition {}: everything up to {start} trimmed", partition.0)
        }
        OperatorRequest::AdvanceConsumer { partition, consumer, mark } => {
            format!("partition {}: consumer {consumer:?} at {mark}", partition.0)
        }
        OperatorRequest::RemoveConsumer { partition, consumer } => {
            format!("partition {}: consumer {consumer:?} removed", partition.0)
        }
        OperatorRequest::AddPartitions { partitions } => {
            format!("cluster: {partitions} partitions in all")
        }
        OperatorRequest::DrainServer { node, drained: true } => {
            format!("node {}: drained as a server", node.0)
        }
        OperatorRequest::DrainServer { node, drained: false } => {
            format!("node {}: a server as usual", node.0)
        }
        OperatorRequest::DrainStorage { node, drained: true } => {
            format!("node {}: drained as a storage", node.0)
        }
        OperatorRequest::DrainStorage { node, drained: false } => {
            format!("node {}: a storage as usual", node.0)
        }
        OperatorRequest::Prefer { node, partitions, preferred } => {
            let partitions = written(&partitions.iter().copied().collect());
            let verb = if *preferred { "preferred" } else { "preferred no longer" };
            format!("node {}: {verb} for partitions {partitions}", node.0)
        }
        OperatorRequest::PreferRegion { partition, region } => {
            let region = region.as_deref().unwrap_or("any region");
            format!("partition {}: served in {region}", partition.0)
        }
        OperatorRequest::CreateCluster { partitions, replicas } => {
            format!("cluster: made, of {partitions} partitions with {replicas} replicas each")
        }
        OperatorRequest::SetLoads { loads } if loads.is_empty() => {
            "cluster: servers balanced by the number of partitions alone".to_owned()
        }
        OperatorRequest::SetLoads { loads } => {
            format!("cluster: servers balanced by the load of {} partitions", loads.len())
        }
        OperatorRequest::DeleteCluster => "cluster: deleted".to_owned(),
        OperatorRequest::ForgetNode { node } => format!("node {}: forgotten", node.0),
        OperatorRequest::RestoreCluster { replicas, partitions } => format!(
            "cluster: restored, of {} partitions, {replicas} replicas for each new one",
            partitions.len()
        ),
    }
}

/// Nodes as people write them.
pub(super) fn node_list(nodes: &[NodeId]) -> String {
    nodes.iter().map(|node| node.0.to_string()).collect::<Vec<_>>().join(",")
}
