//! What happened, in the order it happened, folded into a running hash; lines on demand.
//!
//! Two runs of one seed have equal hashes, in one process or in two; a difference is a leak of
//! something that the seed does not decide. A line is formatted only if somebody reads it, and
//! says nothing that the hash does not cover.

mod event;
mod filter;
mod hash;
mod message;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use waltz_core::time::Time;

pub use event::Event;
pub use filter::Filter;
use filter::Kept;
use hash::Hash;

#[derive(Debug)]
struct State {
    hash: Hash,
    events: u64,
    /// Kept only when asked for: a long run has millions.
    kept: Option<Kept>,
}

/// The recorder of one run; clones share it.
#[derive(Debug, Clone)]
pub struct Trace(Arc<Mutex<State>>);

impl Trace {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { hash: Hash::new(), events: 0, kept: None })))
    }

    /// From now on keeps the lines that pass the filter, not only the hash.
    pub fn keep_lines(&self, filter: Filter) {
        self.lock().kept = Some(Kept::new(filter));
    }

    /// Adds an event that happened at this moment of true time.
    pub fn record(&self, at: Time, event: Event<'_>) {
        let state = &mut *self.lock();
        state.hash.word(at.0);
        event.feed(&mut state.hash);
        state.events += 1;
        if let Some(kept) = &mut state.kept {
            let (seconds, nanos) = (at.0 / 1_000_000_000, at.0 % 1_000_000_000);
            kept.add(&format!("{seconds}.{nanos:09}"), &event);
        }
    }

    /// The hash of everything recorded so far.
    pub fn hash(&self) -> u64 {
        self.lock().hash.value()
    }

    /// How many events were recorded.
    pub fn events(&self) -> u64 {
        self.lock().events
    }

    /// The lines kept so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().kept.as_ref().map(Kept::lines).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
