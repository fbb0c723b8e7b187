//! The bank's services at work.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;
use waltz_bank::{
    Database, Ended, Ending, Job, Jobs, Ledger, Projection, Service, Tally, Transfers,
};
use waltz_client::{Client, ClientConfig, NoDatabase, PartitionId, Partitions};
use waltz_runtime_tokio::TokioRuntime;

use super::PATIENCE;
use crate::measure::latency::Latencies;

/// What every account opens with, for transfers.
const OPENING_CENTS: i64 = 100_000;

/// What is to be done, and by whom.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The ledger to play, if not transfers.
    pub ledger: Option<&'a Ledger>,
    /// What accounts open with.
    pub opening_cents: i64,
    /// How many operations there are.
    pub operations: u64,
    jobs: VecDeque<Job>,
    services: u32,
    in_flight: u32,
    lasting: Duration,
}

impl<'a> Plan<'a> {
    /// Plays a ledger: the operations of an account one after the other.
    pub fn ledger(ledger: &'a Ledger, crew: Crew) -> Self {
        let accounts = ledger.by_account().into_values();
        let jobs = accounts.map(|rows| rows.iter().map(|row| row.operation()).collect());
        Self::new(Some(ledger), 0, jobs.collect(), crew)
    }

    /// Makes transfers.
    pub fn transfers(transfers: Transfers, crew: Crew) -> Self {
        Self::new(None, OPENING_CENTS, transfers.map(|transfer| vec![transfer]).collect(), crew)
    }

    fn new(
        ledger: Option<&'a Ledger>,
        opening_cents: i64,
        jobs: VecDeque<Job>,
        crew: Crew,
    ) -> Self {
        let operations = jobs.iter().map(|job| job.len() as u64).sum();
        let Crew { services, in_flight, lasting } = crew;
        Self { ledger, opening_cents, operations, jobs, services, in_flight, lasting }
    }
}

/// Who does the work, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crew {
    /// Service instances that share one database.
    pub services: u32,
    /// Operations under way at once, in each of them.
    pub in_flight: u32,
    /// The work is spread over at least so long.
    pub lasting: Duration,
}

/// All of the bank's processes that are not nodes.
#[derive(Debug)]
pub struct Bank {
    /// They share one database.
    pub services: Vec<Service<TokioRuntime>>,
    /// It derives statements into its own.
    pub consumer: Service<TokioRuntime>,
    /// The services' database.
    pub shared: Database,
    /// The consumer's.
    pub derived: Database,
    /// How everything ended.
    pub tally: Tally,
    /// How to connect.
    pub config: ClientConfig,
    /// Where everything runs.
    pub runtime: TokioRuntime,
}

impl Bank {
    /// Opens the databases and connects everyone.
    ///
    /// # Errors
    /// When a database can't be opened, or the cluster is not found.
    pub async fn open(
        runtime: TokioRuntime,
        plan: &Plan<'_>,
        addresses: &[String],
        directory: &Path,
        tally: Tally,
    ) -> anyhow::Result<Self> {
        let config = ClientConfig::new(addresses.iter().cloned())
            .connect_timeout(PATIENCE)
            .mount_timeout(PATIENCE)
            .request_timeout(PATIENCE);
        let open = |name: &str, projection| {
            let path = directory.join(name);
            Database::open(&path, projection, plan.opening_cents)
                .with_context(|| format!("could not open the database {}", path.display()))
        };
        let partitions = count_partitions(&runtime, &config).await?;
        let connect = |database: &Database| {
            let (config, tally) = (config.clone(), tally.clone());
            Service::connect(runtime.clone(), config, partitions, database.clone(), tally)
        };
        let mut services = Vec::new();
        for _ in 0..plan.services {
            // Each instance has connections of its own, as a process of its own would.
            let database = open("shared.db", Projection::Balances)?;
            services.push(connect(&database).await.context("a service could not connect")?);
        }
        let shared = open("shared.db", Projection::Balances)?;
        let derived = open("derived.db", Projection::Statements)?;
        let consumer = connect(&derived).await.context("the consumer could not connect")?;
        Ok(Self { services, consumer, shared, derived, tally, config, runtime })
    }

    /// Does all of the plan's work.
    ///
    /// # Errors
    /// When nothing ends any more.
    pub async fn work(&self, plan: &Plan<'_>) -> anyhow::Result<Latencies> {
        let workers = plan.in_flight as usize;
        let (queue, jobs) = Jobs::queue(workers * self.services.len());
        let (ends, mut ended) = mpsc::unbounded_channel();
        for service in &self.services {
            service.work(&jobs, workers, &ends);
        }
        drop((ends, jobs));
        let pacer = pace(plan.jobs.clone(), plan.operations, plan.lasting, queue);
        let (latencies, ()) = tokio::join!(listen(&mut ended, plan.operations), pacer);
        latencies
    }

    /// Waits until everyone has applied everything.
    ///
    /// # Errors
    /// When somebody can't.
    pub async fn settle(&self) -> anyhow::Result<()> {
        for service in self.services.iter().chain([&self.consumer]) {
            let settled = service.client().flush().await;
            settled.context("a service did not come to the end of the log")?;
        }
        Ok(())
    }

    /// Disconnects everyone.
    pub async fn close(&self) {
        for service in self.services.iter().chain([&self.consumer]) {
            service.client().clone().close().await;
        }
    }
}

/// Hands out jobs so that the work lasts as long as it should, or longer.
async fn pace(jobs: VecDeque<Job>, operations: u64, lasting: Duration, queue: mpsc::Sender<Job>) {
    let (start, mut handed_out) = (Instant::now(), 0);
    for job in jobs {
        let share = handed_out as f64 / operations.max(1) as f64;
        let due = start + lasting.mul_f64(share);
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        handed_out += job.len() as u64;
        if queue.send(job).await.is_err() {
            return;
        }
    }
}

/// Counts what ends, until all of it has.
async fn listen(
    ended: &mut mpsc::UnboundedReceiver<Ended>,
    operations: u64,
) -> anyhow::Result<Latencies> {
    let (mut latencies, progress) = (Latencies::new(), progress_bar(operations));
    loop {
        match tokio::time::timeout(PATIENCE, ended.recv()).await {
            Ok(None) => break,
            Ok(Some(end)) => {
                progress.inc(1);
                if matches!(end.ending, Ending::Committed(_)) {
                    latencies.record(end.latency);
                }
            }
            Err(_) => {
                bail!("nothing ended for {} s; the cluster stands still", PATIENCE.as_secs());
            }
        }
    }
    progress.finish_and_clear();
    Ok(latencies)
}

fn progress_bar(operations: u64) -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} operations, {per_sec}, {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(operations), target).with_style(style)
}

/// How many partitions the cluster has when the bank is founded.
async fn count_partitions(runtime: &TokioRuntime, config: &ClientConfig) -> anyhow::Result<u32> {
    // Who mounts a partition waits until there is one.
    let config = config.clone().partitions(Partitions::from_iter([PartitionId(0)]));
    let client = Client::connect_on(runtime.clone(), config, NoDatabase::newest()).await?;
    let partitions = client.cluster().await?.partitions.len();
    client.close().await;
    u32::try_from(partitions).context("more partitions than can be numbered")
}
