//! What clients asked for, when, and what they were told: the history that is judged at the end.
//!
//! Every operation has a number, which the first eight bytes of whatever it appends repeat, so
//! that the log says whose each record is. Times are true time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use waltz_client::{Conflict, Mark, PartitionId, TransactionId};
use waltz_core::time::Time;
use waltz_runtime_sim::{Event, SimWorld};

/// Names an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number(pub(crate) u64);

impl Number {
    /// Whose a record with this data is.
    pub(crate) fn of(data: &[u8]) -> Option<Self> {
        data.first_chunk().map(|bytes| Self(u64::from_le_bytes(*bytes)))
    }
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is in the log, here.
    Committed(TransactionId),
    /// It declined, or was refused for certain: it is not in the log and never will be.
    Never(String),
    /// It was given up before the answer could be had.
    InDoubt,
}

/// A conflict that stood against one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Met {
    pub(crate) partition: PartitionId,
    /// The mark that the attempt was computed at.
    pub(crate) computed_at: Mark,
    pub(crate) conflict: Conflict,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) partition: PartitionId,
    pub(crate) invoked: Time,
    pub(crate) ended: Option<(Time, Ending)>,
    /// Checksums of the data of its attempts; empty when the harness does not make the data.
    pub(crate) sent: BTreeSet<u32>,
}

/// A confirmed answer to "how far is the log", or a client's word that it has applied it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) partition: PartitionId,
    pub(crate) invoked: Time,
    pub(crate) mark: Mark,
}

/// Everything that clients did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClientHistory {
    pub(crate) operations: BTreeMap<Number, Operation>,
    pub(crate) met: Vec<Met>,
    pub(crate) readings: Vec<Reading>,
}

/// Writes the history while clients run; clones share it.
#[derive(Clone)]
pub(crate) struct Operations {
    world: SimWorld,
    history: Arc<Mutex<ClientHistory>>,
}

impl Operations {
    pub(crate) fn new(world: SimWorld) -> Self {
        Self { world, history: Arc::default() }
    }

    /// An operation begins.
    pub(crate) fn begin(&self, number: Number, partition: PartitionId) {
        let (invoked, sent) = (self.world.now(), BTreeSet::new());
        let operation = Operation { partition, invoked, ended: None, sent };
        let before = self.lock().operations.insert(number, operation);
        assert_eq!(before, None, "each operation has a number of its own");
    }

    /// An attempt carries this data.
    pub(crate) fn sends(&self, number: Number, data: &[u8]) {
        let mut history = self.lock();
        let operation = history.operations.get_mut(&number).expect("it has begun");
        operation.sent.insert(crc32c::crc32c(data));
    }

    /// A conflict was told to the client.
    pub(crate) fn meets(&self, met: Met) {
        let Met { partition, computed_at, conflict } = met;
        let text = format_args!("{conflict}, against an attempt computed at {computed_at}");
        self.trace(Event::world(text).of_transaction(partition, conflict.id));
        self.lock().met.push(met);
    }

    /// An operation ended.
    pub(crate) fn end(&self, number: Number, ending: Ending) {
        let now = self.world.now();
        let mut history = self.lock();
        let operation = history.operations.get_mut(&number).expect("it has begun");
        let text = format_args!("operation {} ends: {ending:?}", number.0);
        let event = Event::world(text);
        self.trace(match ending {
            Ending::Committed(id) => event.of_transaction(operation.partition, id),
            _ => event.of(operation.partition),
        });
        operation.ended = Some((now, ending));
    }

    /// A client that asked at `invoked` was told this mark.
    pub(crate) fn reads(&self, reading: Reading) {
        self.lock().readings.push(reading);
    }

    pub(crate) fn now(&self) -> Time {
        self.world.now()
    }

    /// The history so far.
    pub(crate) fn history(&self) -> ClientHistory {
        self.lock().clone()
    }

    fn trace(&self, event: Event<'_>) {
        self.world.trace().record(self.world.now(), event);
    }

    fn lock(&self) -> MutexGuard<'_, ClientHistory> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
