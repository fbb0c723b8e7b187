//! The mounts of one session, what is around them, and what each client was told so far.

use std::collections::BTreeMap;

use super::step::Step;
use crate::explorer::explore::Broken;
use crate::id::{ClientId, Generation, Mark, MountId, PartitionId, TransactionId};
use crate::io::ConnectionId;
use crate::lock::LockId;
use crate::locks::LockConflict;
use crate::partition::mounts::{MountName, MountRequest, Mounts, MountsConfig, Outputs};
use crate::partition::testing::{SESSION, run_of};
use crate::planted::Planted;
use crate::record::Run;
use crate::wire::FeedMode;

pub(super) const CLIENTS: u64 = 4;
pub(super) const RECORDS: u64 = 60;
pub(super) const READS: usize = 2;
pub(super) const ARCHIVE_READS: usize = 1;
const GENERATION: Generation = Generation(1);

/// What the model knows of a mount.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) name: MountName,
    pub(super) mode: FeedMode,
    pub(super) after: Mark,
    pub(super) next: TransactionId,
    pub(super) credit: i64,
    /// What was numbered when it was made.
    pub(super) sequenced: Mark,
    /// How many rounds had begun when it was made.
    rounds_before: u64,
    /// What was committed when a round that began later succeeded.
    pub(super) confirmed: Option<Mark>,
    pub(super) ready: bool,
    /// Its conflicts that it was not told of: its sequence, and the cause.
    pub(super) held: Vec<(u64, TransactionId)>,
}

/// All of it.
pub(super) struct World {
    mounts: Mounts,
    pub(super) log: Run,
    numbered: u64,
    committed: u64,
    /// Everything up to here was trimmed.
    pub(super) start: Mark,
    /// Whether it is in an archive.
    pub(super) has_archive: bool,
    /// Whether the archive has just said of something that it lacks it.
    pub(super) lacked: bool,
    pub(super) told: BTreeMap<ClientId, Told>,
    /// Reads under way, and what they are still to be answered with.
    pub(super) reads: BTreeMap<u64, (TransactionId, Mark)>,
    /// Those of the archive, which are answered once each.
    pub(super) archive_reads: BTreeMap<u64, (TransactionId, Mark)>,
    pub(super) rounds: u64,
    pub(super) round_under_way: bool,
    last_mount: u64,
    sequence: u64,
    /// Mounts that others have taken the place of, on connections that are still open.
    replaced: Vec<MountName>,
}

/// One of some reads.
fn pick(reads: &BTreeMap<u64, (TransactionId, Mark)>, read: usize) -> Option<u64> {
    reads.keys().nth(read % reads.len().max(1)).copied()
}

/// The mark before this id.
pub(super) fn mark(count: u64) -> Mark {
    Mark::before(TransactionId(count))
}

impl World {
    pub(super) fn new(committed: u64, has_archive: bool, planted: Planted) -> Self {
        let config = MountsConfig {
            reads: READS,
            archive_reads: if has_archive { ARCHIVE_READS } else { 0 },
            tail_bytes: 900,
            header_tail_bytes: 700,
            ..Default::default()
        };
        Self {
            mounts: Mounts::new(
                config.into(),
                PartitionId(0),
                GENERATION,
                SESSION,
                mark(committed),
            )
            .with_planted(planted),
            log: run_of(0..RECORDS, |id| id.0 as usize * 7 % 90),
            numbered: committed,
            committed,
            start: Mark::NONE,
            has_archive,
            lacked: false,
            told: BTreeMap::new(),
            reads: BTreeMap::new(),
            archive_reads: BTreeMap::new(),
            rounds: 0,
            round_under_way: false,
            last_mount: 0,
            sequence: 0,
            replaced: Vec::new(),
        }
    }

    /// What is committed.
    pub(super) fn committed(&self) -> Mark {
        mark(self.committed)
    }

    fn part(&self, from: u64, to: u64) -> Option<Run> {
        self.log.slice(TransactionId(from), mark(to))
    }

    fn name(&self, client: u64) -> Option<MountName> {
        self.told.get(&ClientId(client)).map(|told| told.name)
    }

    /// Something happens, if it can; and what the mounts say to it is checked.
    pub(super) fn step(&mut self, step: Step) -> Result<(), Broken> {
        let mut out = Vec::new();
        match step {
            Step::Mount { client, after, headers, credit } => {
                self.mount(client, after, headers, credit, &mut out);
            }
            Step::Credit { client, bytes } => {
                if let Some(told) = self.told.get_mut(&ClientId(client)) {
                    told.credit += i64::from(bytes);
                    self.mounts.credit(told.name, bytes, &mut out);
                }
            }
            Step::Unmount { client } => {
                if let Some(name) = self.name(client) {
                    self.mounts.unmount(name, &mut out);
                }
            }
            Step::Close { client } => {
                if let Some(told) = self.told.remove(&ClientId(client)) {
                    self.mounts.closed(told.name.conn);
                }
            }
            Step::Number { records } => self.numbered = RECORDS.min(self.numbered + records),
            Step::Commit { records } => {
                let to = self.numbered.min(self.committed + records);
                if let Some(run) = self.part(self.committed, to) {
                    self.committed = to;
                    self.mounts.committed(&run, &mut out);
                }
            }
            Step::Answer { read, records, done } => self.answer(read, records, done, &mut out),
            Step::Trim { to } => {
                let start = mark(to).min(self.committed());
                self.start = self.start.max(start);
                self.mounts.trimmed(start, &mut out);
            }
            Step::Lack { read } => {
                if let Some(request) = pick(&self.archive_reads, read) {
                    self.archive_reads.remove(&request);
                    self.lacked = true;
                    self.mounts.not_archived(request, &mut out);
                }
            }
            Step::Fail { read } => {
                if let Some(request) = self.pick(read) {
                    self.reads.remove(&request);
                    self.archive_reads.remove(&request);
                    self.mounts.read_failed(request, "failed", &mut out);
                }
            }
            Step::Retry => {
                self.mounts.retry(&mut out);
                self.mounts.retry_archive(&mut out);
            }
            Step::Confirm => self.confirm(&mut out),
            Step::Conflict { client, id } => self.conflict(client, id, &mut out)?,
        }
        for output in out {
            self.check(output)?;
        }
        self.lacked = false;
        match self.replaced.iter().find(|name| self.mounts.admits(**name, SESSION)) {
            None => Ok(()),
            Some(name) => Err(format!("a former mount may append: {name:?}")),
        }
    }

    fn mount(&mut self, client: u64, after: u64, headers: bool, credit: u32, out: &mut Outputs) {
        self.last_mount += 1;
        let name = MountName {
            conn: ConnectionId::accepted(self.last_mount),
            client: ClientId(client),
            mount: MountId(self.last_mount),
        };
        // Now and then ahead of the log, mostly not.
        let after = mark(after % (self.committed + 3));
        let mode = if headers { FeedMode::Headers } else { FeedMode::Records };
        let told = Told {
            name,
            mode,
            after,
            next: after.next(),
            credit: credit.into(),
            sequenced: mark(self.numbered),
            rounds_before: self.rounds,
            confirmed: None,
            ready: false,
            held: Vec::new(),
        };
        self.replaced.extend(self.told.insert(name.client, told).map(|former| former.name));
        let request = MountRequest { name, generation: GENERATION, after, mode, credit };
        self.mounts.mount(request, mark(self.numbered), out);
    }

    fn pick(&self, read: usize) -> Option<u64> {
        match read % 2 {
            0 => pick(&self.reads, read / 2).or_else(|| pick(&self.archive_reads, read / 2)),
            _ => pick(&self.archive_reads, read / 2).or_else(|| pick(&self.reads, read / 2)),
        }
    }

    fn answer_archived(&mut self, request: u64, records: u64, out: &mut Outputs) {
        let Some((first, to)) = self.archive_reads.remove(&request) else { return };
        match self.part(first.0, to.count().min(first.0 + records)) {
            Some(run) => self.mounts.records(request, &run, true, out),
            None => self.mounts.read_failed(request, "nothing came", out),
        }
    }

    fn answer(&mut self, read: usize, records: u64, done: bool, out: &mut Outputs) {
        let Some(request) = self.pick(read) else {
            return;
        };
        let Some(&(first, to)) = self.reads.get(&request) else {
            return self.answer_archived(request, records, out);
        };
        let end = to.count().min(first.0 + records);
        match self.part(first.0, end) {
            Some(run) => {
                self.reads.insert(request, (TransactionId(end), to));
                let done = done || end == to.count();
                if done {
                    self.reads.remove(&request);
                }
                self.mounts.records(request, &run, done, out);
            }
            None => {
                self.reads.remove(&request);
                self.mounts.read_failed(request, "nothing came", out);
            }
        }
    }

    fn confirm(&mut self, out: &mut Outputs) {
        if !self.round_under_way {
            return;
        }
        self.round_under_way = false;
        let waiting = self.told.values_mut().filter(|told| told.confirmed.is_none());
        for told in waiting.filter(|told| told.rounds_before < self.rounds) {
            told.confirmed = Some(mark(self.committed));
        }
        self.mounts.confirmed(self.rounds, mark(self.committed), out);
    }

    fn conflict(&mut self, client: u64, id: u64, out: &mut Outputs) -> Result<(), Broken> {
        let Some(told) = self.told.get_mut(&ClientId(client)).filter(|_| id < self.numbered) else {
            return Ok(());
        };
        if self.mounts.admits(told.name, SESSION) {
            if !told.ready {
                return Err(format!("{:?} may append before it is ready", told.name));
            }
            self.sequence += 1;
            told.held.push((self.sequence, TransactionId(id)));
            let conflict = LockConflict { id: TransactionId(id), lock: LockId(1), exact: true };
            self.mounts.conflict(told.name, self.sequence, conflict, out);
        }
        Ok(())
    }

    /// Faults end: everything numbered is committed, reads and rounds succeed, credit flows. Then
    /// everybody knows everything.
    pub(super) fn settle(&mut self) -> Result<(), Broken> {
        self.step(Step::Commit { records: RECORDS })?;
        for _ in 0..10 * RECORDS {
            if self.is_settled() {
                return Ok(());
            }
            self.step(Step::Retry)?;
            self.step(Step::Confirm)?;
            self.step(Step::Answer { read: 0, records: RECORDS, done: true })?;
            for client in 1..=CLIENTS {
                self.step(Step::Credit { client, bytes: 100 })?;
            }
        }
        let (reads, mounted) = (&self.reads, self.mounts.mounted());
        Err(format!("it does not end: reads {reads:?}, {mounted} mounted of {:?}", self.told))
    }

    fn is_settled(&self) -> bool {
        let knows_all = |told: &Told| {
            Mark::before(told.next) == self.committed() && told.ready && told.held.is_empty()
        };
        self.reads.is_empty()
            && self.archive_reads.is_empty()
            && !self.round_under_way
            && self.mounts.mounted() == self.told.len()
            && self.told.values().all(knows_all)
    }
}
