//! What clients were told, judged with the final log as the specification.
//!
//! It knows no protocol: operations have an invocation, an end and a result, the log has records,
//! and each record names its operation. Then:
//!
//! - what was reported committed is in the log exactly once, at the id that was told; what was
//!   refused for certain is not; what is in doubt may be, once; nothing else is (at-most-once);
//! - each operation is told its end once, unless its client was killed; a doubt may be cleared up
//!   later, and then is what it was told to be;
//! - an operation that was reported committed before another one was begun has the lower id in
//!   its partition (real-time order);
//! - whoever asked how far a log is was told no less than everything reported committed in it
//!   before the question (reads are current).
//!
//! Prefix agreement and conflict freedom are the promises 3 and 5.

use std::collections::BTreeMap;

use waltz_client::{Mark, PartitionId, TransactionId};
use waltz_core::time::Time;

use super::Evidence;
use crate::disk_log::Stored;
use crate::operations::{ClientHistory, Ending, Number};

/// Where each operation is in the log.
type Places = BTreeMap<Number, (PartitionId, TransactionId)>;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    if !evidence.unfinished.is_empty() {
        // The log may still grow; promise 9 is broken then.
        return Vec::new();
    }
    judge(&evidence.clients, &evidence.longest_logs())
}

fn judge(clients: &ClientHistory, logs: &BTreeMap<PartitionId, &[Stored]>) -> Vec<String> {
    let (places, mut broken) = places(clients, logs);
    broken.extend(clients.contradictions.iter().cloned());
    let endless = clients.endless();
    broken.extend(endless.map(|number| format!("operation {} was not told its end", number.0)));
    broken.extend(fates(clients, &places));
    broken.extend(real_time_order(clients, &places));
    broken.extend(stale_readings(clients, &places));
    broken
}

fn places(
    clients: &ClientHistory,
    logs: &BTreeMap<PartitionId, &[Stored]>,
) -> (Places, Vec<String>) {
    let (mut places, mut broken) = (Places::new(), Vec::new());
    for (partition, log) in logs {
        for stored in *log {
            let record = stored.record();
            let place = (*partition, record.id());
            let number = Number::of(record.data());
            let Some(number) = number.filter(|number| clients.operations.contains_key(number))
            else {
                broken.push(format!("{partition} {} was submitted by nobody", record.id()));
                continue;
            };
            if let Some(before) = places.insert(number, place) {
                broken.push(format!(
                    "operation {} is in the log twice, as {} {} and {} {}",
                    number.0, before.0, before.1, place.0, place.1
                ));
            }
        }
    }
    (places, broken)
}

/// Each operation is where its client was told, or nowhere.
fn fates<'a>(clients: &'a ClientHistory, places: &'a Places) -> impl Iterator<Item = String> + 'a {
    clients.operations.iter().filter_map(|(number, operation)| {
        let found = places.get(number).copied();
        let fits = match &operation.ended {
            Some((_, Ending::Committed(id))) => found == Some((operation.partition, *id)),
            Some((_, Ending::Completed)) => {
                found.is_some_and(|(partition, _)| partition == operation.partition)
            }
            Some((_, Ending::Never(_))) => found.is_none(),
            Some((_, Ending::InDoubt)) | None => {
                found.is_none_or(|(partition, _)| partition == operation.partition)
            }
        };
        (!fits).then(|| {
            let found = found.map(|(partition, id)| format!("{partition} {id}"));
            format!("operation {} ended as {:?} and is {found:?}", number.0, operation.ended)
        })
    })
}

/// Of each partition, by the time at which it was known: how far the log was known to be committed.
fn acknowledged(
    clients: &ClientHistory,
    places: &Places,
) -> BTreeMap<PartitionId, Vec<(Time, Mark)>> {
    let mut known: BTreeMap<PartitionId, Vec<(Time, Mark)>> = BTreeMap::new();
    for (number, operation) in &clients.operations {
        let (at, id) = match &operation.ended {
            Some((at, Ending::Committed(id))) => (*at, Some(*id)),
            Some((at, Ending::Completed)) => (*at, places.get(number).map(|(_, id)| *id)),
            _ => continue,
        };
        let marks = known.entry(operation.partition).or_default();
        marks.extend(id.map(|id| (at, Mark::at(id))));
    }
    for marks in known.values_mut() {
        marks.sort_unstable();
        let mut highest = Mark::NONE;
        for (_, mark) in marks {
            highest = highest.max(*mark);
            *mark = highest;
        }
    }
    known
}

/// What was known before a moment.
fn known_before(known: &[(Time, Mark)], moment: Time) -> Mark {
    let before = known.partition_point(|(at, _)| *at < moment);
    before.checked_sub(1).map_or(Mark::NONE, |last| known[last].1)
}

fn real_time_order(clients: &ClientHistory, places: &Places) -> Vec<String> {
    let known = acknowledged(clients, places);
    let mut broken = Vec::new();
    for (number, (partition, id)) in places {
        let Some(operation) = clients.operations.get(number) else { continue };
        let known = known.get(partition).map_or(&[][..], Vec::as_slice);
        let before = known_before(known, operation.invoked);
        if before.includes(*id) {
            broken.push(format!(
                "operation {} is {partition} {id}, and {before} was reported committed before it \
                 was begun",
                number.0
            ));
        }
    }
    broken
}

fn stale_readings(clients: &ClientHistory, places: &Places) -> Vec<String> {
    let known = acknowledged(clients, places);
    let mut broken = Vec::new();
    for reading in &clients.readings {
        let known = known.get(&reading.partition).map_or(&[][..], Vec::as_slice);
        let before = known_before(known, reading.invoked);
        if reading.mark < before {
            broken.push(format!(
                "a flush of {} ended at {}, and {before} was reported committed before it",
                reading.partition, reading.mark
            ));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::{Life, Operation, Reading};
    use crate::testing::{P0, SESSION, record};

    const LIFE: Life = Life(1);

    /// The log of these operations, in this order.
    fn log(numbers: &[u64]) -> Vec<Stored> {
        let records = numbers.iter().enumerate().map(|(id, number)| {
            let bytes = record(*number, id as u64, &number.to_le_bytes());
            Stored { session: SESSION, bytes }
        });
        records.collect()
    }

    /// Operations as (number, invoked, ended, ending).
    fn history(operations: &[(u64, u64, u64, Ending)]) -> ClientHistory {
        let operations = operations.iter().map(|(number, invoked, ended, ending)| {
            let operation = Operation {
                partition: P0,
                life: LIFE,
                invoked: Time(*invoked),
                ended: Some((Time(*ended), ending.clone())),
                sent: Default::default(),
            };
            (Number(*number), operation)
        });
        ClientHistory { operations: operations.collect(), ..ClientHistory::default() }
    }

    fn committed(id: u64) -> Ending {
        Ending::Committed(TransactionId(id))
    }

    fn never() -> Ending {
        Ending::Never("refused".to_owned())
    }

    fn broken(clients: &ClientHistory, numbers: &[u64]) -> Vec<String> {
        judge(clients, &[(P0, &log(numbers)[..])].into())
    }

    #[test]
    fn a_history_that_the_log_bears_out_is_sound() {
        let clients = history(&[
            (1, 0, 5, committed(1)),
            (2, 3, 9, committed(0)),
            (3, 6, 7, never()),
            (4, 6, 8, Ending::InDoubt),
            (5, 6, 8, Ending::InDoubt),
            (6, 6, 8, Ending::Completed),
        ]);
        assert_eq!(broken(&clients, &[2, 1, 6, 4]), [""; 0]);
    }

    #[test]
    fn each_lie_about_a_fate_is_found() {
        for (ending, numbers) in [
            (committed(0), &[][..]),
            (committed(1), &[1]),
            (committed(0), &[1, 1]),
            (Ending::Completed, &[]),
            (Ending::Completed, &[1, 1]),
            (never(), &[1]),
            (Ending::InDoubt, &[1, 1]),
            (committed(0), &[1, 9]),
        ] {
            let clients = history(&[(1, 0, 5, ending.clone())]);
            assert_ne!(broken(&clients, numbers), [""; 0], "{ending:?} {numbers:?}");
        }
    }

    #[test]
    fn what_began_after_another_was_acknowledged_comes_after_it() {
        let clients = history(&[(1, 0, 5, committed(1)), (2, 6, 9, committed(0))]);
        assert_eq!(broken(&clients, &[2, 1]).len(), 1);
        let overlapping = history(&[(1, 0, 5, committed(1)), (2, 5, 9, committed(0))]);
        assert_eq!(broken(&overlapping, &[2, 1]), [""; 0]);
        let in_doubt = history(&[(1, 0, 5, committed(1)), (2, 6, 9, Ending::InDoubt)]);
        assert_eq!(broken(&in_doubt, &[2, 1]).len(), 1);
        let completed = history(&[(1, 0, 5, Ending::Completed), (2, 6, 9, Ending::Completed)]);
        assert_eq!(broken(&completed, &[2, 1]).len(), 1);
        assert_eq!(broken(&completed, &[1, 2]), [""; 0]);
    }

    #[test]
    fn only_who_was_killed_is_not_told_an_end() {
        let mut clients = history(&[(1, 0, 5, committed(0))]);
        clients.operations.get_mut(&Number(1)).expect("it is there").ended = None;
        assert_eq!(broken(&clients, &[1]), ["operation 1 was not told its end"]);
        clients.killed.insert(LIFE);
        assert_eq!(broken(&clients, &[1]), [""; 0]);
    }

    #[test]
    fn a_reading_shows_all_that_was_acknowledged_before_it_was_asked_for() {
        let mut clients = history(&[(1, 0, 5, committed(0)), (2, 0, 9, committed(1))]);
        let reading = |invoked, mark| Reading { partition: P0, invoked: Time(invoked), mark };
        let (first, second) = (Mark::at(TransactionId(0)), Mark::at(TransactionId(1)));
        clients.readings = vec![reading(5, Mark::NONE), reading(6, first), reading(10, second)];
        assert_eq!(broken(&clients, &[1, 2]), [""; 0]);
        clients.readings = vec![reading(6, Mark::NONE), reading(10, first)];
        assert_eq!(broken(&clients, &[1, 2]).len(), 2);
    }
}
