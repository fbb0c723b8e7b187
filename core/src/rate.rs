//! How fast somebody may go on: token buckets that are told the time.
//!
//! A bucket holds what may be done in one second, and fills at the same rate. Whoever finds a token
//! in it may go on, and pays in full afterwards, so that a frame longer than the whole bucket passes,
//! too; the debt is waited off before the next one. From one start to another, then, no more passes
//! than the rate times (that time and one second), what begins at the end left out.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::time::Time;

const SECOND_NS: u64 = 1_000_000_000;

/// A bucket of tokens that is full at first.
///
/// ```
/// use std::num::NonZeroU64;
/// use waltz_core::rate::TokenBucket;
/// use waltz_core::time::Time;
///
/// let mut bucket = TokenBucket::new(NonZeroU64::new(2).unwrap());
/// let now = Time(5_000_000_000);
/// for _ in 0..2 {
///     assert!(bucket.ready_at() <= now);
///     bucket.take(now, 1);
/// }
/// assert_eq!(bucket.ready_at(), Time(5_500_000_000));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenBucket {
    per_second: NonZeroU64,
    /// When it is full if nothing more is taken: as far ahead as tokens are missing.
    full_at: Time,
}

impl TokenBucket {
    /// A full bucket for so many tokens a second.
    pub fn new(per_second: NonZeroU64) -> Self {
        Self { per_second, full_at: Time::ZERO }
    }

    /// From when on there is a token.
    pub fn ready_at(&self) -> Time {
        let first = self.full_at.0.saturating_add(self.takes_ns(1));
        Time(first.saturating_sub(SECOND_NS))
    }

    /// Takes tokens, those too that are not there yet.
    pub fn take(&mut self, now: Time, tokens: u64) {
        let from = self.full_at.max(now);
        self.full_at = Time(from.0.saturating_add(self.takes_ns(tokens)));
    }

    /// How long so many tokens take to come; rounded up, so that rounding lets nothing pass.
    fn takes_ns(&self, tokens: u64) -> u64 {
        let nanoseconds = u128::from(tokens) * u128::from(SECOND_NS);
        let nanoseconds = nanoseconds.div_ceil(u128::from(self.per_second.get()));
        u64::try_from(nanoseconds).unwrap_or(u64::MAX)
    }
}

/// How fast a connection may bring something; what is none is not bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rates {
    /// Bytes of frames a second.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Frames, each of which is a message, a second.
    pub frames_per_second: Option<NonZeroU64>,
}

/// What a connection may bring now, by its rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    bytes: Option<TokenBucket>,
    frames: Option<TokenBucket>,
}

impl Meter {
    /// One for a connection that has brought nothing yet.
    pub fn new(rates: Rates) -> Self {
        Self {
            bytes: rates.bytes_per_second.map(TokenBucket::new),
            frames: rates.frames_per_second.map(TokenBucket::new),
        }
    }

    /// From when on the next frame may come.
    pub fn ready_at(&self) -> Time {
        let buckets = [&self.bytes, &self.frames].into_iter().flatten();
        buckets.map(TokenBucket::ready_at).max().unwrap_or(Time::ZERO)
    }

    /// A frame of so many bytes has come.
    pub fn on_frame(&mut self, now: Time, bytes: u64) {
        if let Some(bucket) = &mut self.bytes {
            bucket.take(now, bytes);
        }
        if let Some(bucket) = &mut self.frames {
            bucket.take(now, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn rate(per_second: u64) -> NonZeroU64 {
        NonZeroU64::new(per_second).expect("a rate is not zero")
    }

    /// Takes tokens as early as may be, after pauses; gives when each of them was taken.
    fn taken_at(bucket: &mut TokenBucket, takes: &[(u64, u64)]) -> Vec<Time> {
        let mut now = Time::ZERO;
        let take = |(pause_ns, tokens): &(u64, u64)| {
            now = (now + Duration::from_nanos(*pause_ns)).max(bucket.ready_at());
            bucket.take(now, *tokens);
            now
        };
        takes.iter().map(take).collect()
    }

    #[test]
    fn a_bucket_that_is_not_used_holds_one_second_and_no_more() {
        let mut bucket = TokenBucket::new(rate(10));
        let later = Time(3_600 * SECOND_NS);
        for _ in 0..10 {
            assert!(bucket.ready_at() <= later);
            bucket.take(later, 1);
        }
        assert_eq!(bucket.ready_at(), later + Duration::from_millis(100));
    }

    #[test]
    fn more_than_the_bucket_holds_passes_once_and_is_waited_off() {
        let mut bucket = TokenBucket::new(rate(10));
        let now = Time(SECOND_NS);
        bucket.take(now, 50);
        assert_eq!(bucket.ready_at(), now + Duration::from_millis(4_100));
        bucket.take(now, u64::MAX);
        assert_eq!(bucket.ready_at(), Time(u64::MAX - SECOND_NS), "it does not overflow");
    }

    #[test]
    fn a_meter_waits_for_both_of_its_rates_and_without_any_for_nothing() {
        let now = Time(SECOND_NS);
        let mut meter = Meter::new(Rates {
            bytes_per_second: Some(rate(100)),
            frames_per_second: Some(rate(4)),
        });
        meter.on_frame(now, 10);
        assert!(meter.ready_at() <= now);
        meter.on_frame(now, 190);
        assert_eq!(meter.ready_at(), now + Duration::from_millis(1_010), "it waits for bytes");
        let later = now + Duration::from_secs(60);
        (0..4).for_each(|_| meter.on_frame(later, 1));
        assert_eq!(meter.ready_at(), later + Duration::from_millis(250), "it waits for frames");
        let mut free = Meter::new(Rates::default());
        free.on_frame(now, u64::MAX);
        assert_eq!(free.ready_at(), Time::ZERO);
    }

    proptest! {
        #[test]
        fn no_time_sees_more_than_its_rate_and_a_second_of_it(
            per_second in 1_u64..5_000_000_000,
            takes in prop::collection::vec((0..2 * SECOND_NS, 1_u64..2_000_000), 1..60),
        ) {
            let times = taken_at(&mut TokenBucket::new(rate(per_second)), &takes);
            for first in 0..takes.len() {
                let mut tokens = 0_u128;
                for last in first..takes.len() {
                    let span = u128::from(times[last].0 - times[first].0 + SECOND_NS);
                    let most = span * u128::from(per_second);
                    prop_assert!((tokens + 1) * u128::from(SECOND_NS) <= most);
                    tokens += u128::from(takes[last].1);
                }
            }
        }

        #[test]
        fn nobody_waits_longer_than_what_was_taken_takes(
            per_second in 1_u64..5_000_000_000,
            tokens in prop::collection::vec(1_u64..2_000_000, 1..60),
        ) {
            let takes: Vec<_> = tokens.iter().map(|tokens| (0, *tokens)).collect();
            let times = taken_at(&mut TokenBucket::new(rate(per_second)), &takes);
            let mut before = 0_u128;
            for (time, tokens) in times.iter().zip(&tokens) {
                let takes = (before * u128::from(SECOND_NS)).div_ceil(u128::from(per_second));
                let rounding = takes.min(1) * 60;
                prop_assert!(u128::from(time.0) <= takes + rounding);
                before += u128::from(*tokens);
            }
        }
    }
}
