//! A closed loop of calls: so many are always under way, and no task is made for any of them.

mod call;

use std::time::{Duration, Instant};

use bytes::Bytes;
use waltz_client::{Client, ClientConfig, NoDatabase, PartitionId, PartitionLocalLock, Partitions};
use waltz_core::time::Random;

use crate::commands::connect::connect;
use crate::commands::window::Window;
use crate::measure::latency::Latencies;
use call::{Call, Ended};

/// What to send.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// Each record's data.
    pub(super) payload: Bytes,
    /// Appends under way, in all.
    pub(super) in_flight: u32,
    /// Clients.
    pub(super) connections: u32,
    /// Partitions to spread over.
    pub(super) partitions: u32,
    /// Each append changes one of so many locks; none, when zero.
    pub(super) locks: u64,
    /// Contexts, executed until they are committed, rather than single tries.
    pub(super) submit: bool,
}

/// When to send, and when to count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phase {
    /// What ends from here on is counted.
    pub(super) from: Instant,
    /// What ends later is not, and nothing new is sent.
    pub(super) to: Instant,
    /// The most to send, in all.
    pub(super) records: u64,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// In the log.
    pub(super) committed: u64,
    /// Refused by a lock.
    pub(super) conflicts: u64,
    /// Failed in any other way.
    pub(super) failed: u64,
    /// Why the first of these failed.
    pub(super) first_error: Option<String>,
    /// Of the committed ones.
    pub(super) latencies: Latencies,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.committed += other.committed;
        self.conflicts += other.conflicts;
        self.failed += other.failed;
        self.first_error = self.first_error.take().or(other.first_error);
        self.latencies.add(&other.latencies);
    }

    fn count(&mut self, started: Instant, now: Instant, ended: Ended) {
        match ended {
            Ended::Committed => {
                self.committed += 1;
                self.latencies.record(now.saturating_duration_since(started));
            }
            Ended::Conflict => self.conflicts += 1,
            Ended::Failed(error) => {
                self.failed += 1;
                self.first_error.get_or_insert(error);
            }
        }
    }
}

impl Load {
    /// Connects the clients.
    pub(super) async fn connect(&self, config: &ClientConfig) -> anyhow::Result<Vec<Client>> {
        let partitions = (0..self.partitions).map(PartitionId).collect::<Partitions>();
        let config = config.clone().partitions(partitions);
        let config = config.max_outstanding(self.in_flight as usize);
        let mut clients = Vec::new();
        for _ in 0..self.connections {
            let client = connect(config.clone(), NoDatabase::newest()).await?;
            client.flush().await?;
            clients.push(client);
        }
        Ok(clients)
    }

    /// Drives the clients through a phase.
    pub(super) async fn drive(&self, clients: &[Client], phase: Phase) -> Tally {
        let lanes = self.lanes(clients, phase);
        let running: Vec<_> = lanes.into_iter().map(|lane| tokio::spawn(lane.run())).collect();
        let mut all = Tally::default();
        for lane in running {
            match lane.await {
                Ok(tally) => all.add(tally),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        all
    }

    /// One lane for each client and partition; slots and records are shared out evenly.
    fn lanes(&self, clients: &[Client], phase: Phase) -> Vec<Lane> {
        let partitions = (0..self.partitions).map(PartitionId);
        let ways: Vec<_> = partitions
            .flat_map(|partition| clients.iter().map(move |client| (client, partition)))
            .take(self.in_flight as usize)
            .collect();
        let share = |total: u64, index: usize| {
            let (ways, index) = (ways.len() as u64, index as u64);
            total / ways + u64::from(index < total % ways)
        };
        let lane = |(index, (client, partition)): (usize, &(&Client, PartitionId))| Lane {
            client: (*client).clone(),
            partition: *partition,
            payload: self.payload.clone(),
            slots: share(u64::from(self.in_flight), index) as usize,
            left: share(phase.records, index),
            locks: self.locks,
            submit: self.submit,
            random: Random::new(index as u64),
            phase,
        };
        ways.iter().enumerate().map(lane).collect()
    }
}

/// One client's calls of one partition.
struct Lane {
    client: Client,
    partition: PartitionId,
    payload: Bytes,
    slots: usize,
    left: u64,
    locks: u64,
    submit: bool,
    random: Random,
    phase: Phase,
}

impl Lane {
    async fn run(mut self) -> Tally {
        let (mut window, mut tally) = (Window::new(), Tally::default());
        let mut now = Instant::now();
        loop {
            while now < self.phase.to && self.left > 0 && window.len() < self.slots {
                self.left -= 1;
                window.push(now, self.call());
            }
            if window.is_empty() {
                return tally;
            }
            let first = window.next().await;
            now = Instant::now();
            let mut ended = Some(first);
            while let Some((started, how)) = ended {
                if (self.phase.from..=self.phase.to).contains(&now) {
                    tally.count(started, now, how);
                }
                ended = window.next_ready().await;
            }
        }
    }

    fn call(&mut self) -> Call {
        let locks = (self.locks > 0).then(|| self.random.bits() % self.locks);
        let lock = locks.map(|lock| PartitionLocalLock::new("bench", lock));
        let (partition, payload) = (self.partition, self.payload.clone());
        match self.submit {
            true => Call::submit(&self.client, partition, payload, lock),
            false => Call::append(&self.client, partition, payload, lock),
        }
    }
}

/// Bytes that don't compress.
pub(super) fn payload(bytes: usize) -> Bytes {
    let mut random = Random::new(bytes as u64);
    (0..bytes).map(|_| random.bits() as u8).collect()
}

/// A phase that starts after a warm-up.
pub(super) fn timed(warm_up: Duration, duration: Duration) -> Phase {
    let from = Instant::now() + warm_up;
    Phase { from, to: from + duration, records: u64::MAX }
}
