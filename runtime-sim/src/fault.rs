//! How likely a fault is and how long things take. Both are drawn from the seed.

use std::time::Duration;

use waltz_core::time::Random;

/// A probability, in parts per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Chance(u32);

impl Chance {
    /// It does not happen.
    pub const NEVER: Self = Self(0);
    /// It happens every time.
    pub const ALWAYS: Self = Self(1_000_000);

    /// It happens in this many of a million cases.
    pub fn per_million(cases: u32) -> Self {
        Self(cases.min(Self::ALWAYS.0))
    }

    /// It happens in this many of a hundred cases.
    pub fn percent(cases: u32) -> Self {
        Self::per_million(cases.saturating_mul(10_000))
    }

    /// Draws whether it happens now. What never happens draws nothing.
    pub fn strikes(self, random: &mut Random) -> bool {
        self.0 > 0 && random.bits() % u64::from(Self::ALWAYS.0) < u64::from(self.0)
    }
}

/// How long something takes: between the two bounds, each included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// The shortest it takes.
    pub shortest: Duration,
    /// The longest it takes.
    pub longest: Duration,
}

impl Latency {
    /// Between so many and so many microseconds.
    pub fn micros(shortest: u64, longest: u64) -> Self {
        Self { shortest: Duration::from_micros(shortest), longest: Duration::from_micros(longest) }
    }

    /// Draws one.
    pub fn draw(self, random: &mut Random) -> Duration {
        random.between(self.shortest, self.longest)
    }
}

/// How a process dies without having been asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed: its host resets its connections, and what it wrote is still in the
    /// page cache.
    Process,
    /// The host loses power: it falls silent, and each unsynced write is lost, kept or torn.
    Power,
}

/// A number below `bound`, which is not zero.
pub(crate) fn below(random: &mut Random, bound: usize) -> usize {
    (random.bits() % bound as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chance_strikes_about_as_often_as_it_says() {
        for (chance, expected) in [
            (Chance::NEVER, 0..=0),
            (Chance::percent(10), 900..=1_100),
            (Chance::per_million(500_000), 4_800..=5_200),
            (Chance::ALWAYS, 10_000..=10_000),
            (Chance::percent(700), 10_000..=10_000),
        ] {
            let mut random = Random::new(7);
            let struck = (0..10_000).filter(|_| chance.strikes(&mut random)).count();
            assert!(expected.contains(&struck), "{chance:?} struck {struck} times of 10000");
        }
    }

    #[test]
    fn a_latency_stays_within_its_bounds_and_reaches_both() {
        let latency =
            Latency { shortest: Duration::from_nanos(3), longest: Duration::from_nanos(5) };
        let mut random = Random::new(1);
        let drawn: std::collections::BTreeSet<_> =
            (0..100).map(|_| latency.draw(&mut random).as_nanos()).collect();
        assert_eq!(drawn, [3, 4, 5].into());
    }
}
