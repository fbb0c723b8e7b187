//! How often values of about some size came.

use serde::{Deserialize, Serialize};

/// How many buckets a histogram has, not counting the one for what is over all of them.
pub const BUCKETS: usize = 20;

/// Counts of values by size. The upper bounds of its buckets are consecutive powers of two, so that
/// a value's bucket is found without a search. An empty one takes no memory for them.
///
/// ```
/// use waltz_core::measure::Histogram;
///
/// let mut records = Histogram::from_bound(1);
/// records.add(3, 2);
/// assert_eq!((records.count(), records.sum()), (2, 6));
/// assert_eq!(records.buckets().nth(2), Some((4, 2)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// The first upper bound is two to the power of this.
    exponent: u32,
    /// One each, or none while there was no value.
    counts: Vec<u64>,
    /// Values over the last bound.
    over: u64,
    sum: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::from_bound(1)
    }
}

impl Histogram {
    /// An empty one, whose first bucket ends with `bound`, or the next power of two.
    pub fn from_bound(bound: u64) -> Self {
        let exponent = bound.max(1).next_power_of_two().trailing_zeros();
        Self { exponent, counts: Vec::new(), over: 0, sum: 0 }
    }

    /// One that was counted elsewhere: the first bound, the count of each bucket, the count of what
    /// is over the last one, and the sum of all values.
    pub fn counted(bound: u64, counts: [u64; BUCKETS], over: u64, sum: u64) -> Self {
        Self { counts: counts.into(), over, sum, ..Self::from_bound(bound) }
    }

    /// Which bucket, of a histogram with this first bound, takes a value; none if it is over all.
    pub fn bucket(bound: u64, value: u64) -> Option<usize> {
        let first = bound.max(1).next_power_of_two().trailing_zeros();
        let exponent = value.saturating_sub(1).checked_ilog2().map_or(0, |log| log + 1);
        let index = exponent.saturating_sub(first) as usize;
        (index < BUCKETS).then_some(index)
    }

    /// Adds so many values of this size.
    pub fn add(&mut self, value: u64, times: u64) {
        match Self::bucket(1 << self.exponent, value) {
            Some(index) => {
                self.counts.resize(BUCKETS, 0);
                self.counts[index] += times;
            }
            None => self.over += times,
        }
        self.sum = self.sum.saturating_add(value.saturating_mul(times));
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.over
    }

    /// The sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Each bucket's upper bound, inclusive, and how many values it has, ascending. What is over the
    /// last bound is in none.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let bound = move |index: usize| 1 << (self.exponent as usize + index);
        (0..BUCKETS).map(move |index| (bound(index), self.counts.get(index).copied().unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_that_holds_it() {
        for (bound, value, expected) in [
            (1, 0, Some(1)),
            (1, 1, Some(1)),
            (1, 2, Some(2)),
            (1, 3, Some(4)),
            (1, 4, Some(4)),
            (1, 5, Some(8)),
            (32, 1, Some(32)),
            (32, 32, Some(32)),
            (32, 33, Some(64)),
            (1, 1 << 19, Some(1 << 19)),
            (1, (1 << 19) + 1, None),
            (32, u64::MAX, None),
        ] {
            let mut histogram = Histogram::from_bound(bound);
            histogram.add(value, 1);
            let found = histogram.buckets().find(|(_, count)| *count > 0).map(|(bound, _)| bound);
            assert_eq!(found, expected, "{value} of a histogram from {bound}");
            assert_eq!((histogram.count(), histogram.sum()), (1, value));
        }
    }

    #[test]
    fn what_was_counted_elsewhere_is_the_same() {
        let mut own = Histogram::from_bound(64);
        let mut counts = [0; BUCKETS];
        for value in [1, 64, 65, 4000] {
            own.add(value, 3);
            counts[Histogram::bucket(64, value).unwrap()] += 3;
        }
        assert_eq!(own, Histogram::counted(64, counts, 0, own.sum()));
    }
}
