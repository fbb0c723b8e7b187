//! What clients asked for, when, and what they were told: the history that is judged at the end.
//!
//! Every operation has a number, which the first eight bytes of whatever it appends repeat, so
//! that the log says whose each record is. Times are true time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use waltz_client::{Conflict, Mark, PartitionId, Resolution, TransactionId};
use waltz_core::time::Time;
use waltz_runtime_sim::{Event, SimWorld};

/// What became of a doubt that was asked about and did not come true.
const RULED_OUT: &str = "resolved as not committed";

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
    /// It is in the log; its context was told so, and is not told where.
    Completed,
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

/// One life of a client, from its start until it is closed or killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Life(pub(crate) u64);

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) partition: PartitionId,
    /// Who was asked for it.
    pub(crate) life: Life,
    pub(crate) invoked: Time,
    /// When and how it ended; a doubt that was cleared up ends then, and as what it turned out to be.
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
    /// Clients that were killed: nobody was told how what they had under way ended.
    pub(crate) killed: BTreeSet<Life>,
    /// What clients were told that contradicts what they had been told.
    pub(crate) contradictions: Vec<String>,
    /// What came of asking about doubts.
    pub(crate) doubts: Doubts,
}

impl ClientHistory {
    /// What nobody was told the end of, though its client was not killed.
    pub(crate) fn endless(&self) -> impl Iterator<Item = Number> {
        let endless = self.operations.iter().filter(|(_, operation)| {
            operation.ended.is_none() && !self.killed.contains(&operation.life)
        });
        endless.map(|(number, _)| *number)
    }
}

/// How many operations that had ended in doubt were asked about, by what came of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Doubts {
    /// They are in the log.
    pub committed: u64,
    /// They never will be.
    pub never: u64,
    /// Nobody could tell.
    pub open: u64,
}

impl AddAssign for Doubts {
    fn add_assign(&mut self, other: Self) {
        self.committed += other.committed;
        self.never += other.never;
        self.open += other.open;
    }
}

impl fmt::Display for Doubts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { committed, never, open } = self;
        let asked = committed + never + open;
        write!(f, "doubts {asked} ({committed} committed, {never} not, {open} open)")
    }
}

/// Writes the history while clients run; clones share it.
#[derive(Clone)]
pub(crate) struct Operations {
    world: SimWorld,
    history: Arc<Mutex<ClientHistory>>,
    /// Numbers the lives of clients.
    lives: Arc<AtomicU64>,
}

impl Operations {
    pub(crate) fn new(world: SimWorld) -> Self {
        Self { world, history: Arc::default(), lives: Arc::default() }
    }

    /// A client starts.
    pub(crate) fn live(&self) -> Life {
        Life(self.lives.fetch_add(1, Ordering::Relaxed))
    }

    /// A client is about to be killed.
    pub(crate) fn kill(&self, life: Life) {
        self.lock().killed.insert(life);
    }

    /// An operation begins.
    pub(crate) fn begin(&self, number: Number, partition: PartitionId, life: Life) {
        let (invoked, sent) = (self.world.now(), BTreeSet::new());
        let text = format_args!("operation {} begins, of client {}", number.0, life.0);
        self.trace(Event::world(text).of(partition));
        let operation = Operation { partition, life, invoked, ended: None, sent };
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

    /// An operation ends, and does so once.
    pub(crate) fn end(&self, number: Number, ending: Ending) {
        self.change(number, &ending, |ended, now| match ended {
            None => {
                *ended = Some((now, ending.clone()));
                true
            }
            Some(_) => false,
        });
    }

    /// The handle of a submitted operation says how it ended, after its context was told.
    pub(crate) fn hears(&self, number: Number, ending: &Ending) {
        self.change(number, ending, |ended, _| match (ended, ending) {
            (Some((_, before @ Ending::Completed)), Ending::Committed(_)) => {
                *before = ending.clone();
                true
            }
            // What became of it may be known by now.
            (Some((_, Ending::Committed(_))), Ending::InDoubt) => true,
            (Some((_, Ending::Never(why))), Ending::InDoubt) if why == RULED_OUT => true,
            (Some((_, before)), _) => before == ending,
            (None, _) => false,
        });
    }

    /// It is known what became of an operation that had ended in doubt; `None`: nobody can tell.
    pub(crate) fn resolve(&self, number: Number, resolution: Option<Resolution>) {
        let counts = |doubts: &mut Doubts| match resolution {
            Some(Resolution::Committed(_)) => doubts.committed += 1,
            Some(Resolution::NotCommitted) => doubts.never += 1,
            None => doubts.open += 1,
        };
        counts(&mut self.lock().doubts);
        let ending = match resolution {
            Some(Resolution::Committed(id)) => Ending::Committed(id),
            Some(Resolution::NotCommitted) => Ending::Never(RULED_OUT.to_owned()),
            None => return,
        };
        self.change(number, &ending, |ended, now| match ended {
            Some((at, before @ Ending::InDoubt)) => {
                (*at, *before) = (now, ending.clone());
                true
            }
            _ => false,
        });
    }

    /// A client was told something of an operation that can't be.
    pub(crate) fn contradict(&self, number: Number, text: impl fmt::Display) {
        self.lock().contradictions.push(format!("operation {} {text}", number.0));
    }

    /// Something is told about the end of an operation; `change` writes it down if it fits to what
    /// was told before.
    fn change(
        &self,
        number: Number,
        ending: &Ending,
        change: impl FnOnce(&mut Option<(Time, Ending)>, Time) -> bool,
    ) {
        let mut history = self.lock();
        let operation = history.operations.get_mut(&number).expect("it has begun");
        let text = format_args!("operation {} ends: {ending:?}", number.0);
        let event = Event::world(text);
        self.trace(match ending {
            Ending::Committed(id) => event.of_transaction(operation.partition, *id),
            _ => event.of(operation.partition),
        });
        let before = operation.ended.clone();
        if !change(&mut operation.ended, self.world.now()) {
            drop(history);
            self.contradict(number, format_args!("ended as {before:?}, and then as {ending:?}"));
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use waltz_runtime_sim::simulate;

    use super::*;
    use crate::testing::P0;

    /// The ending and the contradictions of one operation that was told this.
    fn told(tell: impl Fn(&Operations, Number) + Send + 'static) -> (Option<Ending>, usize) {
        simulate(0, Duration::from_secs(1), |world| async move {
            let (operations, number) = (Operations::new(world), Number(1));
            operations.begin(number, P0, operations.live());
            tell(&operations, number);
            let history = operations.history();
            let ended = history.operations[&number].ended.clone();
            (ended.map(|(_, ending)| ending), history.contradictions.len())
        })
    }

    fn committed() -> Ending {
        Ending::Committed(TransactionId(3))
    }

    #[test]
    fn an_operation_that_ends_twice_contradicts_itself() {
        let twice = told(|operations, number| {
            operations.end(number, Ending::Completed);
            operations.end(number, Ending::InDoubt);
        });
        assert_eq!(twice, (Some(Ending::Completed), 1));
    }

    #[test]
    fn a_handle_says_what_the_context_was_told() {
        let same = told(|operations, number| {
            operations.end(number, Ending::Completed);
            operations.hears(number, &committed());
        });
        assert_eq!(same, (Some(committed()), 0));
        let other = told(|operations, number| {
            operations.end(number, Ending::Never("refused".to_owned()));
            operations.hears(number, &Ending::InDoubt);
        });
        assert_eq!(other.1, 1);
        let nothing = told(|operations, number| operations.hears(number, &committed()));
        assert_eq!(nothing, (None, 1));
    }

    #[test]
    fn a_doubt_is_cleared_up_and_nothing_else_is() {
        let resolution = Some(Resolution::NotCommitted);
        let doubt = told(move |operations, number| {
            operations.end(number, Ending::InDoubt);
            operations.resolve(number, resolution);
            operations.hears(number, &Ending::InDoubt);
        });
        assert_eq!(doubt, (Some(Ending::Never(RULED_OUT.to_owned())), 0));
        let certain = told(move |operations, number| {
            operations.end(number, Ending::Completed);
            operations.resolve(number, resolution);
        });
        assert_eq!(certain.1, 1);
    }
}
