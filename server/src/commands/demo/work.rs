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
use waltz_client::ClientConfig;
use waltz_runtime_tokio::TokioRuntime;

use super::{BankArgs, PATIENCE};
use crate::measure::latency::Latencies;

/// What every account opens with, for transfers.
const OPENING_CENTS: i64 = 100_000;

/// What is to be done.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// The ledger to play, if not transfers.
    pub(super) ledger: Option<&'a Ledger>,
    /// What accounts open with.
    pub(super) opening_cents: i64,
    /// How many operations there are.
    pub(super) operations: u64,
    jobs: VecDeque<Job>,
    services: u32,
    in_flight: u32,
    /// The work is spread over at least so long.
    lasting: Duration,
}

impl<'a> Plan<'a> {
    /// Reads the arguments.
    pub(super) fn new(args: &BankArgs, ledger: Option<&'a Ledger>, seed: u64) -> Self {
        let jobs: VecDeque<Job> = match ledger {
            Some(ledger) => {
                let accounts = ledger.by_account().into_values();
                accounts.map(|rows| rows.iter().map(|row| row.operation()).collect()).collect()
            }
            None => Transfers::new(seed, args.accounts, args.partitions, args.transfers)
                .map(|transfer| vec![transfer])
                .collect(),
        };
        Self {
            ledger,
            opening_cents: if ledger.is_some() { 0 } else { OPENING_CENTS },
            operations: jobs.iter().map(|job| job.len() as u64).sum(),
            jobs,
            services: args.services,
            in_flight: args.in_flight,
            lasting: args.kill_every * args.nodes + args.kill_every / 2,
        }
    }
}

/// All of the bank's processes that are not nodes.
#[derive(Debug)]
pub(super) struct Bank {
    /// They share one database.
    pub(super) services: Vec<Service<TokioRuntime>>,
    /// It derives statements into its own.
    pub(super) consumer: Service<TokioRuntime>,
    /// The services' database.
    pub(super) shared: Database,
    /// The consumer's.
    pub(super) derived: Database,
    /// How everything ended.
    pub(super) tally: Tally,
    /// How to connect.
    pub(super) config: ClientConfig,
    /// Where everything runs.
    pub(super) runtime: TokioRuntime,
}

impl Bank {
    /// Opens the databases and connects everyone.
    pub(super) async fn open(
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
        let connect = |database: &Database| {
            Service::connect(runtime.clone(), config.clone(), database.clone(), tally.clone())
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
    pub(super) async fn work(&self, plan: &Plan<'_>) -> anyhow::Result<Latencies> {
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
    pub(super) async fn settle(&self) -> anyhow::Result<()> {
        for service in self.services.iter().chain([&self.consumer]) {
            let settled = service.client().flush().await;
            settled.context("a service did not come to the end of the log")?;
        }
        Ok(())
    }

    /// Disconnects everyone.
    pub(super) async fn close(&self) {
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
