//! `waltz serve`: one node.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use waltz_coordinators::Port;
use waltz_core::id::{ClusterKey, NodeId};
use waltz_core::io::{Address, Level, Report};
use waltz_core::journal::DEFAULT_SEGMENT_BYTES;
use waltz_core::limits::Limits;
use waltz_core::membership::ControllerConfig;
use waltz_core::node::{CoordinatorAt, Node, NodeConfig, Recovered, Roles};
use waltz_core::partition::retention::RetentionConfig;
use waltz_core::planted::Planted;
use waltz_core::recorder::{DEFAULT_GENERATION_BYTES, Recorder};
use waltz_core::wire::Version;
use waltz_runtime::CoordinatorPort;
use waltz_runtime::journal::{Journal, JournalConfig};
use waltz_runtime::node::{World, run_recorded_node};
use waltz_runtime_tokio::{FileDisk, JournalThread, TcpNet, TokioTimer, run_shard};

use super::connect::cluster_key;
use super::recording::{Recordings, flight_recorder, refuse_requests};
use crate::args::{
    Cli, Coordinator, parse_address, parse_bytes, parse_coordinator, parse_duration,
    parse_protocol_version,
};
use crate::cluster::Ready;
use crate::exit::Exit;
use crate::output::Output;

/// The cluster that nodes form unless told another name.
pub const DEFAULT_CLUSTER: &str = "waltz";

/// Run a node.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where the node keeps its data
    #[arg(long, value_name = "DIR", default_value = "./waltz-data")]
    data: PathBuf,

    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400")]
    listen: SocketAddr,

    /// Where others reach this node, if that is not where it listens
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    advertise: Option<String>,

    /// The node's number; each node of a cluster has another one
    #[arg(long, value_name = "N", default_value_t = 1)]
    node: u32,

    /// The cluster's name; nodes and clients of others are refused
    #[arg(long, value_name = "NAME", default_value = DEFAULT_CLUSTER)]
    cluster: String,

    /// What the node does [default: everything; with --coordinator, everything else]
    #[arg(long, value_name = "ROLES", value_delimiter = ',')]
    roles: Vec<Role>,

    /// The cluster's coordinator, if it is not this node: the node that is, or
    /// etcd://HOST:PORT[,HOST:PORT...], or zookeeper://HOST:PORT[,HOST:PORT...]
    #[arg(long, value_name = "ADDR", value_parser = parse_coordinator)]
    coordinator: Option<Coordinator>,

    /// How many partitions a new cluster has; told to its coordinator. With one outside of the
    /// cluster only nodes that are told this or --replicas make a cluster [default: 4]
    #[arg(long, value_name = "N")]
    partitions: Option<u32>,

    /// How many replicas each of them has; told to the coordinator [default: 1]
    #[arg(long, value_name = "N")]
    replicas: Option<u32>,

    /// How many storage nodes a new cluster waits for [default: as many as replicas]
    #[arg(long, value_name = "N")]
    storages: Option<u32>,

    /// The largest record to take, in bytes with its header and locks
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().record,
        value_parser = clap::value_parser!(u32).range(256..=8 << 20))]
    max_record: u32,

    /// Keep about so many bytes of each partition served here, and trim what is older
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    retain_bytes: Option<u64>,

    /// Trim what was committed this long ago
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    retain_age: Option<Duration>,

    /// Trim what every registered consumer has applied
    #[arg(long)]
    trim_consumed: bool,

    /// The newest version of the protocol to speak; held back while a cluster is upgraded, so that
    /// the former release can still come back
    #[arg(long, value_name = "N", default_value_t = Version::NEWEST,
        value_parser = parse_protocol_version)]
    protocol_version: Version,

    /// Keep the node's last inputs in memory, and write them to a file in this directory when it
    /// panics, has to stop, or gets SIGUSR1; `waltz replay` shows what it did
    #[arg(long, value_name = "DIR")]
    flight_recorder: Option<PathBuf>,

    /// How many bytes of inputs a recording has at least, once so many came
    #[arg(long, value_name = "BYTES", requires = "flight_recorder", value_parser = parse_bytes,
        default_value_t = DEFAULT_GENERATION_BYTES as u64)]
    flight_recorder_bytes: u64,

    /// Print the ready line as JSON
    #[arg(long)]
    json: bool,

    /// Stop when standard input ends, which it does when the process at its other end dies
    #[arg(long, hide = true)]
    while_stdin_open: bool,
}

/// What a node can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Keeps the cluster's metadata and assigns partitions.
    Coordinator,
    /// Serves partitions to clients.
    Server,
    /// Keeps replicas on its disk.
    Storage,
}

/// Runs the command.
///
/// # Errors
/// When the node can't be started, or has to stop.
pub fn run(args: ServeArgs) -> anyhow::Result<Exit> {
    crate::logging::start("info", false);
    if args.while_stdin_open {
        end_with_stdin();
    }
    // First, so that a port in use is found out before any data is touched.
    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("could not listen on {}", args.listen))?;
    let listen = listener.local_addr().context("could not tell where this node listens")?;
    let config = node_config(&args, listen)?;
    let (node, journal) = open(&args, config)?;
    let open = |path: &PathBuf| Recordings::open(path, NodeId(args.node));
    let recordings = args.flight_recorder.as_ref().map(open).transpose()?;
    announce(&args, listen)?;
    let limits = limits(args.max_record);
    let outcome = run_shard(async move {
        let net = TcpNet::listening(listener, limits).context("could not listen")?;
        let coordinator: Option<Box<dyn CoordinatorPort>> = match &args.coordinator {
            Some(Coordinator::Outside(address)) => {
                Some(Box::new(Port::connect(address, &args.cluster)))
            }
            Some(Coordinator::Node(_)) | None => None,
        };
        let world = World { net, journal, timer: TokioTimer::new(), coordinator };
        let recorder = match recordings {
            Some(recordings) => {
                let bytes = usize::try_from(args.flight_recorder_bytes).unwrap_or(usize::MAX);
                Some(flight_recorder(Recorder::new(&node, bytes), recordings)?)
            }
            None => {
                refuse_requests()?;
                None
            }
        };
        let stop = Stop::default();
        let asked = stop.asked.clone();
        let reason = run_recorded_node(node, recorder, world, Box::new(log), stop.wait()).await;
        if asked.load(Ordering::Relaxed) {
            tracing::info!("stopped");
            return Ok(Exit::Success);
        }
        bail!("the node had to stop: {reason}")
    });
    outcome.context("could not start the node's loop")?
}

/// What bounds a node's frames and records.
pub fn limits(max_record: u32) -> Limits {
    Limits { record: max_record, ..Limits::default() }
}

/// Where in a data directory the journal is.
pub fn journal_directory(data: &Path) -> PathBuf {
    data.join("journal")
}

/// Whose journal it is.
pub fn journal_config(node: NodeId, cluster: ClusterKey, limits: Limits) -> JournalConfig {
    let (segment_bytes, planted) = (DEFAULT_SEGMENT_BYTES, Planted::NONE);
    JournalConfig { cluster, node, segment_bytes, limits, planted }
}

fn node_config(args: &ServeArgs, listen: SocketAddr) -> anyhow::Result<NodeConfig> {
    let has = |role| match args.roles.is_empty() {
        true => role != Role::Coordinator || args.coordinator.is_none(),
        false => args.roles.contains(&role),
    };
    let coordinator = match (&args.coordinator, has(Role::Coordinator)) {
        (Some(_), true) => {
            return Err(usage(
                "this node is the coordinator by --roles; leave --coordinator out, or that role",
            ));
        }
        (None, false) => {
            return Err(usage("--roles leaves the coordinator out; name it with --coordinator"));
        }
        (Some(Coordinator::Node(address)), false) => {
            CoordinatorAt::Remote(Address(address.clone()))
        }
        (Some(Coordinator::Outside(_)), false) => {
            let is_told = args.partitions.is_some() || args.replicas.is_some();
            CoordinatorAt::Outside { bootstrap: is_told.then(|| new_cluster(args)).transpose()? }
        }
        (None, true) => CoordinatorAt::Here(new_cluster(args)?),
    };
    if args.advertise.is_none() && listen.ip().is_unspecified() {
        return Err(usage(format_args!(
            "other machines can't reach {listen}; say with --advertise how they can"
        )));
    }
    let address = args.advertise.clone().unwrap_or_else(|| listen.to_string());
    let (node, cluster) = (NodeId(args.node), cluster_key(&args.cluster));
    let mut config = NodeConfig::new(node, cluster, Address(address), coordinator)
        .with_limits(limits(args.max_record));
    config.partition.retention = RetentionConfig {
        bytes: args.retain_bytes,
        age: args.retain_age,
        consumed: args.trim_consumed,
    };
    config.newest = args.protocol_version;
    config.roles = Roles { server: has(Role::Server), storage: has(Role::Storage) };
    Ok(config)
}

/// The cluster to make, if there is none yet.
fn new_cluster(args: &ServeArgs) -> anyhow::Result<ControllerConfig> {
    let (partitions, replicas) = (args.partitions.unwrap_or(4), args.replicas.unwrap_or(1));
    let storages = args.storages.unwrap_or(replicas);
    ControllerConfig::new(partitions, replicas, storages).map_err(usage)
}

/// Flags that don't go together.
fn usage(message: impl std::fmt::Display) -> anyhow::Error {
    let mut program = Cli::command();
    program.build();
    let serve = program.find_subcommand_mut("serve").expect("the program has this command");
    serve.error(ErrorKind::ArgumentConflict, message).into()
}

/// Reads the journal back into a node's state.
fn open(args: &ServeArgs, config: NodeConfig) -> anyhow::Result<(Node, JournalThread)> {
    let in_directory = || format!("could not use the data directory {}", args.data.display());
    let disk = FileDisk::open(journal_directory(&args.data)).with_context(in_directory)?;
    let journal_config = journal_config(config.node, config.cluster, config.limits);
    let mut recovered = Recovered::new(config.limits, Planted::NONE);
    let random = waltz_runtime_tokio::runtime::random;
    let opened = Journal::open(disk.clone(), journal_config, random(), &mut recovered);
    let (journal, recovery) = opened.with_context(in_directory)?;
    tracing::info!(
        entries = recovery.entries,
        bytes = recovery.bytes,
        incarnation = %recovery.incarnation,
        "opened {}",
        args.data.display()
    );
    if let Some(torn) = &recovery.torn {
        tracing::warn!("a write was cut short when the node stopped, and is gone: {torn:?}");
    }
    for damage in &recovery.damaged {
        tracing::error!("{damage}");
    }
    let journal = JournalThread::start(journal, disk).context("could not start the journal")?;
    Ok((Node::new(config, recovered, recovery.storage, random()), journal))
}

fn announce(args: &ServeArgs, listen: SocketAddr) -> anyhow::Result<()> {
    let ready = Ready {
        ready: true,
        listen: listen.to_string(),
        node: args.node,
        cluster: args.cluster.clone(),
        data: args.data.clone(),
    };
    let mut output = Output::new();
    if args.json {
        output.json(&ready)?;
    } else {
        output.line(format_args!(
            "ready: node {} of cluster {:?} listens on {listen}, data in {}",
            args.node,
            args.cluster,
            args.data.display()
        ))?;
    }
    Ok(output.flush()?)
}

fn log(report: Report) {
    let Report { level, partition, peer, text } = report;
    let (partition, peer) = (partition.map(|partition| partition.0), peer.map(|peer| peer.0));
    match level {
        Level::Info => tracing::info!(partition, peer, "{text}"),
        Level::Warning => tracing::warn!(partition, peer, "{text}"),
        Level::Error => tracing::error!(partition, peer, "{text}"),
    }
}

/// An operator's wish to stop.
#[derive(Debug, Default)]
struct Stop {
    asked: Arc<AtomicBool>,
}

impl Stop {
    async fn wait(self) {
        if let Err(error) = Self::signal().await {
            tracing::error!("signals can't be heard: {error:#}");
            return std::future::pending().await;
        }
        self.asked.store(true, Ordering::Relaxed);
    }

    async fn signal() -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            received = terminate.recv() => received,
            received = interrupt.recv() => received,
        }
        .ok_or_else(|| anyhow!("the runtime is shut down"))
    }
}

/// For nodes that must not outlive whoever started them. Ending like a crash loses nothing.
fn end_with_stdin() {
    std::thread::spawn(|| {
        let (mut stdin, mut buffer) = (std::io::stdin(), [0; 64]);
        while stdin.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
        std::process::exit(1);
    });
}
