//! Spare segments, made ready beside the journal's own work.
//!
//! The thread that makes them is the first to find out that the disk is full. It tells the loop,
//! tries again every now and then, and tells when there is room.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use waltz_runtime::JournalEvent;
use waltz_runtime::disk::Disk;
use waltz_runtime::journal::{Journal, Spare, SpareRequest, is_full};

use crate::mailbox::{self, mailbox};

/// How long after a full disk was found it is tried again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// What is told of the disk's space alternates: more is never on its way.
const REPORTS: usize = 2;

/// The writing thread's end of the thread that makes spares.
#[derive(Debug)]
pub(super) struct Spares {
    state: SpareState,
    /// Dropped first: that ends the thread.
    requests: Option<SyncSender<SpareRequest>>,
    made: Receiver<io::Result<Spare>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum SpareState {
    Idle,
    InTheMaking,
    /// None could be made. The journal makes its segments itself, and will say what is wrong if
    /// it can't either.
    GivenUp,
}

impl Spares {
    /// Starts the thread. `disk` is another handle of the journal's directory. What is said of its
    /// space comes out of the mailbox.
    pub(super) fn start<D: Disk>(disk: D) -> io::Result<(Self, mailbox::Receiver<JournalEvent>)> {
        let (requests, requested) = sync_channel(1);
        let (finished, made) = sync_channel(1);
        let (reports, reported) = mailbox(REPORTS);
        let maker = Maker { disk, requested, finished, reports };
        let thread = thread::Builder::new().name("journal-spares".into());
        let thread = Some(thread.spawn(move || maker.run())?);
        Ok((Self { state: SpareState::Idle, requests: Some(requests), made, thread }, reported))
    }

    /// Hands over a spare that is ready and has one made when the journal wants one. Never waits.
    pub(super) fn tend<D: Disk>(&mut self, journal: &mut Journal<D>) {
        if let Ok(made) = self.made.try_recv() {
            self.state = match made {
                Ok(spare) => {
                    journal.add_spare(spare);
                    SpareState::Idle
                }
                Err(error) => {
                    tracing::warn!(%error, "no spare journal segment can be made ready");
                    SpareState::GivenUp
                }
            };
        }
        if matches!(self.state, SpareState::Idle)
            && journal.wants_spare()
            && let Some(requests) = &self.requests
            && requests.try_send(journal.request_spare()).is_ok()
        {
            self.state = SpareState::InTheMaking;
        }
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.requests = None;
        // A spare that nobody waits for any more is found at the next opening, or not. A panic was
        // printed where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What the thread has.
struct Maker<D> {
    disk: D,
    requested: Receiver<SpareRequest>,
    finished: SyncSender<io::Result<Spare>>,
    reports: mailbox::Sender<JournalEvent>,
}

impl<D: Disk> Maker<D> {
    /// Ends once nobody asks any more.
    fn run(mut self) {
        while let Ok(request) = self.requested.recv() {
            let Some(made) = self.make(&request) else { return };
            if self.finished.send(made).is_err() {
                return;
            }
        }
    }

    /// Makes a spare, however long there is no room for it; `None`: nobody waits for it any more.
    fn make(&mut self, request: &SpareRequest) -> Option<io::Result<Spare>> {
        let mut made = request.fulfil(&mut self.disk);
        if !made.as_ref().is_err_and(is_full) {
            return Some(made);
        }
        // A loop that is gone needs not know.
        let _ = self.reports.send(JournalEvent::Space { is_full: true });
        while made.as_ref().is_err_and(is_full) {
            match self.requested.recv_timeout(LOOK_AGAIN) {
                Err(RecvTimeoutError::Disconnected) => return None,
                Ok(_) | Err(RecvTimeoutError::Timeout) => made = request.fulfil(&mut self.disk),
            }
        }
        let _ = self.reports.send(JournalEvent::Space { is_full: false });
        Some(made)
    }
}
