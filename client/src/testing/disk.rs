//! A disk in memory under a journal like any other: what was synced is there after a crash.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use waltz_core::io::Ticket;
use waltz_core::journal::{Entry, Place};
use waltz_runtime::disk::{Disk, ReadDisk};
use waltz_runtime::journal::{Journal, JournalError, Reader};
use waltz_runtime::{JournalEvent, JournalPort};

/// The files of one node; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct TestDisk(Arc<Mutex<BTreeMap<String, File>>>);

type File = Arc<Mutex<Vec<u8>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl ReadDisk for TestDisk {
    type File = File;

    fn list(&mut self) -> io::Result<Vec<String>> {
        Ok(lock(&self.0).keys().cloned().collect())
    }

    fn open(&mut self, name: &str) -> io::Result<(File, u64)> {
        let file = lock(&self.0).get(name).cloned().ok_or_else(not_found)?;
        let length = lock(&file).len() as u64;
        Ok((file, length))
    }

    fn read_at(&mut self, file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
        let start = offset as usize;
        let file = lock(file);
        let bytes = file.get(start..start + length).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Bytes::copy_from_slice(bytes))
    }
}

impl Disk for TestDisk {
    fn create_zeroed(&mut self, name: &str, length: u64) -> io::Result<File> {
        let file = Arc::new(Mutex::new(vec![0; length as usize]));
        lock(&self.0).insert(name.to_owned(), file.clone());
        Ok(file)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut files = lock(&self.0);
        let file = files.remove(from).ok_or_else(not_found)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        lock(&self.0).remove(name).map(drop).ok_or_else(not_found)
    }

    fn write_at(&mut self, file: &File, offset: u64, slices: &[Bytes]) -> io::Result<()> {
        let (mut file, mut start) = (lock(file), offset as usize);
        for slice in slices {
            let end = start + slice.len();
            file.get_mut(start..end).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(slice);
            start = end;
        }
        Ok(())
    }

    fn sync(&mut self, _: &File) -> io::Result<()> {
        Ok(())
    }
}

/// The way to a journal on a [`TestDisk`]: every batch is durable at once.
#[derive(Debug)]
pub(super) struct TestJournal {
    journal: Journal<TestDisk>,
    reader: Reader<TestDisk>,
    disk: TestDisk,
    queued: Vec<(Ticket, Entry)>,
    release: Option<u32>,
    events: Vec<JournalEvent>,
    waker: Option<Waker>,
}

impl TestJournal {
    pub(super) fn new(journal: Journal<TestDisk>, disk: TestDisk) -> Self {
        Self {
            journal,
            reader: Reader::new(disk.clone()),
            disk,
            queued: Vec::new(),
            release: None,
            events: Vec::new(),
            waker: None,
        }
    }

    fn write(&mut self) -> Result<(), JournalError> {
        if let Some(below) = self.release.take() {
            for released in self.journal.release(below)? {
                // What is not removed now is removed by the next opening.
                let _ = released.remove(&mut self.disk);
            }
            self.reader.release(below);
        }
        if !self.queued.is_empty() {
            self.journal.write(std::mem::take(&mut self.queued))?;
            let synced = self.journal.sync()?;
            let (up_to, places) = (synced.up_to, synced.places);
            self.tell(JournalEvent::Durable { up_to, places });
        }
        Ok(())
    }

    fn tell(&mut self, event: JournalEvent) {
        self.events.push(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl JournalPort for TestJournal {
    fn append(&mut self, entry: Entry, ticket: Ticket) {
        self.queued.push((ticket, entry));
    }

    fn release(&mut self, below: u32) {
        self.release = self.release.max(Some(below));
    }

    fn replay_from(&mut self, segment: u32) {
        self.journal.replay_from(segment);
    }

    fn read(&mut self, ticket: Ticket, places: Vec<Place>) {
        let result = self.reader.read(&places).map_err(|error| error.to_string());
        self.tell(JournalEvent::Read { ticket, result });
    }

    fn flush(&mut self) {
        if let Err(error) = self.write() {
            self.tell(JournalEvent::Failed { error: error.to_string() });
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<JournalEvent>) -> Poll<()> {
        if self.events.is_empty() {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        events.append(&mut self.events);
        Poll::Ready(())
    }
}
