//! Which logs a cluster has, as an archive names them.

use std::collections::BTreeMap;

use anyhow::Context;
use waltz_archive::LogName;
use waltz_client::{Client, FeedError, FeedOptions, PartitionId, PartitionStatus, Start};
use waltz_core::id::{CreationId, Member};

use crate::commands::survey::{Survey, inspect_all};

/// What the nodes say of the logs of some partitions.
#[derive(Debug)]
pub struct Logs {
    served: BTreeMap<PartitionId, PartitionStatus>,
    creations: BTreeMap<PartitionId, Vec<(Member, CreationId)>>,
}

impl Logs {
    /// Asks the nodes.
    ///
    /// # Errors
    /// When no node describes the cluster.
    pub async fn ask(client: &Client) -> anyhow::Result<Self> {
        let survey = Survey::take(client).await?;
        let inspections = inspect_all(client, &survey.view).await?;
        let mut creations = BTreeMap::<_, Vec<_>>::new();
        for node in inspections.values().flatten() {
            let Some(storage) = node.storage else { continue };
            let member = Member { node: node.node, storage };
            for replica in &node.replicas {
                creations.entry(replica.partition).or_default().push((member, replica.creation));
            }
        }
        let served = survey.served().into_iter().map(|(id, status)| (id, status.clone()));
        Ok(Self { served: served.collect(), creations })
    }

    /// A partition's log, and how its server says that it is.
    ///
    /// # Errors
    /// When nobody serves it, or says what log it has.
    pub fn of(&self, partition: PartitionId) -> anyhow::Result<(LogName, &PartitionStatus)> {
        let status = self.served.get(&partition).filter(|status| status.open);
        let status = status.context("nobody serves it now; try again")?;
        let replicas = self.creations.get(&partition).into_iter().flatten();
        let mut of_set = replicas.filter(|(member, _)| status.members.contains(*member));
        let (_, creation) = *of_set.next().context("no node that keeps it says what it keeps")?;
        Ok((LogName { partition, creation }, status))
    }
}

/// Reads a log at its end: that a server does once it serves it, whether or not it can read the rest.
///
/// # Errors
/// When nobody serves it in the client's time.
pub async fn wait_until_served(client: &Client, partition: PartitionId) -> anyhow::Result<()> {
    let options = FeedOptions::new().headers_only().until_now();
    match client.feed_with(partition, Start::Newest, options).next_batch().await {
        None | Some(Ok(_) | Err(FeedError::Trimmed { .. })) => Ok(()),
        Some(Err(error)) => {
            Err(error).with_context(|| format!("partition {} can't be read", partition.0))
        }
    }
}
