//! Replicas at the end of a run: whether all are there, and whether all are alike.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, bail};
use waltz_client::{ClientConfig, Mark, NoDatabase, PartitionId, Partitions};

use super::PATIENCE;
use super::logs::{Digest, digests};
use crate::cluster::LocalCluster;
use crate::commands::connect::connect;
use crate::commands::status::{ClusterStatus, PartitionLine, gather};

const POLL: Duration = Duration::from_millis(100);

/// On which nodes each partition has replicas.
pub type Sets = BTreeMap<PartitionId, BTreeSet<u32>>;

/// Waits until every partition has a server, and every replica has everything.
///
/// # Errors
/// When that takes too long, or nobody can be asked.
pub async fn wait_until_whole(config: &ClientConfig) -> anyhow::Result<Sets> {
    let config = config.clone().partitions(Partitions::none());
    let client = connect(config, NoDatabase::newest()).await?;
    let waiting = async {
        loop {
            let status = gather(&client).await?;
            let whole = status.partitions.iter().all(|partition| {
                partition.open
                    && !partition.replicas.is_empty()
                    && partition.replicas.iter().all(|replica| replica.last == partition.hwm)
            });
            if whole {
                return anyhow::Ok(sets(&status));
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let sets = match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(sets) => sets?,
        Err(_) => bail!("a replica did not catch up within {} s", PATIENCE.as_secs()),
    };
    client.close().await;
    Ok(sets)
}

fn sets(status: &ClusterStatus) -> Sets {
    let set = |line: &PartitionLine| line.members.iter().map(|member| member.node).collect();
    status.partitions.iter().map(|line| (PartitionId(line.partition), set(line))).collect()
}

/// The logs on the disks of all replicas, up to these marks, side by side: one of each partition,
/// and where others differ from it. The nodes must not be running.
pub fn compare_logs(
    cluster: &LocalCluster,
    sets: &Sets,
    marks: &BTreeMap<PartitionId, Mark>,
) -> (BTreeMap<PartitionId, Digest>, Vec<String>) {
    let (mut partitions, mut violations) = (BTreeMap::<PartitionId, Digest>::new(), Vec::new());
    for (node, data) in cluster.data_directories() {
        let logs =
            digests(data, node, marks).context("the log of a replica can't be read from its disk");
        let logs = match logs {
            Ok(logs) => logs,
            Err(error) => {
                violations.push(format!("{error:#}"));
                continue;
            }
        };
        let is_here = |partition| sets.get(partition).is_some_and(|nodes| nodes.contains(&node));
        for (partition, mark) in marks.iter().filter(|(partition, _)| is_here(partition)) {
            let found = logs.get(partition).copied();
            let Some(found) = found.filter(|log| log.last == *mark) else {
                let last = found.map_or(Mark::NONE, |log| log.last);
                violations.push(format!("node {node} has {partition} up to {last}, not {mark}"));
                continue;
            };
            let first = partitions.entry(*partition).or_insert(found);
            if first.hash != found.hash {
                violations.push(format!(
                    "{partition} is {:016x} on node {node} and {:016x} elsewhere",
                    found.hash, first.hash
                ));
            }
        }
    }
    (partitions, violations)
}
