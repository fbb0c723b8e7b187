//! The cluster that is measured: our own, or one that is already there.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tempfile::TempDir;
use waltz_client::{ClientConfig, NoDatabase, PartitionId, Partitions};

use super::BenchArgs;
use crate::args::working_directory;
use crate::cluster::{ClusterPlan, LocalCluster};
use crate::commands::connect::{connect, require_partition};
use crate::commands::status::gather;
use crate::measure::disk::{SyncSpeed, measure_sync};
use crate::measure::process;
use crate::output::Output;

const PATIENCE: Duration = Duration::from_secs(30);
const QUIET_FOR: Duration = Duration::from_millis(400);

/// Where appended records are durable when they are acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Durability {
    /// Replicas of each partition.
    pub(super) replicas: usize,
    /// How many have synced a record before it is acknowledged.
    pub(super) quorum: usize,
}

/// What the servers used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ServerCost {
    /// Processor time of all nodes together, for each record.
    pub(super) cpu_us_per_record: Option<f64>,
    /// The most memory that each node ever had, in bytes.
    pub(super) peak_memory_bytes: Vec<u64>,
}

/// The cluster under test.
#[derive(Debug)]
pub(super) struct Target {
    addresses: Vec<String>,
    own: Option<(LocalCluster, TempDir)>,
    data: PathBuf,
}

impl Target {
    /// Starts a cluster unless one was named, and waits until it takes appends.
    pub(super) async fn start(args: &BenchArgs) -> anyhow::Result<Self> {
        let target = if args.server.is_empty() {
            let directory = working_directory(args.data.as_ref())
                .context("could not make a directory for the cluster's data; choose with --data")?;
            let program = std::env::current_exe().context("could not find this program")?;
            let plan = ClusterPlan {
                nodes: args.nodes,
                partitions: args.partitions,
                replicas: args.nodes,
                ..ClusterPlan::new(program, directory.path())
            };
            let cluster = LocalCluster::start(&plan).await?;
            let (addresses, data) = (cluster.addresses(), directory.path().to_owned());
            Self { addresses, own: Some((cluster, directory)), data }
        } else {
            let data = args.data.clone().unwrap_or_else(|| PathBuf::from("."));
            Self { addresses: args.server.clone(), own: None, data }
        };
        target.wait_until_open(args.partitions).await?;
        target.wait_until_quiet().await;
        Ok(target)
    }

    /// How to connect to it.
    pub(super) fn config(&self) -> ClientConfig {
        ClientConfig::new(self.addresses.iter().cloned())
            .connect_timeout(PATIENCE)
            .mount_timeout(PATIENCE)
            .request_timeout(PATIENCE)
    }

    /// Mounting everything and flushing is over once every partition has a server.
    async fn wait_until_open(&self, partitions: u32) -> anyhow::Result<()> {
        let client = connect(self.config(), NoDatabase::newest()).await?;
        require_partition(&client, PartitionId(partitions - 1)).await?;
        client.flush().await.context("the cluster did not open all of its partitions")?;
        client.close().await;
        Ok(())
    }

    /// A node that has just started still fills its spare segment with zeros, which is not what is
    /// to be measured.
    async fn wait_until_quiet(&self) {
        let waiting = async {
            let mut before = self.cpu_time();
            loop {
                tokio::time::sleep(QUIET_FOR).await;
                let now = self.cpu_time();
                let used = now.zip(before).map(|(now, before)| now.saturating_sub(before));
                if used.is_none_or(|used| used < QUIET_FOR / 10) {
                    return;
                }
                before = now;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            tracing::warn!("the nodes are busy without work; the figures include what they do");
        }
    }

    /// Where acknowledged records are.
    pub(super) async fn durability(&self) -> anyhow::Result<Durability> {
        let config = self.config().partitions(Partitions::none());
        let client = connect(config, NoDatabase::newest()).await?;
        let status = gather(&client).await?;
        client.close().await;
        let replicas = status.partitions.iter().map(|partition| partition.replicas.len()).min();
        let replicas = replicas.unwrap_or(0);
        Ok(Durability { replicas, quorum: replicas / 2 + 1 })
    }

    /// Processor time used so far by the nodes that were started here.
    pub(super) fn cpu_time(&self) -> Option<Duration> {
        let (cluster, _) = self.own.as_ref()?;
        cluster.processes().into_iter().map(process::cpu_time).sum()
    }

    /// What `records` cost, given the processor time used before and after them.
    pub(super) fn cost(
        &self,
        before: Option<Duration>,
        after: Option<Duration>,
        records: u64,
    ) -> ServerCost {
        let used = after.zip(before).map(|(after, before)| after.saturating_sub(before));
        let cpu_us_per_record =
            used.filter(|_| records > 0).map(|used| used.as_secs_f64() * 1e6 / records as f64);
        let processes = self.own.as_ref().map_or_else(Vec::new, |(cluster, _)| cluster.processes());
        let peak_memory_bytes = processes.into_iter().filter_map(process::peak_memory).collect();
        ServerCost { cpu_us_per_record, peak_memory_bytes }
    }

    /// How fast the file system of the data syncs on its own.
    pub(super) fn sync_speed(&self) -> anyhow::Result<SyncSpeed> {
        measure_sync(&self.data)
            .with_context(|| format!("could not measure the disk under {}", self.data.display()))
    }

    /// Stops what was started here.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some((cluster, _)) = &mut self.own {
            cluster.stop(PATIENCE).await?;
        }
        Ok(())
    }
}

/// The lines that both reports end with.
pub(super) fn print_cost(
    output: &mut Output,
    servers: &ServerCost,
    durable: &Durability,
    disk: &SyncSpeed,
) -> std::io::Result<()> {
    if let Some(cpu) = servers.cpu_us_per_record {
        output.line(format_args!("servers  {cpu:.2} µs of CPU a record, all nodes together"))?;
    }
    if !servers.peak_memory_bytes.is_empty() {
        let peaks: Vec<_> =
            servers.peak_memory_bytes.iter().map(|peak| (peak >> 20).to_string()).collect();
        output.line(format_args!("memory   {} MiB, the peak of each node", peaks.join(", ")))?;
    }
    output.line(format_args!(
        "durable  each record synced on {} of {} replicas before it is acknowledged",
        durable.quorum, durable.replicas
    ))?;
    output.line(format_args!(
        "disk     4 KiB write + fdatasync p50: {:.3} ms growing, {:.3} ms zero-filled",
        disk.growing_p50_ms, disk.zero_filled_p50_ms
    ))
}
