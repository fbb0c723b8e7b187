//! What happened, in the order it happened: one line an event, folded into a running hash.
//!
//! Two runs of one seed have equal hashes, in one process or in two; a difference is a leak of
//! something that the seed does not decide.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use waltz_core::time::Time;

/// FNV-1a, 64 bits (Fowler, Noll, Vo): small, and the same in every process and release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fnv(u64);

impl Fnv {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;

    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(Self::PRIME);
        }
    }
}

#[derive(Debug)]
struct State {
    hash: Fnv,
    events: u64,
    /// Kept only when asked for: a long run has millions.
    lines: Option<Vec<String>>,
    line: String,
}

/// The recorder of one run; clones share it.
#[derive(Debug, Clone)]
pub struct Trace(Arc<Mutex<State>>);

impl Trace {
    pub(crate) fn new() -> Self {
        let hash = Fnv(Fnv::BASIS);
        Self(Arc::new(Mutex::new(State { hash, events: 0, lines: None, line: String::new() })))
    }

    /// From now on keeps every line, not only the hash.
    pub fn keep_lines(&self) {
        self.lock().lines.get_or_insert_default();
    }

    /// Adds an event: when it happened by the true clock, and a line without a line break.
    pub fn record(&self, at: Time, what: fmt::Arguments<'_>) {
        let state = &mut *self.lock();
        let line = &mut state.line;
        line.clear();
        fmt::write(line, format_args!("{} {what}\n", at.0)).expect("a string takes any text");
        state.hash.update(line.as_bytes());
        state.events += 1;
        if let Some(lines) = &mut state.lines {
            lines.push(line.trim_end().to_owned());
        }
    }

    /// The hash of everything recorded so far.
    pub fn hash(&self) -> u64 {
        self.lock().hash.0
    }

    /// How many events were recorded.
    pub fn events(&self) -> u64 {
        self.lock().events
    }

    /// The lines kept so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_every_event_and_on_their_order() {
        let hash_of = |lines: &[&str]| {
            let trace = Trace::new();
            lines.iter().for_each(|line| trace.record(Time(5), format_args!("{line}")));
            trace.hash()
        };
        assert_eq!(hash_of(&["a", "b"]), hash_of(&["a", "b"]));
        assert_ne!(hash_of(&["a", "b"]), hash_of(&["b", "a"]));
        assert_ne!(hash_of(&["ab"]), hash_of(&["a", "b"]));
    }

    #[test]
    fn lines_are_kept_only_when_asked_for() {
        let trace = Trace::new();
        trace.record(Time(8), format_args!("x"));
        trace.keep_lines();
        trace.record(Time(9), format_args!("y"));
        assert_eq!((trace.events(), trace.lines()), (2, vec!["9 y".to_owned()]));
    }
}
