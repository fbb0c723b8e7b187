//! What is durable on every disk, as the harness knows it: each disk's journal entries in order,
//! and the logs they fold to. It survives crashes, and judges what recovery brings back. A disk
//! that is lost is remembered as it was then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use waltz_core::id::{CreationId, Member, PartitionId, TransactionId};
use waltz_core::io::Ticket;
use waltz_core::journal::{Entry, EntryHead, Place};
use waltz_core::log::SetChange;
use waltz_core::membership::{Fact, Name, PartitionMeta};
use waltz_runtime::{JournalEvent, JournalPort};

use crate::disk_log::{DiskLog, Stored};

/// Every disk's logs.
pub(crate) type Logs = BTreeMap<Member, BTreeMap<PartitionId, DiskLog>>;

/// One disk's journal.
#[derive(Debug, Clone, Default)]
struct DiskHistory {
    /// Entries that the disk said are durable, and what recovery accepted beyond them.
    durable: Vec<EntryHead>,
    /// Entries given to the journal since, in order.
    pending: VecDeque<(Ticket, Entry)>,
    /// The fold of the durable ones.
    logs: BTreeMap<PartitionId, DiskLog>,
}

#[derive(Debug, Default)]
struct State {
    disks: BTreeMap<Member, DiskHistory>,
    /// Disks that are no more.
    lost: BTreeSet<Member>,
    /// Who waits for a promise or the like to be on its way.
    brink: Option<oneshot::Sender<Member>>,
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
    /// Whether older entries are gone with their segments, or were passed over.
    pub(crate) released: bool,
    /// Whether part of it can't be told any more.
    pub(crate) suspect: bool,
}

impl History {
    /// Compares what recovery read with what must be there: everything that was durable, then
    /// some of what was on its way, nothing else. What was released may be missing at the
    /// beginning, and of a suspect journal anything.
    pub(crate) fn recovered(&self, disk: Member, opened: &Opened) -> Result<(), String> {
        let state = &mut *self.lock();
        let (host, history) = (disk.node, state.disks.entry(disk).or_default());
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
            state.fold(disk, entry, *place);
        }
        Ok(())
    }

    /// Waits for something that a session stands on, and that is neither records nor durable.
    /// Whoever waits in vain is forgotten when the next one does.
    pub(crate) fn brink(&self) -> oneshot::Receiver<Member> {
        let (sender, receiver) = oneshot::channel();
        self.lock().brink = Some(sender);
        receiver
    }

    /// A disk is lost, with everything on it.
    pub(crate) fn lose(&self, disk: Member) {
        self.lock().lost.insert(disk);
    }

    /// The disks that are lost.
    pub(crate) fn lost(&self) -> BTreeSet<Member> {
        self.lock().lost.clone()
    }

    /// The most bytes that any node has given to its journal and that are not durable.
    pub(crate) fn most_pending_bytes(&self) -> u64 {
        let pending = |history: &DiskHistory| -> usize {
            history.pending.iter().map(|(_, entry)| entry.body.len()).sum()
        };
        self.lock().disks.values().map(pending).max().unwrap_or(0) as u64
    }

    /// Every disk's log of every partition; of lost ones as they were.
    pub(crate) fn logs(&self) -> Logs {
        let state = self.lock();
        state.disks.iter().map(|(disk, history)| (*disk, history.logs.clone())).collect()
    }

    /// The logs of the disks that are left.
    pub(crate) fn logs_left(&self) -> Logs {
        let lost = self.lost();
        self.logs().into_iter().filter(|(disk, _)| !lost.contains(disk)).collect()
    }

    /// The logs of one partition; of lost disks as they were.
    pub(crate) fn logs_of(&self, partition: PartitionId) -> BTreeMap<Member, DiskLog> {
        let state = self.lock();
        let log = |(disk, history): (&Member, &DiskHistory)| {
            Some((*disk, history.logs.get(&partition)?.clone()))
        };
        state.disks.iter().filter_map(log).collect()
    }

    /// The replica sets of a partition that are on their way to some disk.
    pub(crate) fn pending_sets(&self, partition: PartitionId) -> Vec<SetChange> {
        let state = self.lock();
        let pending = state.disks.values().flat_map(|history| &history.pending);
        let set = |(_, entry): &(Ticket, Entry)| match &entry.head {
            EntryHead::Create { set, .. } | EntryHead::Change { change: set, .. }
                if entry.head.partition() == Some(partition) =>
            {
                Some(set.clone())
            }
            _ => None,
        };
        pending.filter_map(set).collect()
    }

    /// What the coordinator's disk says of a partition.
    pub(crate) fn recorded(&self, partition: PartitionId) -> Option<PartitionMeta> {
        let name = Name::Partition(partition);
        let key = name.key();
        let state = self.lock();
        let durable = state.disks.values().flat_map(|history| &history.durable);
        let change = |head: &EntryHead| match head {
            EntryHead::Coordinator(change) if change.key == key => Some(change.clone()),
            _ => None,
        };
        let newest = durable.filter_map(change).max_by_key(|change| change.revision)?;
        match Fact::decode(name, &newest.value?.0) {
            Ok(Fact::Partition(_, meta)) => Some(meta),
            _ => None,
        }
    }

    /// Which log of a partition's number it is, as soon as a disk has it.
    pub(crate) fn creation(&self, partition: PartitionId) -> Option<CreationId> {
        let state = self.lock();
        let mut durable = state.disks.values().flat_map(|history| &history.durable);
        durable.find_map(|head| match head {
            EntryHead::Create { partition: of, creation, .. } if *of == partition => {
                Some(*creation)
            }
            _ => None,
        })
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

impl DiskHistory {
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
    fn fold(&mut self, disk: Member, entry: &Entry, place: Option<Place>) {
        let history = self.disks.entry(disk).or_default();
        history.durable.push(entry.head.clone());
        let Some(partition) = entry.head.partition() else { return };
        let log = history.logs.entry(partition).or_default();
        for stored in log.fold(&entry.head, &entry.body, place) {
            let id = stored.record().id();
            let before = self.trimmed.entry((partition, id)).or_insert_with(|| stored.clone());
            if *before != stored {
                let text = format!("promise 3: {} trimmed another {partition} {id}", disk.node);
                self.violations.push(text);
            }
        }
    }

    /// A disk gives up its segments below this one: no record may be in them.
    fn released(&mut self, disk: Member, below: u32) {
        let logs = self.disks.entry(disk).or_default().logs.iter();
        let is_held = |log: &DiskLog| log.places().any(|place| place.segment < below);
        for (partition, _) in logs.filter(|(_, log)| is_held(log)) {
            let text = format!("promise 2: {} gives up records of {partition}", disk.node);
            self.violations.push(text);
        }
    }
}

fn is_brink(head: &EntryHead) -> bool {
    matches!(
        head,
        EntryHead::Promise { .. }
            | EntryHead::Join { .. }
            | EntryHead::Cut { .. }
            | EntryHead::Change { .. }
            | EntryHead::Create { .. }
    )
}

/// A journal whose entries the history follows.
pub(crate) struct Watched<J> {
    journal: J,
    disk: Member,
    history: History,
}

impl<J> Watched<J> {
    pub(crate) fn new(journal: J, disk: Member, history: History) -> Self {
        Self { journal, disk, history }
    }
}

impl<J: JournalPort> JournalPort for Watched<J> {
    fn append(&mut self, entry: Entry, ticket: Ticket) {
        let mut state = self.history.lock();
        if is_brink(&entry.head)
            && let Some(waiting) = state.brink.take()
        {
            // Nobody may wait any more.
            let _ = waiting.send(self.disk);
        }
        let history = state.disks.entry(self.disk).or_default();
        history.pending.push_back((ticket, entry.clone()));
        self.journal.append(entry, ticket);
    }

    fn read(&mut self, ticket: Ticket, places: Vec<Place>) {
        self.journal.read(ticket, places);
    }

    fn release(&mut self, below: u32) {
        self.history.lock().released(self.disk, below);
        self.journal.release(below);
    }

    fn replay_from(&mut self, segment: u32) {
        self.journal.replay_from(segment);
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
                let history = state.disks.entry(self.disk).or_default();
                let next = history.pending.front().filter(|(ticket, _)| ticket <= up_to);
                if next.is_none() {
                    break;
                }
                let (ticket, entry) = history.pending.pop_front().expect("checked");
                state.fold(self.disk, &entry, places.get(&ticket).copied());
            }
        }
        poll
    }
}
