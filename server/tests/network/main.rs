//! A bank on five nodes and three members of a coordinator, each on a machine of its own, while links
//! are cut, slowed down and lossy, and processes are killed and halted, all at random from a seed.
//! Then every check of the demo must hold.
//!
//! The machines are network namespaces, joined by links that this test controls; it needs root, `ip`
//! and a tunnel device for them. Where these can't be had it says so and uses proxies on loopback,
//! which cut and slow down whole nodes only.
//!
//! `cargo test` takes five minutes for it. An hour with each coordinator, and one of them alone:
//! `cargo test --release -p waltz-server --test network -- --duration 1h`
//! `cargo test --release -p waltz-server --test network -- --duration 1h --coordinator etcd --seed 7`

mod faults;
mod instruments;
mod links;
mod machines;
mod proxy;
mod scene;
mod wire;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use waltz_bank::{Tally, Transfers};
use waltz_databases::{CoordinatorKind, CoordinatorServer, Place};
use waltz_runtime_tokio::TokioRuntime;
use waltz_server::args::parse_duration;
use waltz_server::cluster::{self, ClusterPlan, LocalCluster};
use waltz_server::trial::{Bank, Crew, Evidence, Plan, Report};

use faults::Faults;
use links::{Links, Machine};
use machines::{Machines, host};
use proxy::Proxy;
use scene::Scene;

/// The program under test.
const WALTZ: &str = env!("CARGO_BIN_EXE_waltz");
const NODES: usize = 5;
const MEMBERS: usize = 3;
/// The machine of the services.
const CLIENTS: Machine = NODES + MEMBERS;
const MACHINES: usize = CLIENTS + 1;
const PARTITIONS: u32 = 6;
const ACCOUNTS: u64 = 600;

#[derive(Debug, Parser)]
struct Arguments {
    /// Which coordinator; one after the other without it.
    #[arg(long)]
    coordinator: Option<Coordinator>,
    /// How long with each.
    #[arg(long, default_value = "150s", value_parser = parse_duration)]
    duration: Duration,
    /// What the faults and the transfers follow from; a random one without it.
    #[arg(long)]
    seed: Option<u64>,
    /// How many transfers are submitted in a second.
    #[arg(long, default_value_t = 100)]
    rate: u64,
    /// Use proxies although namespaces can be made.
    #[arg(long)]
    proxies: bool,
    /// Only if this test's name has these letters, as with other tests.
    filter: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Coordinator {
    Zookeeper,
    Etcd,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    waltz_server::logging::start("warn");
    if arguments.filter.as_deref().is_some_and(|filter| !"network".contains(filter)) {
        return Ok(ExitCode::SUCCESS);
    }
    let all = vec![Coordinator::Zookeeper, Coordinator::Etcd];
    for coordinator in arguments.coordinator.map_or(all, |coordinator| vec![coordinator]) {
        let seed = arguments.seed.unwrap_or_else(waltz_runtime_tokio::runtime::random);
        say(format_args!("{coordinator:?}, seed {seed}, {:?}", arguments.duration));
        let is_sound = run(coordinator, seed, &arguments)
            .with_context(|| format!("{coordinator:?}, seed {seed}"))?;
        if !is_sound {
            bail!("{coordinator:?}, seed {seed}: what must hold does not");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the machines and runs everything from that of the services.
fn run(coordinator: Coordinator, seed: u64, arguments: &Arguments) -> anyhow::Result<bool> {
    let links = Arc::new(Links::new(MACHINES));
    let machines = match arguments.proxies {
        true => Err(anyhow::anyhow!("they were asked for")),
        false => Machines::make(&links, MACHINES, seed),
    };
    let machines = match machines {
        Ok(machines) => Some(machines),
        Err(error) => {
            say(format_args!("no network namespaces, so proxies on loopback: {error:#}"));
            None
        }
    };
    if let Some(machines) = &machines {
        instruments::check(machines, &links)?;
        machines.enter(CLIENTS)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let stage = Stage { machines: machines.as_ref(), links, seed, arguments };
    runtime.block_on(stage.play(coordinator))
}

/// What a run needs.
struct Stage<'a> {
    machines: Option<&'a Machines>,
    links: Arc<Links>,
    seed: u64,
    arguments: &'a Arguments,
}

impl Stage<'_> {
    async fn play(self, coordinator: Coordinator) -> anyhow::Result<bool> {
        let directory = tempfile::tempdir()?;
        let kind = match coordinator {
            Coordinator::Zookeeper => CoordinatorKind::ZooKeeper,
            Coordinator::Etcd => CoordinatorKind::Etcd,
        };
        let places: Vec<Place> = (NODES..CLIENTS).map(|machine| self.member(machine)).collect();
        let members = CoordinatorServer::start_ensemble(kind, &places)?;
        let (cluster, _proxies) = self.start(&members, directory.path()).await?;
        let addresses = cluster.addresses();
        let scene = Scene::new(cluster, members, self.links.clone());
        let played = self.trial(scene, &addresses, directory.path()).await;
        if !matches!(played, Ok(true)) {
            say(format_args!(
                "the nodes' data and logs were kept in {}",
                directory.keep().display()
            ));
        }
        played
    }

    /// Starts the nodes, behind proxies where there are no machines.
    async fn start(
        &self,
        members: &[CoordinatorServer],
        directory: &Path,
    ) -> anyhow::Result<(LocalCluster, Vec<Proxy>)> {
        let (mut places, mut proxies) = (Vec::new(), Vec::new());
        for node in 0..NODES {
            places.push(match self.machines {
                Some(machines) => cluster::Place {
                    prefix: machines.prefix(node),
                    host: host(node).into(),
                    ..cluster::Place::default()
                },
                None => {
                    let proxy = Proxy::start(self.links.clone(), node, CLIENTS).await?;
                    let advertise = Some(proxy.address.to_string());
                    proxies.push(proxy);
                    cluster::Place { advertise, ..cluster::Place::default() }
                }
            });
        }
        let cluster = LocalCluster::start(&ClusterPlan {
            nodes: NODES as u32,
            partitions: PARTITIONS,
            coordinator: Some(CoordinatorServer::address_of(members)),
            places,
            arguments: vec![format!("--storages={NODES}"), "--insecure".to_owned()],
            ..ClusterPlan::new(WALTZ, directory)
        })
        .await?;
        for (proxy, address) in proxies.iter().zip(cluster.listens_on()) {
            proxy.aim(&address);
        }
        Ok((cluster, proxies))
    }

    fn member(&self, machine: Machine) -> Place {
        self.machines.map_or_else(Place::default, |machines| Place {
            prefix: machines.prefix(machine),
            host: host(machine),
        })
    }

    /// Has the bank work while the machines suffer, and judges.
    async fn trial(
        &self,
        mut scene: Scene,
        addresses: &[String],
        directory: &Path,
    ) -> anyhow::Result<bool> {
        let Arguments { duration, rate, .. } = *self.arguments;
        let count = (duration.as_secs_f64() * rate as f64) as u64;
        let transfers = Transfers::new(self.seed, ACCOUNTS, PARTITIONS, count);
        let crew = Crew { services: 3, in_flight: 16, lasting: duration };
        let plan = Plan::transfers(transfers, crew);
        let runtime = TokioRuntime::current();
        let bank = Bank::open(runtime, &plan, addresses, directory, Tally::new()).await?;
        let mut faults = Faults::new(self.seed, CLIENTS, MACHINES);
        let began = Instant::now();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let working = async {
            let latencies = bank.work(&plan).await;
            drop(stop);
            latencies
        };
        let (latencies, ()) = tokio::try_join!(working, scene.suffer(&mut faults, stopped))?;
        let elapsed = began.elapsed();
        let evidence = Evidence::collect(bank, &plan, scene.cluster).await?;
        let report = Report::new(self.seed, &plan, faults.kills(), elapsed, &latencies, &evidence);
        say(format_args!("{faults}"));
        report.print(false)?;
        Ok(report.is_sound())
    }
}

#[expect(clippy::print_stdout, reason = "tests without a harness say themselves how they went")]
fn say(line: fmt::Arguments<'_>) {
    println!("{line}");
}
