//! All nodes that a cluster has recorded, and where and how full they are.

use std::collections::BTreeMap;

use anyhow::Context;
use waltz_client::{Client, NodeId, NodeRegistration};

/// Every node that is registered, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Roster(BTreeMap<NodeId, NodeRegistration>);

impl Roster {
    /// Asks whichever node answers.
    ///
    /// # Errors
    /// When none does, or it is of a release that can't tell.
    pub(super) async fn take(client: &Client) -> anyhow::Result<Self> {
        let inspection =
            client.inspect(None).await.context("no node told which nodes there are")?;
        Ok(Self::of(inspection.nodes))
    }

    /// A roster of these.
    pub(super) fn of(nodes: Vec<NodeRegistration>) -> Self {
        Self(nodes.into_iter().map(|node| (node.node, node)).collect())
    }

    /// All nodes, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = &NodeRegistration> {
        self.0.values()
    }

    /// A node, if it was ever registered.
    pub(super) fn node(&self, node: NodeId) -> Option<&NodeRegistration> {
        self.0.get(&node)
    }
}
