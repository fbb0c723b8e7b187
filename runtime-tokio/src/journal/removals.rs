//! Files of released segments, removed beside the journal's own work.

use std::thread::{self, JoinHandle};

use waltz_runtime::disk::Disk;
use waltz_runtime::journal::Released;

/// Removes files, on a thread that lives as long as that takes.
#[derive(Debug)]
pub(super) struct Removals<D> {
    disk: D,
    threads: Vec<JoinHandle<()>>,
}

impl<D: Disk + Clone> Removals<D> {
    /// `disk` is another handle of the journal's directory.
    pub(super) fn new(disk: D) -> Self {
        Self { disk, threads: Vec::new() }
    }

    /// Has the files of these segments removed. Never waits.
    pub(super) fn begin(&mut self, released: Vec<Released>) {
        self.threads.retain(|thread| !thread.is_finished());
        if released.is_empty() {
            return;
        }
        let mut disk = self.disk.clone();
        let work = move || {
            for segment in released {
                if let Err(error) = segment.remove(&mut disk) {
                    tracing::warn!(%error, ?segment, "a released segment can't be removed yet");
                }
            }
        };
        match thread::Builder::new().name("journal-removals".into()).spawn(work) {
            Ok(thread) => self.threads.push(thread),
            // The next opening removes them.
            Err(error) => tracing::warn!(%error, "released segments can't be removed yet"),
        }
    }
}

impl<D> Drop for Removals<D> {
    fn drop(&mut self) {
        for thread in self.threads.drain(..) {
            // A panic was printed where it happened; what is left, the next opening removes.
            let _ = thread.join();
        }
    }
}
