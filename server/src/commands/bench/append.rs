//! `waltz bench append`

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use super::BenchArgs;
use super::load::{self, Load, Tally};
use super::target::{Durability, ServerCost, Target, print_cost};
use crate::exit::Exit;
use crate::measure::disk::SyncSpeed;
use crate::measure::latency::Percentiles;
use crate::output::Output;

const WARM_UP: Duration = Duration::from_secs(1);

/// Measure appends.
#[derive(Debug, Args)]
pub struct AppendBench {
    #[command(flatten)]
    bench: BenchArgs,

    /// Make every append change one of so many locks; a refused one counts as a conflict and is
    /// not tried again
    #[arg(long, value_name = "N", default_value_t = 0)]
    locks: u64,

    /// Submit contexts, which are executed again until they are committed, rather than append once
    #[arg(long)]
    submit: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    payload_bytes: usize,
    in_flight: u32,
    connections: u32,
    partitions: u32,
    locks: u64,
    submit: bool,
    seconds: f64,
    committed: u64,
    conflicts: u64,
    failed: u64,
    committed_per_second: f64,
    latency: Percentiles,
    servers: ServerCost,
    durable: Durability,
    disk: SyncSpeed,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be started or reached, or appends fail.
pub async fn run(args: AppendBench) -> anyhow::Result<Exit> {
    let target = Target::start(&args.bench).await?;
    let disk = target.sync_speed()?;
    let load = Load {
        payload: load::payload(args.bench.payload),
        in_flight: args.bench.in_flight,
        connections: args.bench.connections,
        partitions: args.bench.partitions,
        locks: args.locks,
        submit: args.submit,
    };
    let clients = load.connect(&target.config()).await?;
    let phase = load::timed(WARM_UP, args.bench.duration);
    let measured = async {
        tokio::time::sleep_until(phase.from.into()).await;
        let before = target.cpu_time();
        tokio::time::sleep_until(phase.to.into()).await;
        (before, target.cpu_time())
    };
    let (tally, (before, after)) = tokio::join!(load.drive(&clients, phase), measured);
    let cost = target.cost(before, after, tally.committed + tally.conflicts);
    let durable = target.durability().await?;
    for client in clients {
        client.close().await;
    }
    target.stop().await?;
    if let (0, Some(error)) = (tally.committed, &tally.first_error) {
        bail!("no append was committed: {error}");
    }
    print(&args, &report(&args, tally, cost, durable, disk))
}

fn report(
    args: &AppendBench,
    tally: Tally,
    servers: ServerCost,
    durable: Durability,
    disk: SyncSpeed,
) -> Report {
    let seconds = args.bench.duration.as_secs_f64();
    Report {
        bench: "append",
        payload_bytes: args.bench.payload,
        in_flight: args.bench.in_flight,
        connections: args.bench.connections,
        partitions: args.bench.partitions,
        locks: args.locks,
        submit: args.submit,
        seconds,
        committed: tally.committed,
        conflicts: tally.conflicts,
        failed: tally.failed,
        committed_per_second: tally.committed as f64 / seconds,
        latency: tally.latencies.percentiles(),
        servers,
        durable,
        disk,
    }
}

fn print(args: &AppendBench, report: &Report) -> anyhow::Result<Exit> {
    let mut output = Output::new();
    if args.bench.json {
        output.json(report)?;
    } else {
        let Report { payload_bytes, in_flight, connections, partitions, .. } = report;
        output.line(format_args!(
            "append   {payload_bytes} B, in flight: {in_flight}, connections: {connections}, \
             partitions: {partitions}, {:.1} s",
            report.seconds
        ))?;
        output.line(format_args!(
            "result   {:.0} committed/s ({} committed, {} conflicts, {} failed)",
            report.committed_per_second, report.committed, report.conflicts, report.failed
        ))?;
        output.line(format_args!("latency  {}", report.latency))?;
        print_cost(&mut output, &report.servers, &report.durable, &report.disk)?;
    }
    output.flush()?;
    Ok(if report.failed == 0 { Exit::Success } else { Exit::Failure })
}
