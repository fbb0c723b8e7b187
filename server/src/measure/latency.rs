//! Latencies, in a histogram of three significant digits.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

const LONGEST: Duration = Duration::from_secs(600);

/// Collects latencies from one nanosecond to ten minutes; longer ones count as ten minutes.
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

/// The figures of a run, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of all were faster.
    pub p50_ms: f64,
    /// All but one in a hundred were.
    pub p99_ms: f64,
    /// All but one in a thousand were.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Latencies {
    /// None yet.
    pub fn new() -> Self {
        let longest = LONGEST.as_nanos() as u64;
        let histogram = Histogram::new_with_bounds(1, longest, 3).expect("the bounds are sound");
        Self { histogram }
    }

    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(nanoseconds.max(1));
    }

    /// Adds all of another collection.
    pub fn add(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("both have the same bounds");
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The figures.
    pub fn percentiles(&self) -> Percentiles {
        let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        let at = |quantile| ms(self.histogram.value_at_quantile(quantile));
        Percentiles {
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: ms(self.histogram.max()),
        }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p50_ms, p99_ms, p999_ms, max_ms } = self;
        write!(f, "p50 {p50_ms:.3}, p99 {p99_ms:.3}, p99.9 {p999_ms:.3}, max {max_ms:.3} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let (mut latencies, mut slow) = (Latencies::new(), Latencies::new());
        for ms in 1..=99 {
            latencies.record(Duration::from_millis(ms));
        }
        slow.record(Duration::from_secs(9_999));
        latencies.add(&slow);
        let found = latencies.percentiles();
        assert!((found.p50_ms - 50.0).abs() < 0.1, "{found}");
        assert!((found.p99_ms - 99.0).abs() < 0.2, "{found}");
        assert!((found.max_ms / 600_000.0 - 1.0).abs() < 0.01, "{found}");
        assert_eq!(latencies.count(), 100);
    }
}
