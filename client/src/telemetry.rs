//! What a client tells about itself through the facades `metrics` and `tracing`.
//! `docs/client-metrics.md` is the list for people.
//!
//! Instruments are looked up once for each client, and described then; without a recorder they do
//! nothing. The driver adds up what happens in a turn, so that a counter is touched once a turn at
//! most. Machines that work for a handle alone, those of feeds and of questions about attempts of
//! other clients, tell nothing: what they are given is not applied.

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use tracing::Span;
use waltz_core::client::{CallId, Ending, Failure};
use waltz_core::id::PartitionId;

/// What is counted; the place of its counter in [`COUNTERS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Submissions,
    Appends,
    Executions,
    Commits,
    Declined,
    Failed,
    InDoubt,
    Conflicts,
    LostAttempts,
    Refusals,
    AppliedTransactions,
    AppliedBytes,
    ApplyFailures,
    ConnectionsOpened,
    ConnectionsFailed,
}

const COUNTS: usize = Count::ConnectionsFailed as usize + 1;

struct Described {
    name: &'static str,
    unit: Unit,
    meaning: &'static str,
}

const fn counts(name: &'static str, meaning: &'static str) -> Described {
    Described { name, unit: Unit::Count, meaning }
}

const fn seconds(name: &'static str, meaning: &'static str) -> Described {
    Described { name, unit: Unit::Seconds, meaning }
}

const COUNTERS: [(Count, Described); COUNTS] = [
    (Count::Submissions, counts("waltz_client_submissions_total", "Contexts that were submitted")),
    (Count::Appends, counts("waltz_client_appends_total", "Single appends that were called")),
    (
        Count::Executions,
        counts("waltz_client_executions_total", "Executions of contexts, repeated ones too"),
    ),
    (
        Count::Commits,
        counts("waltz_client_commits_total", "Contexts and appends that ended as committed"),
    ),
    (
        Count::Declined,
        counts("waltz_client_declined_total", "Contexts that ended because they declined"),
    ),
    (
        Count::Failed,
        counts(
            "waltz_client_failed_total",
            "Contexts and appends that ended as failed: not in the log, for certain",
        ),
    ),
    (
        Count::InDoubt,
        counts("waltz_client_in_doubt_total", "Contexts and appends that ended in doubt"),
    ),
    (
        Count::Conflicts,
        counts("waltz_client_conflicts_total", "Attempts that failed because a lock was changed"),
    ),
    (
        Count::LostAttempts,
        counts("waltz_client_lost_attempts_total", "Attempts that got lost on the way"),
    ),
    (
        Count::Refusals,
        counts(
            "waltz_client_refusals_total",
            "Calls that failed as refused: by a server, for a limit, or as too many were pending",
        ),
    ),
    (
        Count::AppliedTransactions,
        counts(
            "waltz_client_applied_transactions_total",
            "Transactions that the application applied, whoever appended them",
        ),
    ),
    (
        Count::AppliedBytes,
        Described {
            name: "waltz_client_applied_bytes_total",
            unit: Unit::Bytes,
            meaning: "Bytes of those transactions as they were fed; data loaded later is left out",
        },
    ),
    (
        Count::ApplyFailures,
        counts("waltz_client_apply_failures_total", "Batches that the application failed to apply"),
    ),
    (
        Count::ConnectionsOpened,
        counts("waltz_client_connections_opened_total", "Connections that were made"),
    ),
    (
        Count::ConnectionsFailed,
        counts(
            "waltz_client_connections_failed_total",
            "Connections that were lost or could not be made",
        ),
    ),
];

const PENDING: Described = counts(
    "waltz_client_pending_calls",
    "Contexts and appends that have not ended; bounded by max_pending",
);
const SUBMISSION: Described = seconds(
    "waltz_client_submission_duration_seconds",
    "From a submission until it ended as committed, applied unless that failed",
);
const APPEND: Described = seconds(
    "waltz_client_append_duration_seconds",
    "From an append until it ended as committed, applied unless that failed",
);
const EXECUTION: Described =
    seconds("waltz_client_execution_duration_seconds", "One execution of a context");
const APPLY: Described =
    seconds("waltz_client_apply_duration_seconds", "Applying one batch of transactions");

/// The instruments of one client.
#[derive(Debug, Clone)]
pub(crate) struct Telemetry {
    counters: [Counter; COUNTS],
    /// Contexts and appends that have not ended.
    pub(crate) pending: Gauge,
    /// How long committed contexts took.
    pub(crate) submissions: Histogram,
    /// How long committed appends took.
    pub(crate) appends: Histogram,
    /// How long executions took.
    pub(crate) executions: Histogram,
    /// How long applying batches took.
    pub(crate) applies: Histogram,
}

impl Telemetry {
    /// Describes and registers everything with the recorder that is installed now, if one is.
    pub(crate) fn register() -> Self {
        let counters = COUNTERS.map(|(_, Described { name, unit, meaning })| {
            describe_counter!(name, unit, meaning);
            counter!(name)
        });
        let histogram = |Described { name, unit, meaning }| {
            describe_histogram!(name, unit, meaning);
            histogram!(name)
        };
        describe_gauge!(PENDING.name, PENDING.unit, PENDING.meaning);
        Self {
            counters,
            pending: gauge!(PENDING.name),
            submissions: histogram(SUBMISSION),
            appends: histogram(APPEND),
            executions: histogram(EXECUTION),
            applies: histogram(APPLY),
        }
    }

    /// Tells nothing.
    pub(crate) fn silent() -> Self {
        Self {
            counters: std::array::from_fn(|_| Counter::noop()),
            pending: Gauge::noop(),
            submissions: Histogram::noop(),
            appends: Histogram::noop(),
            executions: Histogram::noop(),
            applies: Histogram::noop(),
        }
    }

    pub(crate) fn add(&self, count: Count, number: u64) {
        self.counters[count as usize].increment(number);
    }

    /// Tells what was added up, and empties it.
    pub(crate) fn tell(&self, tally: &mut Tally) {
        let Tally(numbers) = std::mem::take(tally);
        for (counter, number) in self.counters.iter().zip(numbers) {
            if number > 0 {
                counter.increment(number);
            }
        }
    }

    /// A call that found no room.
    pub(crate) fn turned_away(&self, call: Count) {
        for count in [call, Count::Refusals, Count::Failed] {
            self.add(count, 1);
        }
    }
}

/// What one turn adds to the counters.
#[derive(Debug, Default)]
pub(crate) struct Tally([u64; COUNTS]);

impl Tally {
    pub(crate) fn add(&mut self, count: Count, number: usize) {
        self.0[count as usize] += number as u64;
    }

    /// A call ended, otherwise than by being applied. A context's conflict was counted when it was
    /// told.
    pub(crate) fn ended(&mut self, ending: &Ending) {
        let end = match ending {
            Ending::Committed(_) => Count::Commits,
            Ending::Ignored => Count::Declined,
            Ending::InDoubt(_) => Count::InDoubt,
            Ending::Failed(failure) => {
                match failure {
                    Failure::Lost => self.add(Count::LostAttempts, 1),
                    Failure::Refused(_) | Failure::Record(_) => self.add(Count::Refusals, 1),
                    _ => {}
                }
                Count::Failed
            }
        };
        self.add(end, 1);
    }
}

/// The span of a submission, from the call until its transaction is applied or it ended otherwise.
/// A child of the span that the caller is in.
pub(crate) fn submission_span(partition: PartitionId, call: CallId) -> Span {
    tracing::debug_span!("waltz.submit", %partition, call = call.0)
}

/// The span of a single append, as that of a submission.
pub(crate) fn append_span(partition: PartitionId, call: CallId) -> Span {
    tracing::debug_span!("waltz.append", %partition, call = call.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_has_the_counter_in_its_place() {
        for (place, (count, described)) in COUNTERS.iter().enumerate() {
            assert_eq!(*count as usize, place, "{}", described.name);
        }
    }
}
