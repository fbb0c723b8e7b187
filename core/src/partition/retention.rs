//! How much of a log is kept: the oldest records go by age, by size, or once every registered
//! consumer has applied them.
//!
//! What is older than this server's session is known by its end alone: it counts as committed when
//! the session opened, and as no bytes. So after a failover more is kept than asked for, never
//! less.
//!
//! ```text
//!   start          sample      sample      sample    committed
//!     │  unknown     │ 12 MiB    │ 12 MiB    │  3 MiB   │
//!     └──────────────┴───────────┴───────────┴──────────┘
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::Mark;
use crate::time::Time;

/// A sample is taken this many times in what is to be kept.
const GRAIN: u32 = 64;
/// The most samples; when there are more, every other one is given up.
const MOST: usize = 1024;
/// Ages are looked at this often at most.
const SHORTEST_LOOK: Duration = Duration::from_millis(100);

/// What of a partition's log is kept. By default all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RetentionConfig {
    /// About so many bytes of the newest records; older ones go.
    pub bytes: Option<u64>,
    /// What was committed this long ago goes.
    pub age: Option<Duration>,
    /// What every registered consumer has applied goes. Without a consumer nothing does.
    pub consumed: bool,
}

/// Where the log stood at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Sample {
    at: Time,
    committed: Mark,
    /// Bytes committed by then, since the session opened.
    bytes: u64,
}

/// What was committed when, and how much it was, in one open session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Retention {
    config: RetentionConfig,
    newest: Sample,
    /// Ascending; none older than what is trimmed.
    samples: VecDeque<Sample>,
    /// What every registered consumer has applied, if there is one.
    consumed: Option<Mark>,
    looked: Time,
}

impl Retention {
    /// A session has opened.
    pub(super) fn new(config: RetentionConfig, now: Time, committed: Mark) -> Self {
        let newest = Sample { at: now, committed, bytes: 0 };
        // Where nothing goes by them, no samples are taken.
        let samples = match config.bytes.is_some() || config.age.is_some() {
            true => [newest].into(),
            false => VecDeque::new(),
        };
        Self { config, newest, samples, consumed: None, looked: now }
    }

    /// What every registered consumer has applied; `None`: there is none.
    pub(super) fn consumed(&mut self, mark: Option<Mark>) {
        self.consumed = mark;
    }

    /// More is committed.
    pub(super) fn committed(&mut self, now: Time, committed: Mark, bytes: usize) {
        let bytes = self.newest.bytes + bytes as u64;
        self.newest = Sample { at: now, committed, bytes };
        let last = self.samples.back();
        let RetentionConfig { bytes: kept, age, .. } = self.config;
        let is_due = last.is_none_or(|last| {
            kept.is_some_and(|kept| bytes - last.bytes >= (kept / u64::from(GRAIN)).max(1))
                || age.is_some_and(|age| now.since(last.at) >= age / GRAIN)
        });
        if is_due && (kept.is_some() || age.is_some()) {
            self.samples.push_back(self.newest);
            if self.samples.len() > MOST {
                let mut nth = 0;
                self.samples.retain(|_| {
                    nth += 1;
                    nth % 2 == 0
                });
            }
        }
    }

    /// What may go now; [`Mark::NONE`]: nothing. A registered consumer is never overtaken. What is
    /// consumed stays as long as it is needed to judge locks: after `forgotten`, the floor of the
    /// lock table.
    pub(super) fn due(&mut self, now: Time, forgotten: Mark) -> Mark {
        self.looked = now;
        let RetentionConfig { bytes, age, consumed } = self.config;
        let newest = self.newest.bytes;
        let is_due = |sample: &Sample| {
            bytes.is_some_and(|bytes| newest - sample.bytes >= bytes)
                || age.is_some_and(|age| now.since(sample.at) >= age)
        };
        // Both bytes and time ascend with the samples: those that are due come first.
        let count = self.samples.partition_point(is_due);
        let due = count.checked_sub(1).map_or(Mark::NONE, |last| self.samples[last].committed);
        let due = match self.consumed {
            Some(slowest) if consumed => due.max(forgotten).min(slowest),
            Some(slowest) => due.min(slowest),
            None => due,
        };
        due.min(self.newest.committed)
    }

    /// Everything up to `start` is trimmed.
    pub(super) fn trimmed(&mut self, start: Mark) {
        self.samples.retain(|sample| sample.committed > start);
    }

    /// When something may be due although nothing more is committed.
    pub(super) fn deadline(&self) -> Option<Time> {
        let (age, oldest) = (self.config.age?, self.samples.front()?);
        // While a consumer holds the oldest back, there is no use in looking all the time.
        let look = self.looked + (age / GRAIN).max(SHORTEST_LOOK);
        Some((oldest.at + age).max(look))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TransactionId;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn mark(count: u64) -> Mark {
        Mark::before(TransactionId(count))
    }

    /// A session that opened at second 0 with 100 records; since then one of 1000 bytes a second
    /// until second 10.
    fn filled(config: RetentionConfig) -> Retention {
        let mut retention = Retention::new(config, at(0), mark(100));
        for second in 1..=10 {
            retention.committed(at(second), mark(100 + second), 1000);
        }
        retention
    }

    #[test]
    fn by_default_everything_is_kept() {
        let mut retention = filled(RetentionConfig::default());
        retention.consumed(Some(mark(50)));
        assert_eq!(
            (retention.due(at(1_000_000), mark(105)), retention.deadline()),
            (Mark::NONE, None)
        );
        assert_eq!(retention.samples.len(), 0, "nothing is remembered for nothing");
    }

    #[test]
    fn what_is_older_than_the_session_counts_as_no_bytes() {
        let cases = [(20_000, 0), (10_001, 0), (10_000, 100), (9_500, 100), (3_000, 107), (1, 109)];
        for (bytes, due) in cases {
            let config = RetentionConfig { bytes: Some(bytes), ..RetentionConfig::default() };
            assert_eq!(filled(config).due(at(10), Mark::NONE), mark(due), "{bytes} bytes are kept");
        }
    }

    #[test]
    fn what_is_older_than_the_session_is_as_old_as_the_session() {
        let age = Some(Duration::from_secs(60));
        let config = RetentionConfig { age, ..RetentionConfig::default() };
        for (now, due) in [(59, 0), (60, 100), (61, 101), (65, 105), (1000, 110)] {
            assert_eq!(filled(config).due(at(now), Mark::NONE), mark(due), "after {now} s");
        }
    }

    #[test]
    fn time_is_looked_at_until_nothing_is_left() {
        let age = Some(Duration::from_secs(60));
        let mut retention = filled(RetentionConfig { age, ..RetentionConfig::default() });
        assert_eq!(retention.deadline(), Some(at(60)));
        retention.trimmed(mark(105));
        assert_eq!(retention.deadline(), Some(at(66)));
        assert_eq!(retention.due(at(70), Mark::NONE), mark(110));
        let again = at(70) + Duration::from_millis(937) + Duration::from_micros(500);
        assert_eq!(retention.deadline(), Some(again), "held back: it is looked now and then");
        retention.trimmed(mark(110));
        assert_eq!(retention.deadline(), None);
    }

    #[test]
    fn a_registered_consumer_is_not_overtaken() {
        let mut retention =
            filled(RetentionConfig { bytes: Some(1), ..RetentionConfig::default() });
        retention.consumed(Some(mark(42)));
        assert_eq!(retention.due(at(10), mark(105)), mark(42));
        retention.consumed(Some(mark(400)));
        assert_eq!(retention.due(at(10), mark(105)), mark(109));
        retention.consumed(None);
        assert_eq!(retention.due(at(10), mark(105)), mark(109));
    }

    #[test]
    fn what_is_consumed_goes_and_nothing_else() {
        let mut retention =
            filled(RetentionConfig { consumed: true, ..RetentionConfig::default() });
        assert_eq!(retention.due(at(10), mark(105)), Mark::NONE, "nobody is registered");
        for (slowest, due) in [(0, 0), (57, 57), (105, 105), (110, 105), (500, 105)] {
            retention.consumed(Some(mark(slowest)));
            assert_eq!(retention.due(at(10), mark(105)), mark(due));
        }
    }

    #[test]
    fn samples_are_bounded() {
        let config = RetentionConfig { bytes: Some(1 << 40), ..RetentionConfig::default() };
        let mut retention = Retention::new(config, at(0), mark(0));
        for count in 1..=5 * MOST as u64 {
            retention.committed(at(count), mark(count), 1 << 35);
            assert!(retention.samples.len() <= MOST);
        }
        let due = retention.due(at(0), Mark::NONE).count();
        let exact = 5 * MOST as u64 - 32;
        assert!(due <= exact && exact - due <= 64, "{due} of {exact}");
    }
}
