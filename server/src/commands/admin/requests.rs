//! Requests of operators in words.

use waltz_client::{NodeId, OperatorRequest};

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
        other => format!("{other:?}"),
    }
}

/// Nodes as people write them.
pub(super) fn node_list(nodes: &[NodeId]) -> String {
    nodes.iter().map(|node| node.0.to_string()).collect::<Vec<_>>().join(",")
}
