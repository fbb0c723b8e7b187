//! `waltz bench feed`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use waltz_client::{
    CallbackError, Client, ClientCallbacks, ClientConfig, FeedMode, Mark, PartitionId, Transaction,
};

use super::BenchArgs;
use super::load::{self, Load, Phase};
use super::target::{Durability, ServerCost, Target, print_cost};
use crate::exit::Exit;
use crate::measure::disk::SyncSpeed;
use crate::output::Output;

const LONGEST: Duration = Duration::from_secs(600);

/// Measure reading.
#[derive(Debug, Args)]
pub struct FeedBench {
    #[command(flatten)]
    bench: BenchArgs,

    /// How many records to store before reading
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    payload_bytes: usize,
    connections: u32,
    partitions: u32,
    stored: u64,
    passes: u64,
    seconds: f64,
    records: u64,
    records_per_second: f64,
    bytes_per_second: f64,
    servers: ServerCost,
    durable: Durability,
    disk: SyncSpeed,
}

/// Counts what a reader was fed.
#[derive(Debug, Clone, Default)]
struct Counter {
    records: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl ClientCallbacks for Counter {
    async fn high_water_mark(&self, _: PartitionId) -> Result<Mark, CallbackError> {
        Ok(Mark::NONE)
    }

    async fn apply_transaction(&self, transaction: &Transaction) -> Result<(), CallbackError> {
        self.apply_batch(std::slice::from_ref(transaction)).await.1
    }

    async fn apply_batch(&self, batch: &[Transaction]) -> (usize, Result<(), CallbackError>) {
        let mut bytes = 0;
        for (index, transaction) in batch.iter().enumerate() {
            match transaction.bytes().await {
                Ok(data) => bytes += data.len() as u64,
                Err(error) => return (index, Err(error.into())),
            }
        }
        self.records.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        (batch.len(), Ok(()))
    }
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be started or reached, or the log not be read.
pub async fn run(args: FeedBench) -> anyhow::Result<Exit> {
    let target = Target::start(&args.bench).await?;
    let disk = target.sync_speed()?;
    let stored = store(&args, &target.config()).await?;
    let (counter, mut passes) = (Counter::default(), 0);
    let (start, before) = (Instant::now(), target.cpu_time());
    while passes == 0 || start.elapsed() < args.bench.duration {
        read_all(&args, &target.config(), &counter).await?;
        passes += 1;
    }
    let (seconds, after) = (start.elapsed().as_secs_f64(), target.cpu_time());
    let records = counter.records.load(Ordering::Relaxed);
    let expected = stored * passes * u64::from(args.bench.connections);
    if records < expected {
        bail!("read {records} records, and at least {expected} were stored");
    }
    let report = Report {
        bench: "feed",
        payload_bytes: args.bench.payload,
        connections: args.bench.connections,
        partitions: args.bench.partitions,
        stored,
        passes,
        seconds,
        records,
        records_per_second: records as f64 / seconds,
        bytes_per_second: counter.bytes.load(Ordering::Relaxed) as f64 / seconds,
        servers: target.cost(before, after, records),
        durable: target.durability().await?,
        disk,
    };
    target.stop().await?;
    print(&args, &report)
}

/// Fills the log.
async fn store(args: &FeedBench, config: &ClientConfig) -> anyhow::Result<u64> {
    let load = Load {
        payload: load::payload(args.bench.payload),
        in_flight: args.bench.in_flight,
        connections: 1,
        partitions: args.bench.partitions,
        locks: 0,
        submit: false,
    };
    let clients = load.connect(config).await?;
    let now = Instant::now();
    let phase = Phase { from: now, to: now + LONGEST, records: args.records };
    let tally = load.drive(&clients, phase).await;
    for client in clients {
        client.close().await;
    }
    match tally.first_error {
        Some(error) => bail!("could not store the records to read: {error}"),
        None => Ok(tally.committed),
    }
}

/// Every connection reads the whole log with its data.
async fn read_all(
    args: &FeedBench,
    config: &ClientConfig,
    counter: &Counter,
) -> anyhow::Result<()> {
    let config = config.clone().feed(FeedMode::Records);
    let mut clients = Vec::new();
    for _ in 0..args.bench.connections {
        clients.push(Client::connect(config.clone(), counter.clone()).await?);
    }
    for client in clients {
        client.flush().await.context("could not read the log to its end")?;
        client.close().await;
    }
    Ok(())
}

fn print(args: &FeedBench, report: &Report) -> anyhow::Result<Exit> {
    let mut output = Output::new();
    if args.bench.json {
        output.json(report)?;
    } else {
        let Report { payload_bytes, connections, partitions, stored, passes, .. } = report;
        output.line(format_args!(
            "feed     {stored} records of {payload_bytes} B, connections: {connections}, \
             partitions: {partitions}, read {passes} times in {:.1} s",
            report.seconds
        ))?;
        output.line(format_args!(
            "result   {:.0} records/s, {:.1} MB/s of data",
            report.records_per_second,
            report.bytes_per_second / 1e6
        ))?;
        print_cost(&mut output, &report.servers, &report.durable, &report.disk)?;
    }
    output.flush()?;
    Ok(Exit::Success)
}
