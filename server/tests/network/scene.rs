//! The machines with what runs on them, and doing them harm.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::oneshot;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep_until};
use waltz_databases::CoordinatorServer;
use waltz_server::cluster::LocalCluster;

use super::faults::{Event, Fault, Faults};
use super::links::{Links, Machine};

/// Nodes on the first machines, members of the coordinator on the next ones, clients on the last.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) cluster: LocalCluster,
    pub(crate) members: Vec<CoordinatorServer>,
    pub(crate) links: Arc<Links>,
    /// Faults, and when each is over.
    pub(crate) active: Vec<(Instant, Fault)>,
}

impl Scene {
    /// Nothing is wrong yet.
    pub(crate) fn new(
        cluster: LocalCluster,
        members: Vec<CoordinatorServer>,
        links: Arc<Links>,
    ) -> Self {
        Self { cluster, members, links, active: Vec::new() }
    }

    /// Does harm until told to stop, and mends everything at last.
    pub(crate) async fn suffer(
        &mut self,
        faults: &mut Faults,
        mut stopped: oneshot::Receiver<()>,
    ) -> anyhow::Result<()> {
        loop {
            let (pause, fault) = match faults.next() {
                Event::Calm(calm) => {
                    self.mend_all().await?;
                    (calm, None)
                }
                Event::Fault { pause, fault, lasting } => (pause, Some((fault, lasting))),
            };
            let over = Instant::now() + pause;
            while let Some(next) = self.next_due(over) {
                tokio::select! {
                    biased;
                    _ = &mut stopped => return self.mend_all().await,
                    () = sleep_until(next) => self.mend_due().await?,
                }
                if next == over {
                    break;
                }
            }
            if let Some((fault, lasting)) = fault {
                self.harm(fault, lasting).await?;
            }
        }
    }

    /// When something is to be done next, up to a time.
    fn next_due(&self, latest: Instant) -> Option<Instant> {
        self.active.iter().map(|(due, _)| *due).chain([latest]).min()
    }

    async fn harm(&mut self, fault: Fault, lasting: Duration) -> anyhow::Result<()> {
        tracing::info!(?fault, ?lasting, "harm");
        match &fault {
            Fault::Cut { .. } | Fault::Slow { .. } => {}
            Fault::Kill(machine) | Fault::Halt(machine) if self.is_harmed(*machine) => {
                return Ok(());
            }
            Fault::Kill(machine) => match machine.checked_sub(self.cluster.len()) {
                None => self.cluster.kill(*machine).await?,
                Some(member) => block_in_place(|| self.members[member].kill())?,
            },
            Fault::Halt(machine) => match machine.checked_sub(self.cluster.len()) {
                None => self.cluster.signal(*machine, Signal::STOP)?,
                Some(member) => self.members[member].pause()?,
            },
        }
        self.active.push((Instant::now() + lasting, fault));
        self.relink();
        Ok(())
    }

    /// Whether a machine's process is killed or halted already.
    fn is_harmed(&self, machine: Machine) -> bool {
        self.active
            .iter()
            .any(|(_, fault)| matches!(fault, Fault::Kill(m) | Fault::Halt(m) if *m == machine))
    }

    async fn mend_all(&mut self) -> anyhow::Result<()> {
        for (due, _) in &mut self.active {
            *due = Instant::now();
        }
        self.mend_due().await
    }

    async fn mend_due(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        let (over, active) =
            std::mem::take(&mut self.active).into_iter().partition(|(d, _)| *d <= now);
        self.active = active;
        self.relink();
        let over: Vec<(Instant, Fault)> = over;
        for (_, fault) in over {
            match fault {
                Fault::Cut { .. } | Fault::Slow { .. } => {}
                Fault::Kill(machine) => match machine.checked_sub(self.cluster.len()) {
                    None => self.cluster.restart(machine).await?,
                    Some(member) => block_in_place(|| self.members[member].restart())?,
                },
                Fault::Halt(machine) => match machine.checked_sub(self.cluster.len()) {
                    None => self.cluster.signal(machine, Signal::CONT)?,
                    Some(member) => self.members[member].resume()?,
                },
            }
        }
        Ok(())
    }

    /// Has the links be as the faults together make them.
    fn relink(&self) {
        self.links.heal();
        let all: Vec<Machine> = (0..self.links.machines()).collect();
        for (_, fault) in &self.active {
            match fault {
                Fault::Cut { from, to, both_ways } => {
                    self.links.change(from, to, |link| link.is_cut = true);
                    if *both_ways {
                        self.links.change(to, from, |link| link.is_cut = true);
                    }
                }
                Fault::Slow { from, delay, loss } => {
                    let slow = |link: &mut super::links::Link| {
                        (link.delay, link.loss) = (link.delay.max(*delay), link.loss.max(*loss));
                    };
                    self.links.change(from, &all, slow);
                }
                Fault::Kill(_) | Fault::Halt(_) => {}
            }
        }
    }
}
