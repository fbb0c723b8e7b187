//! Which logs a cluster has, as an archive names them.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use waltz_archive::LogName;
use waltz_client::{Client, FeedError, FeedOptions, PartitionId, PartitionStatus, Start};
use waltz_core::id::{CreationId, Member};

use crate::commands::survey::{Survey, inspect_all};

/// What the nodes say of the logs of some partitions.
#[derive(Debug)]
pub struct Logs(Vec<(LogName, PartitionStatus)>);

impl Logs {
    /// Asks the nodes, once all of these partitions are served.
    ///
    /// # Errors
    /// When one is not, or nobody says what log it has.
    pub async fn find(client: &Client, partitions: &BTreeSet<PartitionId>) -> anyhow::Result<Self> {
        for partition in partitions {
            wait_until_served(client, *partition).await?;
        }
        let survey = Survey::take(client).await?;
        let inspections = inspect_all(client, &survey.view).await?;
        let replicas = inspections.values().flatten().flat_map(|node| {
            let member = |storage| Member { node: node.node, storage };
            node.replicas.iter().map(move |replica| (node.storage.map(member), replica))
        });
        let replicas: Vec<_> = replicas.collect();
        let served = survey.served();
        let find = |partition: PartitionId| {
            let status = *served.get(&partition).context("nobody serves it now; try again")?;
            let of_set = replicas.iter().find(|(member, replica)| {
                replica.partition == partition
                    && member.is_some_and(|member| status.members.contains(member))
            });
            let creation: CreationId =
                of_set.context("no node that keeps it says what it keeps")?.1.creation;
            anyhow::Ok((LogName { partition, creation }, status.clone()))
        };
        let logs = partitions.iter().map(|partition| {
            find(*partition).with_context(|| format!("partition {} can't be archived", partition.0))
        });
        Ok(Self(logs.collect::<Result<_, _>>()?))
    }

    /// The log of one of the partitions asked for, and how its server says that it is.
    ///
    /// # Errors
    /// When it was not asked for.
    pub fn of(&self, partition: PartitionId) -> anyhow::Result<(LogName, &PartitionStatus)> {
        match self.0.iter().find(|(log, _)| log.partition == partition) {
            Some((log, status)) => Ok((*log, status)),
            None => bail!("partition {} is not known", partition.0),
        }
    }
}

/// Reads a log at its end: that a server does once it serves it, whether or not it can read the rest.
async fn wait_until_served(client: &Client, partition: PartitionId) -> anyhow::Result<()> {
    let options = FeedOptions::new().headers_only().until_now();
    match client.feed_with(partition, Start::Newest, options).next_batch().await {
        None | Some(Ok(_) | Err(FeedError::Trimmed { .. })) => Ok(()),
        Some(Err(error)) => {
            Err(error).with_context(|| format!("partition {} can't be read", partition.0))
        }
    }
}
