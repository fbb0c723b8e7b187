//! What is durable on every disk, as the harness knows it: each host's journal entries in order,
//! and the logs they fold to. It survives crashes, and judges what recovery brings back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use waltz_core::id::{PartitionId, TransactionId};
use waltz_core::io::{Address, Ticket};
use waltz_core::journal::{Entry, EntryHead, Place};
use waltz_runtime::{JournalEvent, JournalPort};

use crate::disk_log::{DiskLog, Stored};

/// Every host's logs.
pub(crate) type Logs = BTreeMap<Address, BTreeMap<PartitionId, DiskLog>>;

/// One host's journal.
#[derive(Debug, Clone, Default)]
struct HostHistory {
    /// Entries that the disk said are durable, and what recovery accepted beyond them.
    durable: Vec<EntryHead>,
    /// Entries given to the journal since, in order.
    pending: VecDeque<(Ticket, Entry)>,
    /// The fold of the durable ones.
    logs: BTreeMap<PartitionId, DiskLog>,
}

#[derive(Debug, Default)]
struct State {
    hosts: BTreeMap<Address, HostHistory>,
    /// What was trimmed anywhere, and so committed.
    trimmed: Trimmed,
    violations: Vec<String>,
}

/// Records that were trimmed.
pub(crate) type Trimmed = BTreeMap<(PartitionId, TransactionId), Stored>;

/// All journals; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct History(Arc<Mutex<State>>);

/// What an opening read of a journal.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// Its entries, in order, and where their bodies are.
    pub(crate) entries: Vec<(EntryHead, Option<Place>)>,
    /// Whether older entries are gone with their segments.
    pub(crate) released: bool,
    /// Whether part of it can't be told any more.
    pub(crate) suspect: bool,
}

impl History {
    /// Compares what recovery read with what must be there: everything that was durable, then
    /// some of what was on its way, nothing else. What was released may be missing at the
    /// beginning, and of a suspect journal anything.
    pub(crate) fn recovered(&self, host: &Address, opened: &Opened) -> Result<(), String> {
        let state = &mut *self.lock();
        let history = state.hosts.entry(host.clone()).or_default();
        let pending: Vec<_> = history.pending.drain(..).map(|(_, entry)| entry).collect();
        if opened.suspect {
            return Ok(());
        }
        let durable = history.durable.len();
        let found = &opened.entries;
        history.durable.extend(pending.iter().map(|entry| entry.head.clone()));
        let skipped = if opened.released { history.released(found, durable) } else { 0 };
        let Some(last) = (skipped + found.len()).checked_sub(durable) else {
            return Err(format!(
                "{host} had {durable} durable entries and recovered {}",
                found.len()
            ));
        };
        for (index, (head, _)) in found.iter().enumerate() {
            let expected = history
                .durable
                .get(skipped + index)
                .ok_or_else(|| format!("{host} recovered an entry nobody wrote: {head:?}"))?;
            if expected != head {
                return Err(format!("{host}: entry {index} was {expected:?} and is {head:?}"));
            }
        }
        history.durable.truncate(durable);
        for (entry, (_, place)) in pending.iter().zip(&found[found.len() - last..]) {
            state.fold(host, entry, *place);
        }
        Ok(())
    }

    /// The most bytes that any host has given to its journal and that are not durable.
    pub(crate) fn most_pending_bytes(&self) -> u64 {
        let pending = |history: &HostHistory| -> usize {
            history.pending.iter().map(|(_, entry)| entry.body.len()).sum()
        };
        self.lock().hosts.values().map(pending).max().unwrap_or(0) as u64
    }

    /// Every host's log of every partition.
    pub(crate) fn logs(&self) -> Logs {
        let state = self.lock();
        let hosts = state.hosts.iter();
        hosts.map(|(host, history)| (host.clone(), history.logs.clone())).collect()
    }

    /// The logs of one partition.
    pub(crate) fn logs_of(&self, partition: PartitionId) -> BTreeMap<Address, DiskLog> {
        let state = self.lock();
        let log = |(host, history): (&Address, &HostHistory)| {
            Some((host.clone(), history.logs.get(&partition)?.clone()))
        };
        state.hosts.iter().filter_map(log).collect()
    }

    /// What was trimmed anywhere.
    pub(crate) fn trimmed(&self) -> Trimmed {
        self.lock().trimmed.clone()
    }

    /// What entries contradict others.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostHistory {
    /// How many of the oldest entries were released, when these were found: as few as fit.
    fn released(&self, found: &[(EntryHead, Option<Place>)], durable: usize) -> usize {
        let fits = |skipped: &usize| {
            let rest = &self.durable[*skipped..];
            found.len() <= rest.len() && found.iter().zip(rest).all(|((head, _), one)| head == one)
        };
        let least = durable.saturating_sub(found.len());
        (least..=self.durable.len()).find(fits).unwrap_or(least)
    }
}

impl State {
    fn fold(&mut self, host: &Address, entry: &Entry, place: Option<Place>) {
        let history = self.hosts.entry(host.clone()).or_default();
        history.durable.push(entry.head.clone());
        let Some(partition) = entry.head.partition() else { return };
        let log = history.logs.entry(partition).or_default();
        for stored in log.fold(&entry.head, &entry.body, place) {
            let id = stored.record().id();
            let before = self.trimmed.entry((partition, id)).or_insert_with(|| stored.clone());
            if *before != stored {
                let text = format!("promise 3: {host} trimmed another {partition} {id}");
                self.violations.push(text);
            }
        }
    }
}

/// A journal whose entries the history follows.
pub(crate) struct Watched<J> {
    journal: J,
    host: Address,
    history: History,
}

impl<J> Watched<J> {
    pub(crate) fn new(journal: J, host: Address, history: History) -> Self {
        Self { journal, host, history }
    }
}

impl<J: JournalPort> JournalPort for Watched<J> {
    fn append(&mut self, entry: Entry, ticket: Ticket) {
        let mut state = self.history.lock();
        let history = state.hosts.entry(self.host.clone()).or_default();
        history.pending.push_back((ticket, entry.clone()));
        self.journal.append(entry, ticket);
    }

    fn read(&mut self, ticket: Ticket, places: Vec<Place>) {
        self.journal.read(ticket, places);
    }

    fn release(&mut self, below: u32) {
        self.journal.release(below);
    }

    fn flush(&mut self) {
        self.journal.flush();
    }

    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<JournalEvent>) -> Poll<()> {
        let before = events.len();
        let poll = self.journal.poll(cx, events);
        for event in &events[before..] {
            let JournalEvent::Durable { up_to, places } = event else {
                continue;
            };
            let places: BTreeMap<_, _> = places.iter().copied().collect();
            let state = &mut *self.history.lock();
            loop {
                let history = state.hosts.entry(self.host.clone()).or_default();
                let next = history.pending.front().filter(|(ticket, _)| ticket <= up_to);
                if next.is_none() {
                    break;
                }
                let (ticket, entry) = history.pending.pop_front().expect("checked");
                state.fold(&self.host, &entry, places.get(&ticket).copied());
            }
        }
        poll
    }
}
