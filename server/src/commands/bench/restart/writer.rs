//! A storage node without a network: the machine that keeps replicas, and its journal on files.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use waltz_core::coordinator::Coordinator;
use waltz_core::id::{ClusterKey, Mark, PartitionId, TransactionId};
use waltz_core::io::{Caller, Context, Effect, Ticket, Tickets};
use waltz_core::journal::{Entry, FoundBatch, Place, SegmentHeader};
use waltz_core::limits::Limits;
use waltz_core::node::Recovered;
use waltz_core::planted::Planted;
use waltz_core::storage::{Storage, StorageConfig, StorageReply};
use waltz_core::time::{Random, Time};
use waltz_core::wire::{ReplicaAnswer, ReplicaRequest};
use waltz_runtime::journal::{
    Examiner, Journal, JournalConfig, JournalError, Reader, Recovery, examine,
};
use waltz_runtime_tokio::FileDisk;

use super::records::{MEMBER, Shape, beginning, request};
use crate::commands::serve::{journal_config, journal_directory};
use crate::measure::process::resident_memory;

/// What is synced together, roughly.
const BATCH_BYTES: u64 = 2 << 20;

/// A node that takes appends.
pub(super) struct Writer {
    shape: Shape,
    disk: FileDisk,
    journal: Journal<FileDisk>,
    reader: Reader<FileDisk>,
    storage: Storage,
    random: Random,
    tickets: Tickets,
    /// Where each log goes on.
    logs: Vec<TransactionId>,
    /// Given to the journal and not written.
    batch: Vec<(Ticket, Entry)>,
    reads: VecDeque<(Ticket, Vec<Place>)>,
    /// Bytes of records.
    written: u64,
}

/// How an opening went.
pub(super) struct Opening {
    pub(super) seconds: f64,
    pub(super) recovery: Recovery,
    pub(super) memory_bytes: Option<u64>,
}

/// How a scan of everything went.
pub(super) struct Scan {
    pub(super) seconds: f64,
    pub(super) bytes: u64,
}

fn config() -> JournalConfig {
    journal_config(MEMBER.node, ClusterKey(1), Limits::default())
}

fn now() -> Time {
    Time::ZERO
}

impl Writer {
    /// A node with an empty journal, whose replicas have joined a session.
    ///
    /// # Errors
    /// When the directory can't be used.
    pub(super) fn begin(directory: &Path, shape: Shape) -> anyhow::Result<Self> {
        let disk = FileDisk::open(journal_directory(directory))?;
        let mut recovered = Recovered::new(Limits::default(), Planted::NONE);
        let (journal, _) = Journal::open(disk.clone(), config(), 1, &mut recovered)?;
        let mut storage = Storage::new(Limits::default(), Planted::NONE);
        let mut settings = StorageConfig::default();
        settings.scrub.bytes_per_second = 0;
        storage.identify(MEMBER, settings);
        let logs = vec![TransactionId::FIRST; shape.partitions as usize];
        let mut writer = Self {
            shape,
            reader: Reader::new(disk.clone()),
            disk,
            journal,
            storage,
            random: Random::new(1),
            tickets: Tickets::default(),
            logs,
            batch: Vec::new(),
            reads: VecDeque::new(),
            written: 0,
        };
        for partition in writer.partitions() {
            for request in beginning() {
                writer.ask(partition, request, Bytes::new())?;
            }
        }
        writer.sync()?;
        Ok(writer)
    }

    /// Bytes of all records.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// How many records there are.
    pub(super) fn records(&self) -> u64 {
        self.logs.iter().map(|next| next.0).sum()
    }

    /// Appends to all logs in turn, and makes that durable.
    ///
    /// # Errors
    /// When the disk fails or is full.
    pub(super) fn write(&mut self) -> anyhow::Result<()> {
        let enough = self.written + BATCH_BYTES;
        while self.written < enough {
            for partition in self.partitions() {
                let (index, count) = (partition.0 as usize, self.shape.run);
                let first = self.logs[index];
                let records = self.shape.records(first)?;
                self.logs[index] = TransactionId(first.0 + u64::from(count));
                self.written += records.len() as u64;
                let committed = Mark::before(first);
                self.ask(partition, ReplicaRequest::Append { first, count, committed }, records)?;
            }
        }
        self.sync()
    }

    /// The process dies and comes back: what it opens has to be what it had.
    ///
    /// # Errors
    /// When it is not, or the journal can't be opened.
    pub(super) fn restart(self) -> anyhow::Result<(Self, Opening)> {
        let Self { journal, disk, storage, .. } = self;
        drop(journal);
        let memory = || resident_memory(std::process::id());
        let before = memory();
        let mut recovered = Recovered::new(Limits::default(), Planted::NONE);
        let start = Instant::now();
        let (journal, recovery) = Journal::open(disk.clone(), config(), 2, &mut recovered)?;
        let seconds = start.elapsed().as_secs_f64();
        let memory_bytes = before.zip(memory()).map(|(before, after)| after.saturating_sub(before));
        ensure!(
            recovered.storage().replicas().eq(storage.replicas()),
            "the replicas that were recovered are not those that were written"
        );
        let opening = Opening { seconds, recovery, memory_bytes };
        Ok((Self { journal, disk, storage, ..self }, opening))
    }

    /// Reads and verifies the whole journal.
    ///
    /// # Errors
    /// When that fails.
    pub(super) fn scan(&mut self) -> anyhow::Result<Scan> {
        let start = Instant::now();
        let examination = examine(&mut self.disk, &mut Unmoved)?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(Scan { seconds, bytes: examination.recovery.bytes })
    }

    fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.shape.partitions).map(PartitionId)
    }

    fn ask(
        &mut self,
        partition: PartitionId,
        asked: ReplicaRequest,
        payload: Bytes,
    ) -> anyhow::Result<()> {
        let asked = request(partition, asked);
        self.step(|storage, cx, replies| {
            storage.on_request(cx, Caller::Local, asked, payload, replies);
        })
    }

    /// Makes durable what was appended, and does what comes of that.
    fn sync(&mut self) -> anyhow::Result<()> {
        while !self.batch.is_empty() {
            self.journal.write(std::mem::take(&mut self.batch))?;
            let synced = self.journal.sync()?;
            self.step(|storage, cx, replies| {
                storage.on_durable(cx, synced.up_to, &synced.places, replies);
                storage.checkpoint(cx, &Coordinator::new());
            })?;
            while let Some((ticket, places)) = self.reads.pop_front() {
                let result = self.reader.read(&places).map_err(|error| error.to_string());
                self.step(|storage, cx, replies| storage.on_read(cx, ticket, &result, replies))?;
            }
        }
        Ok(())
    }

    fn step(
        &mut self,
        step: impl FnOnce(&mut Storage, &mut Context<'_>, &mut Vec<StorageReply>),
    ) -> anyhow::Result<()> {
        let (mut effects, mut replies) = (Vec::new(), Vec::new());
        let (random, tickets) = (&mut self.random, &mut self.tickets);
        let mut cx = Context { now: now(), random, tickets, effects: &mut effects };
        step(&mut self.storage, &mut cx, &mut replies);
        for effect in effects {
            match effect {
                Effect::Append { entry, ticket } => self.batch.push((ticket, entry)),
                Effect::Read { ticket, places } => self.reads.push_back((ticket, places)),
                Effect::ReplayFrom { segment } => self.journal.replay_from(segment),
                Effect::Release { below } => {
                    for released in self.journal.release(below)? {
                        released.remove(&mut self.disk).context("could not give space back")?;
                    }
                    self.reader.release(below);
                }
                Effect::Report(report) => bail!("the node reports: {}", report.text),
                other => bail!("a node without a network can't {other:?}"),
            }
        }
        for reply in replies {
            match reply.message.answer {
                ReplicaAnswer::Opened { .. }
                | ReplicaAnswer::Adopted { .. }
                | ReplicaAnswer::Joined
                | ReplicaAnswer::Acked { .. } => {}
                other => bail!("the node refuses an append: {other:?}"),
            }
        }
        Ok(())
    }
}

/// Looks at everything, and keeps nothing.
struct Unmoved;

impl Examiner for Unmoved {
    type Error = JournalError;

    fn begin(&mut self, _: &[SegmentHeader], _: bool) -> Result<(), JournalError> {
        Ok(())
    }

    fn batch(&mut self, _: &SegmentHeader, _: FoundBatch<'_>) -> Result<(), JournalError> {
        Ok(())
    }
}
