//! `waltz serve`: one node.

mod coordinator;
mod journal;
mod node;
mod rates;
mod security;
mod stop;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use anyhow::{Context, bail};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory};
use tokio::runtime::Handle;
use waltz_archive::{Archive, StorePort};
use waltz_coordinators::{Port, Security};
use waltz_core::id::NodeId;
use waltz_core::io::{Level, Report};
use waltz_core::node::Node;
use waltz_core::recorder::Recorder;
use waltz_runtime::node::{World, run_recorded_node};
use waltz_runtime::recorder::FlightRecorder;
use waltz_runtime::{ArchivePort, CoordinatorPort, Observer};
use waltz_runtime_tokio::{JournalThread, NetConfig, TcpNet, Tls, TokioTimer, run_shard};

use super::recording::{Recordings, flight_recorder, refuse_requests};
use crate::args::{Cli, Coordinator};
use crate::cluster::Ready;
use crate::config::{
    ArchiveUrl, Flags, LimitSettings, LogFormat, RecorderSettings, Settings, environment, load,
};
use crate::exit::Exit;
use crate::health::{HealthListener, observer};
use crate::output::Output;
pub use coordinator::coordinator_security;
pub use journal::{journal_config, journal_directory};
pub use node::{Conflict, limits, node_config};
use stop::{Stop, end_with_stdin};

/// Run a node.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The node's configuration file, as `waltz config example` prints one; flags go over it
    #[arg(long, value_name = "FILE", env = "WALTZ_CONFIG")]
    config: Option<PathBuf>,

    #[command(flatten)]
    flags: Flags,

    /// Print the ready line as JSON
    #[arg(long)]
    json: bool,

    /// Stop when standard input ends, which it does when the process at its other end dies
    #[arg(long, hide = true)]
    while_stdin_open: bool,
}

/// Runs the command.
///
/// # Errors
/// When the node can't be started, or has to stop.
pub fn run(args: ServeArgs) -> anyhow::Result<Exit> {
    let settings = load(args.config.as_deref(), environment(), &args.flags)?.settings;
    let log_as_json = settings.log.format == LogFormat::Json;
    crate::logging::start_with(&settings.log.filter.0, log_as_json);
    let _named = log_as_json.then(|| named(&settings).entered());
    if args.while_stdin_open {
        end_with_stdin();
    }
    // First, so that a port in use is found out before any data is touched.
    let listener = TcpListener::bind(settings.node.listen)
        .with_context(|| format!("could not listen on {}", settings.node.listen))?;
    let listen = listener.local_addr().context("could not tell where this node listens")?;
    let mut config = node_config(&settings, listen).map_err(usage)?;
    config.access = security::access(&settings.access)?;
    let tls = security::tls(&settings.tls)?;
    let security = coordinator_security(&settings)?;
    let health = settings.health.listen.map(HealthListener::bind).transpose()?;
    let (node, journal) = journal::open(&settings.node.data, config)?;
    let open = |path: &PathBuf| Recordings::open(path, NodeId(settings.node.id));
    let recordings = settings.recorder.directory.as_ref().map(open).transpose()?;
    announce(&settings, listen, health.as_ref().map(HealthListener::address), args.json)?;
    let archive = settings.archive.url.as_ref().map(archive).transpose()?;
    let watch = |health| watch(health, &settings, &journal, archive.as_ref());
    let observer = health.map(watch).transpose()?;
    let ends = Ends { listener, tls, security, archive };
    let outcome = run_shard(serve(settings, ends, node, journal, recordings, observer));
    outcome.context("could not start the node's loop")?
}

/// Where the node is reached, and how it reaches others.
struct Ends {
    listener: TcpListener,
    tls: Option<Tls>,
    /// Of a coordinator outside of the cluster.
    security: Security,
    /// Of what was trimmed.
    archive: Option<StorePort>,
}

async fn serve(
    settings: Settings,
    Ends { listener, tls, security, archive }: Ends,
    node: Node,
    journal: JournalThread,
    recordings: Option<Recordings>,
    observer: Option<Box<dyn Observer>>,
) -> anyhow::Result<Exit> {
    if let Some(tls) = &tls {
        tls.keep_watch(&Handle::current());
    }
    let net = TcpNet::listening(listener, connections(&settings.limits, tls))
        .context("could not listen")?;
    let coordinator: Option<Box<dyn CoordinatorPort>> = match &settings.cluster.coordinator {
        Some(Coordinator::Outside(address)) => {
            Some(Box::new(Port::connect_secured(address, &settings.cluster.name, security)))
        }
        Some(Coordinator::Node(_)) | None => None,
    };
    let archive = archive.map(|port| Box::new(port) as Box<dyn ArchivePort>);
    let world = World { net, journal, timer: TokioTimer::new(), coordinator, archive, observer };
    let recorder = recorder(&settings.recorder, &node, recordings)?;
    let stop = Stop::default();
    let asked = stop.asked.clone();
    let reason = run_recorded_node(node, recorder, world, Box::new(log), stop.wait()).await;
    if asked.load(Ordering::Relaxed) {
        tracing::info!("stopped");
        return Ok(Exit::Success);
    }
    bail!("the node had to stop: {reason}")
}

/// How the node reads what was trimmed.
fn archive(ArchiveUrl(url): &ArchiveUrl) -> anyhow::Result<StorePort> {
    StorePort::start(Archive::open(url)?).context("could not start to read the archive")
}

/// What every line of a log for programs says: whose it is. The loop runs on this thread, too.
fn named(settings: &Settings) -> tracing::Span {
    tracing::error_span!("node", node = settings.node.id, cluster = settings.cluster.name)
}

/// Answers health checks from now on; the node's loop is asked through what this returns.
fn watch(
    health: HealthListener,
    settings: &Settings,
    journal: &JournalThread,
    archive: Option<&StorePort>,
) -> anyhow::Result<Box<dyn Observer>> {
    let (port, watcher) = observer(settings.health.patience.0);
    health.start(settings, watcher, journal.statistics(), archive.map(StorePort::statistics))?;
    Ok(Box::new(port))
}

/// What bounds the node's connections, and secures them.
fn connections(settings: &LimitSettings, tls: Option<Tls>) -> NetConfig {
    NetConfig {
        incoming_bytes_in_all: usize::try_from(settings.incoming.0).unwrap_or(usize::MAX),
        connections: settings.connections.get() as usize,
        connections_per_address: settings.connections_per_address.get() as usize,
        handshakes: settings.handshakes.get() as usize,
        rates: rates::of(settings),
        tls,
        ..limits(settings).into()
    }
}

fn recorder(
    settings: &RecorderSettings,
    node: &Node,
    recordings: Option<Recordings>,
) -> anyhow::Result<Option<FlightRecorder>> {
    let Some(recordings) = recordings else {
        refuse_requests()?;
        return Ok(None);
    };
    let bytes = usize::try_from(settings.bytes.0).unwrap_or(usize::MAX);
    Ok(Some(flight_recorder(Recorder::new(node, bytes), recordings)?))
}

/// Settings that don't go together.
fn usage(conflict: Conflict) -> anyhow::Error {
    let mut program = Cli::command();
    program.build();
    let serve = program.find_subcommand_mut("serve").expect("the program has this command");
    serve.error(ErrorKind::ArgumentConflict, conflict).into()
}

fn announce(
    settings: &Settings,
    listen: SocketAddr,
    health: Option<SocketAddr>,
    json: bool,
) -> anyhow::Result<()> {
    let ready = Ready {
        ready: true,
        listen: listen.to_string(),
        node: settings.node.id,
        cluster: settings.cluster.name.clone(),
        data: settings.node.data.clone(),
        health: health.map(|address| address.to_string()),
    };
    let mut output = Output::new();
    if json {
        output.json(&ready)?;
    } else {
        output.line(format_args!(
            "ready: node {} of cluster {:?} listens on {listen}, data in {}{}",
            ready.node,
            ready.cluster,
            ready.data.display(),
            ready.health.map(|address| format!(", health on {address}")).unwrap_or_default()
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
