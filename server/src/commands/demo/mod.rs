//! `waltz demo`: a bank over a cluster of real processes, while its nodes are killed one by one.

mod coordinator;
mod kills;
pub mod smoke;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Subcommand};
use tempfile::TempDir;
use waltz_bank::{Ledger, Tally, Transfers};
use waltz_databases::CoordinatorServer;
use waltz_runtime::Runtime;
use waltz_runtime_tokio::TokioRuntime;

use crate::args::{parse_duration, working_directory};
use crate::cluster::{ClusterPlan, LocalCluster};
use crate::exit::Exit;
use crate::trial::{Bank, Crew, Evidence, Plan, Report};

use coordinator::Coordinator;
use kills::Kills;

/// Demonstrations.
#[derive(Debug, Subcommand)]
pub enum DemoCommand {
    /// A bank: services transfer money while nodes are killed; then everything is checked
    Bank(BankArgs),
    /// A million transactions while every part is bounced; then all checksums are compared
    Smoke(smoke::SmokeArgs),
    /// What the smoke test starts
    #[command(hide = true)]
    SmokeClient(smoke::SmokeClientArgs),
}

/// The bank's demonstration.
#[derive(Debug, Args)]
pub struct BankArgs {
    /// Nodes of the cluster, each a process of its own
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    nodes: u32,

    /// Service instances that share one database
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    services: u32,

    /// Transfers to submit
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    transfers: u64,

    /// Kill a node this often and start it again; the work is paced so that each node is killed at
    /// least once. 0 kills none
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = parse_duration)]
    kill_every: Duration,

    /// Repeat the transfers and the order of the kills [default: random]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Play a ledger instead: date,transaction,account,amount_cents,balance_cents
    #[arg(long, value_name = "CSV")]
    input: Option<PathBuf>,

    /// Partitions of the cluster
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    partitions: u32,

    /// Accounts of the bank, for transfers
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u64).range(2..))]
    accounts: u64,

    /// Operations under way at once, in each service
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    in_flight: u32,

    /// Where the cluster's metadata is kept
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Coordinator::Embedded)]
    coordinator: Coordinator,

    /// Where nodes and databases get their directories [default: the current directory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the demonstration.
///
/// # Errors
/// When it can't be carried out; what must hold and does not is in the report.
pub async fn run(args: BankArgs) -> anyhow::Result<Exit> {
    let ledger = args.input.as_ref().map(read_ledger).transpose()?;
    if ledger.is_none() && args.accounts < 2 * u64::from(args.partitions) {
        anyhow::bail!(
            "{} accounts are too few for {} partitions; each partition needs two",
            args.accounts,
            args.partitions
        );
    }
    let directory = working_directory(args.data.as_ref())
        .context("could not make a directory for the demo's data; choose with --data")?;
    let outcome = carry_out(&args, ledger.as_ref(), &directory).await;
    if !matches!(outcome, Ok(Exit::Success)) {
        keep(directory);
    }
    outcome
}

fn read_ledger(path: &PathBuf) -> anyhow::Result<Ledger> {
    let open = std::fs::File::open(path);
    let file = open.with_context(|| format!("could not open {}", path.display()))?;
    Ledger::read(file).with_context(|| format!("{} is no ledger", path.display()))
}

/// Whoever looks for the cause of a failure needs the nodes' data and logs.
fn keep(directory: TempDir) {
    let path = directory.keep();
    tracing::warn!("the nodes' data and logs were kept in {}", path.display());
}

async fn carry_out(
    args: &BankArgs,
    ledger: Option<&Ledger>,
    directory: &TempDir,
) -> anyhow::Result<Exit> {
    let runtime = TokioRuntime::current();
    let seed = args.seed.unwrap_or_else(|| runtime.random());
    let coordinator = args.coordinator.start().await?;
    let program = std::env::current_exe().context("could not find this program")?;
    let mut cluster = LocalCluster::start(&ClusterPlan {
        nodes: args.nodes,
        partitions: args.partitions,
        replicas: args.nodes,
        coordinator: coordinator.as_ref().map(CoordinatorServer::address),
        ..ClusterPlan::new(program, directory.path())
    })
    .await?;
    let plan = plan(args, ledger, seed);
    let addresses = cluster.addresses();
    let bank = Bank::open(runtime, &plan, &addresses, directory.path(), Tally::new()).await?;

    let start = Instant::now();
    let mut kills = Kills::new(args.kill_every, seed, cluster.len());
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let working = async {
        let latencies = bank.work(&plan).await;
        drop(stop);
        latencies
    };
    let (latencies, kills) = tokio::try_join!(working, kills.run(&mut cluster, stopped))?;
    let elapsed = start.elapsed();

    let evidence = Evidence::collect(bank, &plan, cluster).await?;
    let report = Report::new(seed, &plan, kills, elapsed, &latencies, &evidence);
    report.print(args.json)?;
    Ok(if report.is_sound() { Exit::Success } else { Exit::Failure })
}

/// The work is spread so that every node is killed at least once.
fn plan<'a>(args: &BankArgs, ledger: Option<&'a Ledger>, seed: u64) -> Plan<'a> {
    let lasting = args.kill_every * args.nodes + args.kill_every / 2;
    let crew = Crew { services: args.services, in_flight: args.in_flight, lasting };
    match ledger {
        Some(ledger) => Plan::ledger(ledger, crew),
        None => {
            let transfers = Transfers::new(seed, args.accounts, args.partitions, args.transfers);
            Plan::transfers(transfers, crew)
        }
    }
}
