//! The threads of one journal.
//!
//! One writes and syncs: it takes everything queued as one batch, makes it durable, reports it,
//! and takes what was queued meanwhile. So the slower the disk, the larger the batches; no timer
//! is involved. A second one reads, and a third is there while a spare segment is being filled
//! with zeros; neither makes a sync wait.
//!
//! After a failed write or sync nothing more is written.

mod spares;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};

use waltz_core::io::Ticket;
use waltz_core::journal::{Entry, Place};
use waltz_runtime::disk::Disk;
use waltz_runtime::journal::{Journal, Reader, Synced};
use waltz_runtime::{JournalEvent, JournalPort};

use crate::mailbox::{Disconnected, Receiver, Sender, mailbox};

use spares::Spares;

/// The most entries on their way to the writing thread, and so in a batch.
const ENTRIES: usize = 4096;
/// The most reads on their way to the reading thread, and the most of its answers.
const READS: usize = 64;
/// The most reports of the writing thread on their way to the loop.
const REPORTS: usize = 64;

/// A loop's end of a journal. Dropping it waits until everything flushed is durable, or failed.
#[derive(Debug)]
pub struct JournalThread {
    /// Not flushed, or there was no room.
    entries: VecDeque<(Ticket, Entry)>,
    to_writer: Sender<(Ticket, Entry)>,
    from_writer: Receiver<JournalEvent>,
    /// There was no room.
    reads: VecDeque<(Ticket, Vec<Place>)>,
    to_reader: Sender<(Ticket, Vec<Place>)>,
    from_reader: Receiver<JournalEvent>,
    /// It failed, and the loop was told.
    is_over: bool,
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
        let (to_writer, entries) = mailbox(ENTRIES);
        let (reports, from_writer) = mailbox(REPORTS);
        let (to_reader, reads) = mailbox(READS);
        let (answers, from_reader) = mailbox(READS);
        let reader = Reader::new(disk.clone());
        let spares = Spares::new(disk);
        threads.start("journal", move || write_batches(journal, spares, entries, reports))?;
        threads.start("journal-reads", move || answer_reads(reader, reads, answers))?;
        Ok(Self {
            entries: VecDeque::new(),
            to_writer,
            from_writer,
            reads: VecDeque::new(),
            to_reader,
            from_reader,
            is_over: false,
            _threads: threads,
        })
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
        if events.len() > before { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl JournalPort for JournalThread {
    fn append(&mut self, entry: Entry, ticket: Ticket) {
        self.entries.push_back((ticket, entry));
    }

    fn read(&mut self, ticket: Ticket, places: Vec<Place>) {
        self.reads.push_back((ticket, places));
    }

    fn flush(&mut self) {
        // A thread that is gone has said why, or `poll` will.
        if !self.entries.is_empty() {
            let _ = self.to_writer.offer(&mut self.entries);
        }
        if !self.reads.is_empty() {
            let _ = self.to_reader.offer(&mut self.reads);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<JournalEvent>) -> Poll<()> {
        if self.is_over {
            return Poll::Pending;
        }
        if !self.entries.is_empty() {
            let _ = self.to_writer.poll_offer(cx, &mut self.entries);
        }
        if !self.reads.is_empty() {
            let _ = self.to_reader.poll_offer(cx, &mut self.reads);
        }
        self.poll_reports(cx, events)
    }
}

/// Ends once there is nothing left to write and never will be, or after a failure.
fn write_batches<D: Disk + Clone>(
    mut journal: Journal<D>,
    mut spares: Spares<D>,
    mut entries: Receiver<(Ticket, Entry)>,
    mut reports: Sender<JournalEvent>,
) {
    let mut batch = Vec::new();
    while entries.take(&mut batch).is_ok() {
        let outcome = journal.write(std::mem::take(&mut batch)).and_then(|()| journal.sync());
        match outcome {
            Ok(Synced { up_to, places }) => {
                // With the loop gone, what it flushed is made durable all the same.
                let _ = reports.send(JournalEvent::Durable { up_to, places });
            }
            Err(error) => {
                let _ = reports.send(JournalEvent::Failed { error: error.to_string() });
                return;
            }
        }
        spares.tend(&mut journal);
    }
}

/// Ends once nobody asks, or takes the answers, any more.
fn answer_reads<D: Disk>(
    mut reader: Reader<D>,
    mut reads: Receiver<(Ticket, Vec<Place>)>,
    mut answers: Sender<JournalEvent>,
) {
    let mut taken = Vec::new();
    while reads.take(&mut taken).is_ok() {
        for (ticket, places) in taken.drain(..) {
            let result = reader.read(&places).map_err(|error| error.to_string());
            if answers.send(JournalEvent::Read { ticket, result }).is_err() {
                return;
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
