//! What is durable on every disk, as the harness knows it: each host's journal entries in order,
//! and the logs they fold to. It survives crashes, and judges what recovery brings back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use waltz_core::id::{Mark, PartitionId, SessionId, TransactionId};
use waltz_core::io::{Address, Ticket};
use waltz_core::journal::{Entry, EntryHead, Place};
use waltz_core::limits::Limits;
use waltz_core::record::{RecordView, Records, Run};
use waltz_runtime::{JournalEvent, JournalPort};

/// A record on one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) session: SessionId,
    pub(crate) bytes: Bytes,
}

/// A run of records in one host's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) partition: PartitionId,
    pub(crate) first: TransactionId,
    pub(crate) count: u32,
    pub(crate) place: Place,
}

impl Stored {
    /// The record.
    pub(crate) fn record(&self) -> RecordView<'_> {
        let parsed = RecordView::parse(&self.bytes, &Limits::default());
        parsed.expect("it was verified when it was stored").0
    }
}

/// One host's journal.
#[derive(Debug, Clone, Default)]
struct HostHistory {
    /// Entries that the disk said are durable, and what recovery accepted beyond them.
    durable: Vec<Entry>,
    /// Where the runs among them are.
    kept: Vec<Kept>,
    /// Entries given to the journal since, in order.
    pending: VecDeque<(Ticket, Entry)>,
    /// The fold of the durable ones.
    logs: BTreeMap<PartitionId, Vec<Stored>>,
}

/// All journals; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct History(Arc<Mutex<BTreeMap<Address, HostHistory>>>);

impl History {
    /// Compares what recovery read with what must be there: everything that was durable, then
    /// some of what was on its way, nothing else.
    pub(crate) fn recovered(
        &self,
        host: &Address,
        found: &[(EntryHead, Option<Place>)],
    ) -> Result<(), String> {
        let mut hosts = self.lock();
        let history = hosts.entry(host.clone()).or_default();
        let pending = history.pending.drain(..).map(|(_, entry)| entry);
        let mut expected = history.durable.clone();
        let durable = expected.len();
        expected.extend(pending);
        if found.len() < durable {
            return Err(format!(
                "{host} had {durable} durable entries and recovered {}",
                found.len()
            ));
        }
        for (index, (head, _)) in found.iter().enumerate() {
            let entry = expected
                .get(index)
                .ok_or_else(|| format!("{host} recovered an entry nobody wrote: {head:?}"))?;
            if entry.head != *head {
                return Err(format!("{host}: entry {index} was {:?} and is {head:?}", entry.head));
            }
        }
        let accepted = expected.drain(durable..found.len()).zip(&found[durable..]);
        for (entry, (_, place)) in accepted {
            history.fold(entry, *place);
        }
        Ok(())
    }

    /// How many disks hold a record at this place that is as asked.
    pub(crate) fn copies(
        &self,
        partition: PartitionId,
        id: TransactionId,
        is: impl Fn(&Stored) -> bool,
    ) -> usize {
        let hosts = self.lock();
        let has = |history: &&HostHistory| {
            let log = history.logs.get(&partition);
            log.and_then(|log| log.get(id.0 as usize)).is_some_and(&is)
        };
        hosts.values().filter(has).count()
    }

    /// Where a host keeps its runs of records, those included that were cut since.
    pub(crate) fn kept(&self, host: &Address) -> Vec<Kept> {
        self.lock().get(host).map(|history| history.kept.clone()).unwrap_or_default()
    }

    /// The most bytes that any host has given to its journal and that are not durable.
    pub(crate) fn most_pending_bytes(&self) -> u64 {
        let pending = |history: &HostHistory| -> usize {
            history.pending.iter().map(|(_, entry)| entry.body.len()).sum()
        };
        self.lock().values().map(pending).max().unwrap_or(0) as u64
    }

    /// Every host's log of every partition.
    pub(crate) fn logs(&self) -> BTreeMap<Address, BTreeMap<PartitionId, Vec<Stored>>> {
        let hosts = self.lock();
        hosts.iter().map(|(host, history)| (host.clone(), history.logs.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Address, HostHistory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostHistory {
    fn fold(&mut self, entry: Entry, place: Option<Place>) {
        match &entry.head {
            EntryHead::Cut { partition, keep } => {
                self.logs.entry(*partition).or_default().truncate(keep.last.count() as usize);
            }
            EntryHead::Records { partition, session, first, count, .. } => {
                let limits = Limits::default();
                let run = Run::verify(*session, *first, *count, entry.body.clone(), &limits)
                    .expect("a replica journals sound runs only");
                let log = self.logs.entry(*partition).or_default();
                assert_eq!(Mark::before(run.first).count(), log.len() as u64, "runs follow on");
                log.extend(stored(&run));
                let (partition, first, count) = (*partition, *first, *count);
                self.kept.extend(place.map(|place| Kept { partition, first, count, place }));
            }
            _ => {}
        }
        self.durable.push(entry);
    }
}

fn stored(run: &Run) -> impl Iterator<Item = Stored> + '_ {
    let session = run.session;
    let records: Records<'_> = run.records();
    records.map(move |record: RecordView<'_>| Stored {
        session,
        bytes: run.bytes.slice_ref(record.bytes()),
    })
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
        let mut hosts = self.history.lock();
        let history = hosts.entry(self.host.clone()).or_default();
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
            let mut hosts = self.history.lock();
            let history = hosts.entry(self.host.clone()).or_default();
            while history.pending.front().is_some_and(|(ticket, _)| ticket <= up_to) {
                let (ticket, entry) = history.pending.pop_front().expect("checked");
                history.fold(entry, places.get(&ticket).copied());
            }
        }
        poll
    }
}
