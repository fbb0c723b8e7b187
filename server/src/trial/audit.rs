//! After the work: what everyone ended up with, and whether it is as it must be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, bail};
use waltz_bank::{Audit, Replay, Totals, Violation};
use waltz_client::{Mark, NoDatabase, PartitionId, Partitions};

use super::PATIENCE;
use super::logs::{Digest, digests};
use super::work::{Bank, Plan};
use crate::cluster::LocalCluster;
use crate::commands::connect::connect;
use crate::commands::status::{ClusterStatus, PartitionLine, gather};

const POLL: Duration = Duration::from_millis(100);

/// One thing that must hold, and what speaks against it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// What must hold.
    pub name: &'static str,
    /// Nothing, when it does.
    pub violations: Vec<String>,
}

/// Everything that can be known after a run.
#[derive(Debug)]
pub struct Evidence {
    /// Sums over all operations.
    pub totals: Totals,
    /// Each partition's committed log.
    pub partitions: BTreeMap<PartitionId, Digest>,
    /// What was checked.
    pub checks: Vec<Check>,
}

impl Evidence {
    /// Waits until everything has come to rest, reads it all, stops the nodes and reads their
    /// disks.
    ///
    /// # Errors
    /// When it does not come to rest, or can't be read.
    pub async fn collect(
        bank: Bank,
        plan: &Plan<'_>,
        mut cluster: LocalCluster,
    ) -> anyhow::Result<Self> {
        bank.settle().await?;
        let sets = wait_until_whole(&bank).await?;
        let read = Replay::read(bank.runtime.clone(), bank.config.clone(), plan.opening_cents);
        let (replay, dense) = match read.await {
            Ok(replay) => (replay, Vec::new()),
            Err(error) => (Replay::new(plan.opening_cents), vec![error.to_string()]),
        };
        bank.close().await;
        cluster.stop(PATIENCE).await?;
        let (partitions, unlike) = compare_logs(&cluster, &sets, &replay);
        let (shared, derived) = (bank.shared.balances()?, bank.derived.balances()?);
        let statements = bank.derived.statements()?;
        let audit = Audit {
            tally: &bank.tally,
            replay: &replay,
            shared: &shared,
            derived: &derived,
            statements: &statements,
            opening_cents: plan.opening_cents,
            ledger: plan.ledger,
        };
        let mut checks = vec![
            Check { name: "ids are dense and no operation is in the log twice", violations: dense },
            Check { name: "the logs of all replicas are identical", violations: unlike },
        ];
        checks.extend(sort(audit.violations(), plan));
        Ok(Self { totals: bank.tally.totals(), partitions, checks })
    }
}

/// On which nodes each partition has replicas.
type Sets = BTreeMap<PartitionId, BTreeSet<u32>>;

/// Every partition has a server, and every replica has everything.
async fn wait_until_whole(bank: &Bank) -> anyhow::Result<Sets> {
    let config = bank.config.clone().partitions(Partitions::none());
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

/// The logs on the disks of all replicas, up to what the replay saw, side by side.
fn compare_logs(
    cluster: &LocalCluster,
    sets: &Sets,
    replay: &Replay,
) -> (BTreeMap<PartitionId, Digest>, Vec<String>) {
    let (mut partitions, mut violations) = (BTreeMap::<PartitionId, Digest>::new(), Vec::new());
    for (node, data) in cluster.data_directories() {
        let logs = digests(data, node, replay.marks())
            .context("the log of a replica can't be read from its disk");
        let logs = match logs {
            Ok(logs) => logs,
            Err(error) => {
                violations.push(format!("{error:#}"));
                continue;
            }
        };
        let is_here = |partition| sets.get(partition).is_some_and(|nodes| nodes.contains(&node));
        for (partition, mark) in replay.marks().iter().filter(|(partition, _)| is_here(partition)) {
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

/// Violations under the check that they belong to.
fn sort(violations: Vec<Violation>, plan: &Plan<'_>) -> Vec<Check> {
    let check = |name| Check { name, violations: Vec::new() };
    let mut ends = check("every submitted context ended once, as it was told");
    let mut equal = check("the shared database, the derived one and the replayed log are equal");
    let mut money = check(match plan.ledger {
        None => "money is conserved",
        Some(_) => "the balance after each row is the bank's own",
    });
    for violation in violations {
        let check = match violation {
            Violation::Endings { .. }
            | Violation::Callbacks { .. }
            | Violation::Lost { .. }
            | Violation::Risen { .. }
            | Violation::Foreign { .. } => &mut ends,
            Violation::Balance { .. } | Violation::Statement { .. } => &mut equal,
            Violation::Money { .. } | Violation::Ledger { .. } => &mut money,
        };
        check.violations.push(violation.to_string());
    }
    vec![money, equal, ends]
}
