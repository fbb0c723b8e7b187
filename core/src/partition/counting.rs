//! When the records that are on their way were admitted, so that their latency is known once they are
//! committed.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::id::{Mark, TransactionId};
use crate::measure::PartitionCounts;
use crate::record::Run;
use crate::time::Time;

/// The records of one session that are not committed, by when they were admitted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Admissions {
    /// The last id that was admitted at a time; one entry a turn.
    waiting: VecDeque<(Mark, Time)>,
}

impl Admissions {
    /// A record got this id.
    pub(super) fn admitted(&mut self, id: TransactionId, now: Time) {
        match self.waiting.back_mut() {
            Some((last, at)) if *at == now => *last = id.mark(),
            _ => self.waiting.push_back((id.mark(), now)),
        }
    }

    /// The next records are committed: their latencies count.
    pub(super) fn committed(&mut self, run: &Run, now: Time, counts: &mut PartitionCounts) {
        counts.committed += u64::from(run.count);
        counts.committed_bytes += run.bytes.len() as u64;
        counts.run_records.add(run.count.into(), 1);
        let (mut from, end) = (run.first.0, run.last().count());
        while let Some((last, at)) = self.waiting.front() {
            let to = last.count().min(end);
            let latency = u64::try_from(now.since(*at).as_micros()).unwrap_or(u64::MAX);
            counts.commit_latency.add(latency, to.saturating_sub(from));
            if last.count() > end {
                return;
            }
            from = to;
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::partition::testing::run_of;

    fn at(micros: u64) -> Time {
        Time::ZERO + Duration::from_micros(micros)
    }

    #[test]
    fn each_record_counts_from_its_own_turn_to_its_commit() {
        let (mut admissions, mut counts) = (Admissions::default(), PartitionCounts::default());
        for (id, now) in [(5, 100), (6, 100), (7, 200), (8, 300)] {
            admissions.admitted(TransactionId(id), at(now));
        }
        admissions.committed(&run_of(5..6, |_| 10), at(400), &mut counts);
        assert_eq!((counts.commit_latency.count(), counts.commit_latency.sum()), (1, 300));
        admissions.committed(&run_of(6..8, |_| 10), at(500), &mut counts);
        assert_eq!((counts.commit_latency.count(), counts.commit_latency.sum()), (3, 1000));
        admissions.committed(&run_of(8..9, |_| 10), at(500), &mut counts);
        assert_eq!((counts.commit_latency.count(), counts.commit_latency.sum()), (4, 1200));
        assert_eq!(admissions, Admissions::default());
        assert_eq!((counts.committed, counts.run_records.count()), (4, 3));
    }
}
