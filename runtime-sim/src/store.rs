//! An object store that all hosts share, and that outlives them.
//!
//! An object is there whole or not at all. A request takes its time, is slow or fails now and then, and
//! is refused while the store is away; one to write that failed may have been carried out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use waltz_core::time::Random;

use crate::alarm::VirtualTime;
use crate::fault::{Chance, Latency};
use crate::trace::{Event, Trace};

/// How well a store works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreQuality {
    /// How long a request takes.
    pub latency: Latency,
    /// How often one is slow.
    pub slow: Chance,
    /// How long a slow one takes.
    pub slow_latency: Latency,
    /// How often one fails.
    pub failing: Chance,
    /// Every request is refused.
    pub is_away: bool,
}

impl Default for StoreQuality {
    /// Nothing fails or is slow.
    fn default() -> Self {
        Self {
            latency: Latency::micros(1_000, 30_000),
            slow: Chance::NEVER,
            slow_latency: Latency::micros(100_000, 1_000_000),
            failing: Chance::NEVER,
            is_away: false,
        }
    }
}

/// Why a request came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError {
    /// The store is away.
    Away,
    /// It failed.
    Failed,
    /// There is no such object.
    Absent,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Away => "the store is away",
            Self::Failed => "the store failed",
            Self::Absent => "there is no such object",
        })
    }
}

impl std::error::Error for StoreError {}

struct State {
    random: Random,
    quality: StoreQuality,
    objects: BTreeMap<String, Bytes>,
}

/// The store; clones share it.
#[derive(Clone)]
pub struct SimStore {
    time: VirtualTime,
    trace: Trace,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimStore").finish_non_exhaustive()
    }
}

impl SimStore {
    pub(crate) fn new(time: VirtualTime, random: Random, trace: Trace) -> Self {
        let (quality, objects) = (StoreQuality::default(), BTreeMap::new());
        Self { time, trace, state: Arc::new(Mutex::new(State { random, quality, objects })) }
    }

    /// Changes how well it works.
    pub fn change_quality(&self, change: impl FnOnce(&mut StoreQuality)) {
        change(&mut self.lock().quality);
    }

    /// From now on nothing fails.
    pub(crate) fn calm(&self) {
        self.lock().quality = StoreQuality::default();
    }

    /// Writes an object; one of this name is replaced.
    ///
    /// # Errors
    /// When the store is away or fails. The object may have been written all the same.
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let outcome = self.request().await;
        let mut state = self.lock();
        let is_written = match outcome {
            Ok(()) => true,
            Err(StoreError::Failed) => Chance::percent(50).strikes(&mut state.random),
            Err(_) => false,
        };
        if is_written {
            let text = format_args!("{name} is stored, {} bytes", bytes.len());
            self.trace.record(self.time.now(), Event::world(text));
            state.objects.insert(name.to_owned(), bytes);
        }
        outcome
    }

    /// Reads an object.
    ///
    /// # Errors
    /// When the store is away or fails, or has no such object.
    pub async fn get(&self, name: &str) -> Result<Bytes, StoreError> {
        self.request().await?;
        self.lock().objects.get(name).cloned().ok_or(StoreError::Absent)
    }

    /// The names of all objects that begin like this, ascending.
    ///
    /// # Errors
    /// When the store is away or fails.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.request().await?;
        let state = self.lock();
        let names = state.objects.range(prefix.to_owned()..).map(|(name, _)| name);
        Ok(names.take_while(|name| name.starts_with(prefix)).cloned().collect())
    }

    /// Takes the time of a request, and says whether it fails.
    async fn request(&self) -> Result<(), StoreError> {
        let latency = {
            let state = &mut *self.lock();
            let StoreQuality { latency, slow, slow_latency, .. } = state.quality;
            let latency = if slow.strikes(&mut state.random) { slow_latency } else { latency };
            latency.draw(&mut state.random)
        };
        madsim::time::sleep(latency).await;
        let state = &mut *self.lock();
        if state.quality.is_away {
            return Err(StoreError::Away);
        }
        match state.quality.failing.strikes(&mut state.random) {
            true => Err(StoreError::Failed),
            false => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
