//! One node's process.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use waltz_databases::Held;

use super::{ClusterError, ClusterPlan, Place};

const PATIENCE: Duration = Duration::from_secs(30);

/// The line with which a node says that it listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Always true.
    pub ready: bool,
    /// Where it listens; never port 0.
    pub listen: String,
    /// The node's number.
    pub node: u32,
    /// Its cluster.
    pub cluster: String,
    /// Where it keeps its data.
    pub data: PathBuf,
    /// Where health checks and metrics are answered, if they are; never port 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
}

/// A node, running or killed.
#[derive(Debug)]
pub struct NodeProcess {
    number: u32,
    program: PathBuf,
    arguments: Vec<String>,
    data: PathBuf,
    log: PathBuf,
    place: Place,
    listen: String,
    /// Keeps its port while it is down: others' connections start at free ports.
    _port: Option<Held>,
    child: Option<Child>,
}

impl NodeProcess {
    /// Starts a node and waits until it listens. Without a coordinator's address it is the
    /// coordinator itself.
    pub(super) async fn start(
        plan: &ClusterPlan,
        number: u32,
        coordinator: Option<String>,
    ) -> Result<Self, ClusterError> {
        let data = plan.directory.join(format!("node-{number}"));
        let mut arguments = vec![
            format!("--node={number}"),
            format!("--data={}", data.display()),
            format!("--partitions={}", plan.partitions),
            format!("--replicas={}", plan.replicas),
        ];
        let place = plan.place(number);
        let usual = match &coordinator {
            None => "coordinator,server,storage",
            Some(_) => "server,storage",
        };
        arguments.push(format!("--roles={}", place.roles.unwrap_or(usual)));
        arguments.extend(coordinator.map(|address| format!("--coordinator={address}")));
        if let Some(address) = &place.advertise {
            arguments.push(format!("--advertise={address}"));
        }
        arguments.extend(plan.arguments.iter().cloned());
        // Elsewhere, as in a network of its own, this process can't hold it.
        let port = match place.prefix.is_empty() {
            true => Some(Held::new(place.host).map_err(|source| ClusterError::Process {
                action: "hold a port for",
                number,
                source,
            })?),
            false => None,
        };
        let listen = SocketAddr::new(place.host, port.as_ref().map_or(0, Held::number));
        let mut node = Self {
            number,
            program: plan.program.clone(),
            arguments,
            data,
            log: plan.directory.join(format!("node-{number}.log")),
            listen: listen.to_string(),
            place,
            _port: port,
            child: None,
        };
        node.restart().await?;
        Ok(node)
    }

    /// The node's number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Where it is reached.
    pub fn address(&self) -> &str {
        self.place.advertise.as_ref().unwrap_or(&self.listen)
    }

    /// Where it listens.
    pub fn listens_on(&self) -> &str {
        &self.listen
    }

    /// Where it keeps its data.
    pub fn data_directory(&self) -> &Path {
        &self.data
    }

    /// Its process id, while it runs.
    pub fn process(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    pub(super) async fn restart(&mut self) -> Result<(), ClusterError> {
        let mut child = self.spawn().map_err(|source| self.error("start", source))?;
        let stdout = child.stdout.take().expect("standard output is piped");
        let mut line = String::new();
        let mut stdout = BufReader::new(stdout);
        let read = stdout.read_line(&mut line);
        let reason = match tokio::time::timeout(PATIENCE, read).await {
            Err(_) => format!("it said nothing for {} s", PATIENCE.as_secs()),
            Ok(Err(error)) => error.to_string(),
            Ok(Ok(0)) => "it ended".into(),
            Ok(Ok(_)) => match serde_json::from_str::<Ready>(&line) {
                Ok(ready) => {
                    self.listen = ready.listen;
                    self.child = Some(child);
                    return Ok(());
                }
                Err(_) => format!("it said {line:?}"),
            },
        };
        let log = self.log.clone();
        Err(ClusterError::NotReady { number: self.number, reason, last: last_line(&log), log })
    }

    /// Its standard input stays open as long as this process lives: that is how it knows.
    fn spawn(&self) -> io::Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut words = self.place.prefix.iter().map(OsStr::new).chain([self.program.as_os_str()]);
        let program = words.next().expect("there is a program at least");
        Command::new(program)
            .args(words)
            .args(["serve", "--json", "--while-stdin-open"])
            .arg(format!("--listen={}", self.listen))
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
    }

    pub(super) async fn kill(&mut self) -> Result<(), ClusterError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().await.map_err(|source| self.error("kill", source))
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), ClusterError> {
        let process = self.process().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(process) = process else { return Ok(()) };
        rustix::process::kill_process(process, signal)
            .map_err(|errno| self.error("signal", errno.into()))
    }

    pub(super) async fn wait_or_kill(&mut self, patience: Duration) -> Result<(), ClusterError> {
        let Some(child) = &mut self.child else { return Ok(()) };
        // Waiting would close it, and the node would end by that before it has stopped.
        let _open = child.stdin.take();
        if let Ok(ended) = tokio::time::timeout(patience, child.wait()).await {
            self.child = None;
            return ended.map(|_| ()).map_err(|source| self.error("watch", source));
        }
        self.kill().await
    }

    fn error(&self, action: &'static str, source: io::Error) -> ClusterError {
        ClusterError::Process { action, number: self.number, source }
    }
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().next_back().unwrap_or("nothing").to_owned()
}
