//! `waltz demo smoke`: a great many transactions, while everything that takes part is bounced.
//!
//! ```text
//!   client 1 ─┐      ┌─ server 1..3 ─┐      ┌─ storage 1..3
//!             ├─────▶│               ├─────▶│
//!   client 2 ─┘      └─ coordinator ─┘      └─ a disk each
//! ```
//!
//! Every part is a process of its own. At the end the checksums of all replicas, which are read from
//! their disks, and of all clients must be equal.

mod client;
mod parts;
mod picture;
mod told;
mod verdict;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use waltz_databases::CoordinatorServer;
use waltz_runtime::Runtime;
use waltz_runtime_tokio::TokioRuntime;

use super::coordinator::Coordinator;
use super::keep;
use crate::args::{parse_duration, working_directory};
use crate::cluster::{ClusterPlan, LocalCluster, Place};
use crate::exit::Exit;

pub use client::{SmokeClientArgs, run as run_client};
use parts::{Bounces, Parts};
use picture::Picture;
use verdict::Verdict;

/// The smoke test.
#[derive(Debug, Args)]
pub struct SmokeArgs {
    /// Transactions to commit at least; it goes on until every part was bounced
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    transactions: u64,

    /// How long it is between two bounces, on average; 0 bounces nobody
    #[arg(long, value_name = "TIME", default_value = "700ms", value_parser = parse_duration)]
    bounce_every: Duration,

    /// Repeat the order of the bounces [default: random]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Partitions of the cluster
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=256))]
    partitions: u32,

    /// Where the cluster's metadata is kept; on a node of its own if embedded
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Coordinator::Embedded)]
    coordinator: Coordinator,

    /// Where everything gets its directory [default: the current directory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the test.
///
/// # Errors
/// When it can't be carried out; what must hold and does not is in the report.
pub async fn run(args: SmokeArgs) -> anyhow::Result<Exit> {
    let directory = working_directory(args.data.as_ref())
        .context("could not make a directory for the test's data; choose with --data")?;
    let seed = args.seed.unwrap_or_else(|| TokioRuntime::current().random());
    let coordinator = args.coordinator.start().await?;
    let program = std::env::current_exe().context("could not find this program")?;
    let plan = ClusterPlan {
        partitions: args.partitions,
        nodes: places(coordinator.is_some()).len() as u32,
        places: places(coordinator.is_some()),
        coordinator: coordinator.as_ref().map(CoordinatorServer::address),
        ..ClusterPlan::new(program, directory.path())
    };
    let cluster = LocalCluster::start(&plan).await?;
    let parts = Parts::start(cluster, coordinator, &plan, directory.path())?;
    let outcome = carry_out(&args, parts, seed).await;
    if !matches!(outcome, Ok(Exit::Success)) {
        keep(directory);
    }
    outcome
}

/// Three servers and three storages, after the coordinator if that is a node.
fn places(is_outside: bool) -> Vec<Place> {
    let coordinator = (!is_outside).then_some("coordinator");
    let roles = coordinator.into_iter().chain(["server"; 3]).chain(["storage"; 3]);
    roles.map(|roles| Place { roles: Some(roles), ..Place::default() }).collect()
}

async fn carry_out(args: &SmokeArgs, mut parts: Parts, seed: u64) -> anyhow::Result<Exit> {
    let mut bounces = Bounces::new(seed, args.bounce_every, parts.len());
    let mut picture = Picture::new(args.transactions, args.json);
    let began = Instant::now();
    while parts.committed() < args.transactions || !bounces.is_enough() {
        parts.check()?;
        bounces.go_on(&mut parts).await?;
        picture.show(&parts, &bounces)?;
        tokio::time::sleep(picture::EVERY).await;
    }
    bounces.end(&mut parts).await?;
    let elapsed = began.elapsed();
    picture.end();
    let verdict = Verdict::reach(parts, args.transactions, &bounces, elapsed, seed).await?;
    verdict.print(args.json)?;
    Ok(if verdict.is_sound() { Exit::Success } else { Exit::Failure })
}
