//! The threads of one journal.
//!
//! One writes and syncs: it takes everything queued as one batch, makes it durable, reports it,
//! and takes what was queued meanwhile. So the slower the disk, the larger the batches; no timer
//! is involved. A second one reads, and others are there while a spare segment is being filled
//! with zeros, or files of released segments are removed; none of them makes a sync wait.
//!
//! After a failed write or sync nothing more is written.

mod removals;
mod spares;
mod statistics;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use waltz_core::io::Ticket;
use waltz_core::journal::{Entry, Place};
use waltz_runtime::disk::Disk;
use waltz_runtime::journal::{Journal, JournalError, Reader, Synced};
use waltz_runtime::{JournalEvent, JournalPort};

use crate::mailbox::{Disconnected, Receiver, Sender, mailbox};

use removals::Removals;
use spares::Spares;
pub use statistics::JournalStatistics;

/// The most entries and notes on their way to the writing thread, and so in a batch.
const ENTRIES: usize = 4096;
/// The most reads on their way to the reading thread, and the most of its answers.
const READS: usize = 64;
/// The most reports of the writing thread on their way to the loop.
const REPORTS: usize = 64;

/// What the writing thread is asked for.
#[derive(Debug)]
enum Work {
    Append(Ticket, Entry),
    Release(u32),
    ReplayFrom(u32),
}

/// What the reading thread is asked for.
#[derive(Debug)]
enum Query {
    Read(Ticket, Vec<Place>),
    Release(u32),
}

/// A loop's end of a journal. Dropping it waits until everything flushed is durable, or failed.
#[derive(Debug)]
pub struct JournalThread {
    /// Not flushed, or there was no room.
    work: VecDeque<Work>,
    to_writer: Sender<Work>,
    from_writer: Receiver<JournalEvent>,
    /// There was no room.
    queries: VecDeque<Query>,
    to_reader: Sender<Query>,
    from_reader: Receiver<JournalEvent>,
    /// What is said of the disk's space.
    from_spares: Receiver<JournalEvent>,
    /// It failed, and the loop was told.
    is_over: bool,
    statistics: Arc<JournalStatistics>,
    /// Last, so that it is dropped after the mailboxes: their closing ends the threads.
    _threads: Threads,
}

impl JournalThread {
    /// Starts the threads of an open journal. `disk` is another handle of its directory.
    ///
    /// # Errors
    /// When the operating system has no thread to give.
    pub fn start<D: Disk + Clone>(journal: Journal<D>, disk: D) -> io::Result<Self>
    where
        D::File: 'static,
    {
        // First, so that a failure on the way closes the mailboxes before it is dropped.
        let mut threads = Threads::default();
        let (to_writer, work) = mailbox(ENTRIES);
        let (reports, from_writer) = mailbox(REPORTS);
        let (to_reader, queries) = mailbox(READS);
        let (answers, from_reader) = mailbox(READS);
        let reader = Reader::new(disk.clone());
        let statistics = Arc::new(JournalStatistics::new(journal.segment_count()));
        let (spares, from_spares) = Spares::start(disk.clone())?;
        let writer = Writer {
            journal,
            spares,
            removals: Removals::new(disk),
            statistics: statistics.clone(),
        };
        threads.start("journal", move || writer.run(work, reports))?;
        threads.start("journal-reads", move || answer_reads(reader, queries, answers))?;
        Ok(Self {
            work: VecDeque::new(),
            to_writer,
            from_writer,
            queries: VecDeque::new(),
            to_reader,
            from_reader,
            from_spares,
            is_over: false,
            statistics,
            _threads: threads,
        })
    }

    /// What the writing thread counts.
    pub fn statistics(&self) -> Arc<JournalStatistics> {
        self.statistics.clone()
    }

    /// Takes what the threads reported. Ready when there was something.
    fn poll_reports(&mut self, cx: &Context<'_>, events: &mut Vec<JournalEvent>) -> Poll<()> {
        let before = events.len();
        let outcomes =
            [self.from_writer.poll_take(cx, events), self.from_reader.poll_take(cx, events)];
        self.is_over = events[before..].iter().any(|e| matches!(e, JournalEvent::Failed { .. }));
        if !self.is_over && outcomes.contains(&Poll::Ready(Err(Disconnected))) {
            self.is_over = true;
            events.push(JournalEvent::Failed { error: "a thread of the journal panicked".into() });
        }
        // It ends with the writing thread, which says why.
        let _ = self.from_spares.poll_take(cx, events);
        if events.len() > before { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl JournalPort for JournalThread {
    fn append(&mut self, entry: Entry, ticket: Ticket) {
        self.work.push_back(Work::Append(ticket, entry));
    }

    fn read(&mut self, ticket: Ticket, places: Vec<Place>) {
        self.queries.push_back(Query::Read(ticket, places));
    }

    fn release(&mut self, below: u32) {
        self.queries.push_back(Query::Release(below));
        self.work.push_back(Work::Release(below));
    }

    fn replay_from(&mut self, segment: u32) {
        self.work.push_back(Work::ReplayFrom(segment));
    }

    fn flush(&mut self) {
        // A thread that is gone has said why, or `poll` will.
        if !self.work.is_empty() {
            let _ = self.to_writer.offer(&mut self.work);
        }
        if !self.queries.is_empty() {
            let _ = self.to_reader.offer(&mut self.queries);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<JournalEvent>) -> Poll<()> {
        if self.is_over {
            return Poll::Pending;
        }
        if !self.work.is_empty() {
            let _ = self.to_writer.poll_offer(cx, &mut self.work);
        }
        if !self.queries.is_empty() {
            let _ = self.to_reader.poll_offer(cx, &mut self.queries);
        }
        self.poll_reports(cx, events)
    }
}

/// What the writing thread has.
struct Writer<D: Disk> {
    journal: Journal<D>,
    spares: Spares,
    removals: Removals<D>,
    statistics: Arc<JournalStatistics>,
}

impl<D: Disk + Clone> Writer<D> {
    /// Ends once there is nothing left to do and never will be, or after a failure.
    fn run(mut self, mut work: Receiver<Work>, mut reports: Sender<JournalEvent>) {
        let mut taken = Vec::new();
        self.spares.tend(&mut self.journal);
        while work.take(&mut taken).is_ok() {
            match self.turn(taken.drain(..)) {
                // With the loop gone, what it flushed is made durable all the same.
                Ok(Some(Synced { up_to, places })) => {
                    let _ = reports.send(JournalEvent::Durable { up_to, places });
                }
                Ok(None) => {}
                Err(error) => {
                    let _ = reports.send(JournalEvent::Failed { error: error.to_string() });
                    return;
                }
            }
            self.spares.tend(&mut self.journal);
        }
    }

    /// Does what was asked for; returns what became durable by it.
    fn turn(&mut self, work: impl Iterator<Item = Work>) -> Result<Option<Synced>, JournalError> {
        let (mut batch, mut release) = (Vec::with_capacity(work.size_hint().0), None);
        for work in work {
            match work {
                Work::Append(ticket, entry) => batch.push((ticket, entry)),
                Work::Release(below) => release = release.max(Some(below)),
                Work::ReplayFrom(segment) => self.journal.replay_from(segment),
            }
        }
        self.removals.begin(self.journal.release_due()?);
        if let Some(below) = release {
            self.removals.begin(self.journal.release(below)?);
        }
        if batch.is_empty() {
            return Ok(None);
        }
        let entries = batch.len();
        let bytes = batch.iter().map(|(_, entry)| entry.body.len() as u64).sum();
        let began = Instant::now();
        self.journal.write(batch)?;
        let synced = self.journal.sync()?;
        self.statistics.batch_synced(entries, bytes, began.elapsed());
        self.statistics.segments_are(self.journal.segment_count());
        Ok(Some(synced))
    }
}

/// Ends once nobody asks, or takes the answers, any more.
fn answer_reads<D: Disk>(
    mut reader: Reader<D>,
    mut queries: Receiver<Query>,
    mut answers: Sender<JournalEvent>,
) {
    let mut taken = Vec::new();
    while queries.take(&mut taken).is_ok() {
        for query in taken.drain(..) {
            match query {
                Query::Release(below) => reader.release(below),
                Query::Read(ticket, places) => {
                    let result = reader.read(&places).map_err(|error| error.to_string());
                    if answers.send(JournalEvent::Read { ticket, result }).is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Threads that end by themselves, and are waited for.
#[derive(Debug, Default)]
struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    fn start(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.0.push(thread::Builder::new().name(name.into()).spawn(work)?);
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for thread in self.0.drain(..) {
            // A panic was printed where it happened, and the loop told of the failure.
            let _ = thread.join();
        }
    }
}
