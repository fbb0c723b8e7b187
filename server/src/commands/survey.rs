//! What every node of a cluster says of it, asked at once.

use std::collections::BTreeMap;

use anyhow::Context;
use tokio::task::JoinSet;
use waltz_client::{
    Client, ClientError, ClusterView, NodeId, NodeInspection, NodeStatus, PartitionId,
    PartitionStatus,
};

/// One node's description of the cluster, and how each live node says that it is itself.
#[derive(Debug)]
pub struct Survey {
    /// The cluster as the node that was reached knows it.
    pub view: ClusterView,
    /// What each live node answered, or why it did not.
    pub answers: BTreeMap<NodeId, Result<NodeStatus, ClientError>>,
}

impl Survey {
    /// Asks every live node, all at once. One that does not answer is warned of.
    ///
    /// # Errors
    /// When no node describes the cluster.
    pub async fn take(client: &Client) -> anyhow::Result<Self> {
        let view = client.cluster().await.context("no node told how the cluster is")?;
        let ask = |client: Client, node| async move { client.status(Some(node)).await };
        let answers = ask_all(client, &view, ask).await?;
        Ok(Self { view, answers })
    }

    /// What a node said of itself, if it answered.
    pub fn status(&self, node: NodeId) -> Option<&NodeStatus> {
        self.answers.get(&node)?.as_ref().ok()
    }

    /// What the nodes that answered said of themselves.
    pub fn statuses(&self) -> impl Iterator<Item = &NodeStatus> {
        self.answers.values().filter_map(|answer| answer.as_ref().ok())
    }

    /// Each partition as its server sees it. For a short while two nodes may believe to serve a
    /// partition: the higher session is the one.
    pub fn served(&self) -> BTreeMap<PartitionId, &PartitionStatus> {
        let mut served = BTreeMap::<_, &PartitionStatus>::new();
        for status in self.statuses().flat_map(|node| &node.partitions) {
            let newest = served.entry(status.partition).or_insert(status);
            if newest.session < status.session {
                *newest = status;
            }
        }
        served
    }
}

/// What each live node knows of the cluster's record and keeps on its disk, or why it did not tell.
///
/// # Errors
/// When nobody can be asked.
pub async fn inspect_all(
    client: &Client,
    view: &ClusterView,
) -> anyhow::Result<BTreeMap<NodeId, Result<NodeInspection, ClientError>>> {
    let ask = |client: Client, node| async move { client.inspect(Some(node)).await };
    ask_all(client, view, ask).await
}

/// Asks every live node at the same time.
async fn ask_all<T, F>(
    client: &Client,
    view: &ClusterView,
    ask: impl Fn(Client, NodeId) -> F,
) -> anyhow::Result<BTreeMap<NodeId, Result<T, ClientError>>>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ClientError>> + Send + 'static,
{
    let mut answers = BTreeMap::new();
    let mut asked = JoinSet::new();
    for node in view.nodes.iter().filter(|node| node.live).map(|node| node.node) {
        let answer = ask(client.clone(), node);
        asked.spawn(async move { (node, answer.await) });
    }
    while let Some(answer) = asked.join_next().await {
        let (node, answer) = answer.context("could not ask a node")?;
        if let Err(error) = &answer {
            tracing::warn!(node = node.0, %error, "a node did not answer");
        }
        answers.insert(node, answer);
    }
    Ok(answers)
}
