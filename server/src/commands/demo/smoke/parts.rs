//! All parts of the smoke test, and bouncing them.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};
use waltz_core::time::Random;
use waltz_databases::CoordinatorServer;

use super::client::Progress;
use crate::cluster::{ClusterPlan, LocalCluster};
use crate::trial::PATIENCE;

const CLIENTS: u32 = 2;
const SHORTEST_ABSENCE: Duration = Duration::from_millis(20);
const LONGEST_ABSENCE: Duration = Duration::from_millis(1500);
/// How often it is looked whether all clients have stopped.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// So many parts may be away at once.
const MOST_AWAY: usize = 2;

/// Everything that takes part: nodes, the coordinator if it is none of them, and clients.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) cluster: LocalCluster,
    coordinator: Option<CoordinatorServer>,
    clients: Vec<ClientProcess>,
    labels: Vec<String>,
    pub(super) directory: PathBuf,
}

impl Parts {
    /// Starts the clients of a cluster that runs.
    ///
    /// # Errors
    /// When a client can't be started.
    pub(super) fn start(
        cluster: LocalCluster,
        coordinator: Option<CoordinatorServer>,
        plan: &ClusterPlan,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let roles = plan.places.iter().map(|place| place.roles.unwrap_or_default());
        let nodes = roles.enumerate().map(|(index, roles)| format!("{roles} {}", index + 1));
        let outside = coordinator.as_ref().map(|_| "coordinator".to_owned());
        let names = (1..=CLIENTS).map(|number| format!("client {number}"));
        let labels = nodes.chain(outside).chain(names).collect();
        let new = |number| ClientProcess {
            program: plan.program.clone(),
            directory: directory.to_owned(),
            servers: cluster.addresses().join(","),
            number,
            life: 0,
            child: None,
            progress: Arc::default(),
            earlier: Progress::default(),
        };
        let mut clients: Vec<_> = (1..=CLIENTS).map(new).collect();
        clients.iter_mut().try_for_each(ClientProcess::start)?;
        Ok(Self { cluster, coordinator, clients, labels, directory: directory.to_owned() })
    }

    /// How many parts there are.
    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// What a part is called.
    pub(super) fn label(&self, part: usize) -> &str {
        &self.labels[part]
    }

    /// How far each client is.
    pub(super) fn progress(&self) -> Vec<Progress> {
        self.clients.iter().map(ClientProcess::total).collect()
    }

    /// How many transactions some client has read.
    pub(super) fn committed(&self) -> u64 {
        let read = |progress: Progress| progress.read.values().map(|read| read.transactions).sum();
        self.progress().into_iter().map(read).max().unwrap_or(0)
    }

    /// Nobody ends without being asked to.
    ///
    /// # Errors
    /// When a client has.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        self.clients.iter_mut().try_for_each(ClientProcess::check)
    }

    /// Lets the clients end what they have begun, and read everything once nobody submits any more.
    ///
    /// # Errors
    /// When one fails.
    pub(super) async fn finish(&mut self) -> anyhow::Result<()> {
        for client in &mut self.clients {
            client.tell_to_stop().await?;
        }
        let stopping = async {
            while !self.clients.iter().all(|client| client.total().stopped) {
                self.check()?;
                tokio::time::sleep(LOOK_EVERY).await;
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, stopping).await.context("a client goes on submitting")??;
        for client in &mut self.clients {
            client.ask_to_end();
        }
        for client in &mut self.clients {
            client.ended().await?;
            if !client.total().finished {
                bail!("client {} did not come to its end", client.number);
            }
        }
        Ok(())
    }

    async fn take_away(&mut self, part: usize, kindly: bool) -> anyhow::Result<()> {
        let nodes = self.cluster.len();
        let outside = usize::from(self.coordinator.is_some());
        match (part.checked_sub(nodes), &self.coordinator) {
            (None, _) if kindly => self.cluster.stop_one(part, PATIENCE).await?,
            (None, _) => self.cluster.kill(part).await?,
            (Some(0), Some(coordinator)) => tokio::task::block_in_place(|| coordinator.kill())?,
            (Some(index), _) => {
                let client = &mut self.clients[index - outside];
                match kindly {
                    true => {
                        client.ask_to_end();
                        client.ended().await?;
                    }
                    false => client.kill().await?,
                }
            }
        }
        Ok(())
    }

    async fn bring_back(&mut self, part: usize) -> anyhow::Result<()> {
        let nodes = self.cluster.len();
        let outside = usize::from(self.coordinator.is_some());
        match (part.checked_sub(nodes), &self.coordinator) {
            (None, _) => self.cluster.restart(part).await?,
            (Some(0), Some(coordinator)) => tokio::task::block_in_place(|| coordinator.restart())?,
            (Some(index), _) => self.clients[index - outside].start()?,
        }
        Ok(())
    }
}

/// Takes parts away and brings them back, at random from a seed.
#[derive(Debug)]
pub(super) struct Bounces {
    random: Random,
    every: Duration,
    due: Instant,
    away: Vec<(Instant, usize)>,
    counts: Vec<u64>,
    /// Whose turn it still is before anybody is bounced once more.
    round: Vec<usize>,
}

impl Bounces {
    pub(super) fn new(seed: u64, every: Duration, parts: usize) -> Self {
        let (random, due) = (Random::new(seed), Instant::now() + every);
        let (away, counts, round) = (Vec::new(), vec![0; parts], Vec::new());
        Self { random, every, due, away, counts, round }
    }

    /// How often each part was bounced.
    pub(super) fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Whether every part was bounced, or none is to be.
    pub(super) fn is_enough(&self) -> bool {
        self.every.is_zero() || self.counts.iter().all(|count| *count > 0)
    }

    /// Whether a part is away.
    pub(super) fn is_away(&self, part: usize) -> bool {
        self.away.iter().any(|(_, away)| *away == part)
    }

    /// Does what is due.
    ///
    /// # Errors
    /// When a part can't be ended or started.
    pub(super) async fn go_on(&mut self, parts: &mut Parts) -> anyhow::Result<()> {
        let now = Instant::now();
        while let Some(index) = self.away.iter().position(|(until, _)| *until <= now) {
            let (_, part) = self.away.swap_remove(index);
            parts.bring_back(part).await?;
        }
        if now < self.due || self.every.is_zero() {
            return Ok(());
        }
        self.due = now + self.random.between(self.every / 2, self.every * 3 / 2);
        let part = self.next();
        let kindly = self.random.bits().is_multiple_of(3);
        if self.away.len() < MOST_AWAY && !self.is_away(part) {
            self.round.retain(|waiting| *waiting != part);
            parts.take_away(part, kindly).await?;
            self.counts[part] += 1;
            let absence = self.random.between(SHORTEST_ABSENCE, LONGEST_ABSENCE);
            self.away.push((Instant::now() + absence, part));
        }
        Ok(())
    }

    fn next(&mut self) -> usize {
        if self.round.is_empty() {
            self.round = (0..self.counts.len()).collect();
        }
        let index = self.random.bits() % self.round.len() as u64;
        self.round[index as usize]
    }

    /// Brings everybody back.
    ///
    /// # Errors
    /// When a part can't be started.
    pub(super) async fn end(&mut self, parts: &mut Parts) -> anyhow::Result<()> {
        for (_, part) in std::mem::take(&mut self.away) {
            parts.bring_back(part).await?;
        }
        Ok(())
    }
}

/// A client's process.
struct ClientProcess {
    program: PathBuf,
    directory: PathBuf,
    servers: String,
    number: u32,
    life: u32,
    child: Option<Child>,
    /// What it said last, in this life.
    progress: Arc<Mutex<Progress>>,
    /// What it said last in its earlier lives, added up.
    earlier: Progress,
}

impl fmt::Debug for ClientProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, life, .. } = self;
        f.debug_struct("ClientProcess").field("number", number).field("life", life).finish()
    }
}

impl ClientProcess {
    fn start(&mut self) -> anyhow::Result<()> {
        self.earlier = self.total();
        self.life += 1;
        let log = self.directory.join(format!("client-{}.log", self.number));
        let log = File::options().create(true).append(true).open(log)?;
        let mut child = Command::new(&self.program)
            .args(["demo", "smoke-client", "--server", &self.servers])
            .arg(format!("--timeout={}s", PATIENCE.as_secs()))
            .arg(format!("--directory={}", self.directory.display()))
            .arg(format!("--client={}", self.number))
            .arg(format!("--life={}", self.life))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("could not start client {}", self.number))?;
        let stdout = child.stdout.take().expect("standard output is piped");
        self.progress = Arc::default();
        let progress = self.progress.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                // A line that a kill has cut short says nothing.
                if let Ok(said) = serde_json::from_str(&line) {
                    *progress.lock().unwrap_or_else(PoisonError::into_inner) = said;
                }
            }
        });
        self.child = Some(child);
        Ok(())
    }

    /// This life and those before.
    fn total(&self) -> Progress {
        let now = self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let earlier = &self.earlier;
        Progress {
            written: earlier.written + now.written,
            retries: earlier.retries + now.retries,
            failed: earlier.failed + now.failed,
            longest_pause_ms: now.longest_pause_ms,
            read: if now.read.is_empty() { earlier.read.clone() } else { now.read },
            stopped: now.stopped,
            finished: now.finished,
        }
    }

    fn check(&mut self) -> anyhow::Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        match child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("client {} ended by itself, {status}", self.number),
        }
    }

    async fn tell_to_stop(&mut self) -> anyhow::Result<()> {
        let stdin = self.child.as_mut().and_then(|child| child.stdin.as_mut());
        let stdin = stdin.with_context(|| format!("client {} does not run", self.number))?;
        let written = stdin.write_all(b"stop\n").await;
        written.with_context(|| format!("could not tell client {} to stop", self.number))
    }

    fn ask_to_end(&mut self) {
        drop(self.child.as_mut().and_then(|child| child.stdin.take()));
    }

    async fn ended(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let ended = timeout(PATIENCE, child.wait()).await;
        let status = ended.with_context(|| format!("client {} does not end", self.number))??;
        if !status.success() {
            bail!("client {} failed, {status}", self.number);
        }
        Ok(())
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }
}
