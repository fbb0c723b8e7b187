//! The way to a journal whose writes, syncs and reads take virtual time.
//!
//! What is flushed while a sync is under way is the next batch, as with a thread of its own. All
//! work is done while the process is polled: one that stands still writes nothing, and one that
//! is killed leaves on the disk what had been written by then.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use waltz_core::io::{Address, Ticket};
use waltz_core::journal::{Entry, EntryHead, Fold, Place};
use waltz_core::time::{Random, Time};
use waltz_runtime::journal::{
    Journal, JournalConfig, JournalError, Reader, Recovery, Released, is_full,
};
use waltz_runtime::{JournalEvent, JournalPort};

use crate::alarm::VirtualTime;
use crate::disk::{SimDisk, SimDisks};
use crate::fault::Chance;
use crate::trace::{Event, Trace};

/// One process' way to its journal.
pub struct SimJournal {
    host: Address,
    time: VirtualTime,
    trace: Trace,
    random: Random,
    disks: SimDisks,
    journal: Journal<SimDisk>,
    reader: Reader<SimDisk>,
    /// What is done with it would be done by another thread.
    helper: SimDisk,
    queued: Vec<(Ticket, Entry)>,
    /// Flushed; the next batch.
    staged: Vec<(Ticket, Entry)>,
    /// What the sync under way makes durable.
    syncing: Vec<EntryHead>,
    /// When the sync of what is written ends.
    sync_ends: Option<Time>,
    /// By when they end.
    reads: BTreeMap<(Time, Ticket), Vec<Place>>,
    /// To be released between two syncs.
    release: Option<u32>,
    /// Their files are still there.
    released: VecDeque<Released>,
    failure: Failure,
    /// When to look again whether a full disk has room.
    looks_again: Option<Time>,
    waker: Option<Waker>,
}

/// How long after a file could not be made it is tried again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

#[derive(Debug)]
enum Failure {
    None,
    Untold(String),
    Told,
}

impl SimJournal {
    /// Opens or formats the journal on a host's disk.
    pub(crate) fn open(
        host: &Address,
        (time, trace, mut random): (VirtualTime, Trace, Random),
        disks: &SimDisks,
        config: JournalConfig,
        fold: &mut dyn Fold,
    ) -> Result<(Self, Recovery), JournalError> {
        let (journal, recovery) = Journal::open(disks.disk(host), config, random.bits(), fold)?;
        let (entries, from) = (recovery.entries, recovery.replayed_from.unwrap_or(0));
        let text = format_args!("recovers {entries} journal entries from segment {from} on");
        trace.record(time.now(), Event::on(host, text));
        let port = Self {
            host: host.clone(),
            time,
            trace,
            random,
            disks: disks.clone(),
            journal,
            reader: Reader::new(disks.disk(host)),
            helper: disks.disk(host),
            queued: Vec::new(),
            staged: Vec::new(),
            syncing: Vec::new(),
            sync_ends: None,
            reads: BTreeMap::new(),
            release: None,
            released: VecDeque::new(),
            failure: Failure::None,
            looks_again: None,
            waker: None,
        };
        Ok((port, recovery))
    }

    /// Releases what is to be released, writes what is staged and begins to sync it.
    fn begin(&mut self) {
        self.release_segments();
        if self.staged.is_empty() || self.has_failed() {
            return;
        }
        self.syncing.extend(self.staged.iter().map(|(_, entry)| entry.head.clone()));
        match self.journal.write(std::mem::take(&mut self.staged)) {
            Ok(()) => {
                let ends = self.time.now() + self.disks.sync_latency(&self.host);
                self.sync_ends = Some(ends);
                self.wake_at(ends);
            }
            Err(error) => self.fail(&error),
        }
    }

    fn end_sync(&mut self, events: &mut Vec<JournalEvent>) {
        self.sync_ends = None;
        match self.journal.sync() {
            Ok(synced) => {
                for entry in self.syncing.drain(..) {
                    self.trace.record(self.time.now(), Event::durable(&self.host, &entry));
                }
                events.push(JournalEvent::Durable { up_to: synced.up_to, places: synced.places });
                self.remove_released();
                self.prepare_spare(events);
                self.begin();
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Makes a spare ready now and then: another thread would, and be late now and then.
    fn prepare_spare(&mut self, events: &mut Vec<JournalEvent>) {
        if self.journal.wants_spare() && Chance::percent(50).strikes(&mut self.random) {
            self.make_spare(events);
        }
    }

    /// Without one the journal makes its next segment itself.
    fn make_spare(&mut self, events: &mut Vec<JournalEvent>) {
        match self.journal.request_spare().fulfil(&mut self.helper) {
            Ok(spare) => {
                self.journal.add_spare(spare);
                if self.looks_again.take().is_some() {
                    events.push(JournalEvent::Space { is_full: false });
                }
            }
            Err(error) if is_full(&error) => {
                let at = self.time.now() + LOOK_AGAIN;
                if self.looks_again.replace(at).is_none() {
                    events.push(JournalEvent::Space { is_full: true });
                }
                self.wake_at(at);
            }
            Err(_) => {}
        }
    }

    fn release_segments(&mut self) {
        if self.has_failed() {
            return;
        }
        let below = self.release.take();
        below.into_iter().for_each(|below| self.reader.release(below));
        let released = match below {
            Some(below) => self.journal.release(below),
            None => self.journal.release_due(),
        };
        match released {
            Ok(released) => {
                self.released.extend(released);
                self.remove_released();
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Removes released segments now and then: another thread would, and be late now and then.
    fn remove_released(&mut self) {
        while let Some(released) = self.released.front()
            && Chance::percent(70).strikes(&mut self.random)
        {
            // One that can't be removed is removed by the next opening.
            let _ = released.remove(&mut self.helper);
            self.released.pop_front();
        }
    }

    fn has_failed(&self) -> bool {
        !matches!(self.failure, Failure::None)
    }

    fn fail(&mut self, error: &JournalError) {
        let text = format_args!("journal: {error}");
        self.trace.record(self.time.now(), Event::on(&self.host, text));
        self.failure = Failure::Untold(error.to_string());
        self.wake_at(self.time.now());
    }

    fn wake_at(&self, at: Time) {
        if let Some(waker) = &self.waker {
            self.time.wake_at(at, waker);
        }
    }

    /// Every wake-up at hand is for the task that polls now.
    fn register(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            let ends = self.reads.keys().map(|(ends, _)| *ends).chain(self.sync_ends);
            let ends = ends.chain(self.looks_again);
            ends.for_each(|ends| self.wake_at(ends));
        }
    }
}

impl JournalPort for SimJournal {
    fn append(&mut self, entry: Entry, ticket: Ticket) {
        self.queued.push((ticket, entry));
    }

    fn read(&mut self, ticket: Ticket, places: Vec<Place>) {
        let ends = self.time.now() + self.disks.read_latency(&self.host);
        self.reads.insert((ends, ticket), places);
        self.wake_at(ends);
    }

    fn release(&mut self, below: u32) {
        self.release = self.release.max(Some(below));
    }

    fn replay_from(&mut self, segment: u32) {
        self.journal.replay_from(segment);
    }

    fn flush(&mut self) {
        self.staged.append(&mut self.queued);
        if self.sync_ends.is_none() {
            self.begin();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<JournalEvent>) -> Poll<()> {
        self.register(cx);
        let (now, told) = (self.time.now(), events.len());
        if self.sync_ends.is_some_and(|ends| ends <= now) {
            self.end_sync(events);
        }
        if self.looks_again.is_some_and(|at| at <= now) {
            self.remove_released();
            self.make_spare(events);
        }
        while let Some(read) = self.reads.first_entry().filter(|read| read.key().0 <= now) {
            let ((_, ticket), places) = read.remove_entry();
            let result = self.reader.read(&places).map_err(|error| error.to_string());
            events.push(JournalEvent::Read { ticket, result });
        }
        if let Failure::Untold(error) = &mut self.failure {
            events.push(JournalEvent::Failed { error: std::mem::take(error) });
            self.failure = Failure::Told;
        }
        if events.len() > told { Poll::Ready(()) } else { Poll::Pending }
    }
}
