//! Who runs, and who is killed when.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use waltz_core::time::Random;
use waltz_databases::Server;
use waltz_server::cluster::LocalCluster;

use super::Arguments;

const SHORTEST_ABSENCE: Duration = Duration::from_millis(20);
const LONGEST_ABSENCE: Duration = Duration::from_millis(500);
/// How long an instance may take to end what it has begun.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often each was killed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kills {
    nodes: u32,
    instances: u32,
    database: u32,
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, instances, database } = self;
        write!(f, "{nodes} of nodes, {instances} of instances, {database} of the database")
    }
}

/// Everything that can be killed.
pub(crate) struct Storm<'a> {
    pub(crate) cluster: LocalCluster,
    pub(crate) instances: Instances,
    server: Option<Server>,
    pub(crate) arguments: &'a Arguments,
    random: Random,
    due: Instant,
    kills: Kills,
}

impl<'a> Storm<'a> {
    pub(crate) fn new(
        cluster: LocalCluster,
        instances: Instances,
        server: Option<Server>,
        arguments: &'a Arguments,
    ) -> Self {
        let random = Random::new(arguments.seed);
        let due = Instant::now();
        Self { cluster, instances, server, arguments, random, due, kills: Kills::default() }
    }

    pub(crate) fn kills(&self) -> Kills {
        self.kills
    }

    /// Whether everything that can be killed was, at least once.
    pub(crate) fn is_over(&self) -> bool {
        let Kills { nodes, instances, database } = self.kills;
        nodes > 0 && instances > 0 && (database > 0 || self.server.is_none())
    }

    /// Kills something and starts it again, when it is time to.
    pub(crate) async fn strike(&mut self) -> anyhow::Result<()> {
        self.instances.check()?;
        if Instant::now() < self.due {
            return Ok(());
        }
        let absence = self.random.between(SHORTEST_ABSENCE, LONGEST_ABSENCE);
        let choice = (self.random.bits() % 8) as usize;
        match (choice, &mut self.server) {
            (0..=2, _) => {
                self.kills.nodes += 1;
                self.cluster.kill(choice).await?;
                sleep(absence).await;
                self.cluster.restart(choice).await?;
            }
            (3, Some(server)) => {
                self.kills.database += 1;
                tokio::task::block_in_place(|| server.kill())?;
                sleep(absence).await;
                tokio::task::block_in_place(|| server.restart())?;
            }
            (choice, _) => {
                self.kills.instances += 1;
                self.instances.kill(choice % 2).await?;
                sleep(absence).await;
                self.instances.start(choice % 2)?;
            }
        }
        let pause = Duration::from_millis(self.arguments.kill_every);
        self.due = Instant::now() + self.random.between(pause / 2, pause * 3 / 2);
        Ok(())
    }
}

/// The instances of the service.
pub(crate) struct Instances {
    program: PathBuf,
    directory: PathBuf,
    url: String,
    servers: String,
    lives: u32,
    running: [Option<Child>; 2],
}

impl Instances {
    pub(crate) fn new(directory: &Path, url: &str, servers: &[String]) -> anyhow::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            directory: directory.to_owned(),
            url: url.to_owned(),
            servers: servers.join(","),
            lives: 0,
            running: [None, None],
        })
    }

    /// Where instances write down what they were told.
    pub(crate) fn told(directory: &Path, index: usize) -> PathBuf {
        directory.join(format!("told-{index}"))
    }

    pub(crate) fn start_all(&mut self) -> anyhow::Result<()> {
        (0..self.running.len()).try_for_each(|index| self.start(index))
    }

    fn start(&mut self, index: usize) -> anyhow::Result<()> {
        self.lives += 1;
        let log = self.directory.join(format!("instance-{index}.log"));
        let log = File::options().create(true).append(true).open(log)?;
        let child = Command::new(&self.program)
            .arg("instance")
            .args(["--servers", &self.servers, "--url", &self.url])
            .arg("--life")
            .arg(self.lives.to_string())
            .arg("--told")
            .arg(Self::told(&self.directory, index))
            .stdin(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        self.running[index] = Some(child);
        Ok(())
    }

    async fn kill(&mut self, index: usize) -> anyhow::Result<()> {
        if let Some(mut child) = self.running[index].take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Nobody ends without being asked to.
    fn check(&mut self) -> anyhow::Result<()> {
        for (index, child) in self.running.iter_mut().enumerate() {
            if let Some(status) = child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                let log = self.directory.join(format!("instance-{index}.log"));
                let log = std::fs::read_to_string(log).unwrap_or_default();
                bail!("instance {index} ended by itself, {status}:\n{log}");
            }
        }
        Ok(())
    }

    /// Lets all of them end what they have begun.
    pub(crate) async fn finish(&mut self) -> anyhow::Result<()> {
        self.check()?;
        for child in self.running.iter_mut().flatten() {
            drop(child.stdin.take());
        }
        for (index, child) in self.running.iter_mut().enumerate() {
            let Some(child) = child else { continue };
            let ended = timeout(PATIENCE, child.wait()).await;
            let status = ended.with_context(|| format!("instance {index} does not end"))??;
            if !status.success() {
                let log = self.directory.join(format!("instance-{index}.log"));
                let log = std::fs::read_to_string(log).unwrap_or_default();
                bail!("instance {index} failed, {status}:\n{log}");
            }
        }
        Ok(())
    }
}
