//! Spare segments, made ready beside the journal's own work.

use std::io;
use std::thread::{self, JoinHandle};

use waltz_runtime::disk::Disk;
use waltz_runtime::journal::{Journal, Spare};

/// Has the next spare segment made, on a thread that lives as long as that takes.
#[derive(Debug)]
pub(super) struct Spares<D> {
    disk: D,
    state: SpareState,
}

#[derive(Debug)]
enum SpareState {
    Idle,
    InTheMaking(JoinHandle<io::Result<Spare>>),
    /// None could be made. The journal makes its segments itself, and will say what is wrong if
    /// it can't either.
    GivenUp,
}

impl<D: Disk + Clone> Spares<D> {
    /// `disk` is another handle of the journal's directory.
    pub(super) fn new(disk: D) -> Self {
        Self { disk, state: SpareState::Idle }
    }

    /// Hands over a spare that is ready and has one made when none is left. Never waits.
    pub(super) fn tend(&mut self, journal: &mut Journal<D>) {
        self.state = match std::mem::replace(&mut self.state, SpareState::Idle) {
            SpareState::InTheMaking(thread) if thread.is_finished() => match join(thread) {
                Ok(spare) => {
                    journal.add_spare(spare);
                    SpareState::Idle
                }
                Err(error) => Self::give_up(&error),
            },
            SpareState::Idle if journal.wants_spare() => {
                let (request, mut disk) = (journal.request_spare(), self.disk.clone());
                let thread = thread::Builder::new().name("journal-spare".into());
                match thread.spawn(move || request.fulfil(&mut disk)) {
                    Ok(thread) => SpareState::InTheMaking(thread),
                    Err(error) => Self::give_up(&error),
                }
            }
            other => other,
        };
    }

    fn give_up(error: &io::Error) -> SpareState {
        tracing::warn!(%error, "no spare journal segment can be made ready");
        SpareState::GivenUp
    }
}

impl<D> Drop for Spares<D> {
    fn drop(&mut self) {
        if let SpareState::InTheMaking(thread) =
            std::mem::replace(&mut self.state, SpareState::Idle)
        {
            // A spare that nobody waits for any more: it is found at the next opening, or not.
            let _ = join(thread);
        }
    }
}

fn join(thread: JoinHandle<io::Result<Spare>>) -> io::Result<Spare> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("its thread panicked")))
}
