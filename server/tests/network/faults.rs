//! What goes wrong when: drawn from a seed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use waltz_core::time::Random;

use super::links::Machine;

/// Faults come for so long, then everything is whole for a while.
const STORM: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(25));
const CALM: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(6));
/// Between one fault and the next.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// How long a fault lasts: up to well beyond a lease.
const LASTING: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(8));
const LONGEST_DELAY_MS: u64 = 150;
const WORST_LOSS: u64 = 30;
const KILLS: &str = "kills";

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing comes from any of those machines to any of these.
    Cut { from: Vec<Machine>, to: Vec<Machine>, both_ways: bool },
    /// What machines send comes late, and some of it not at all.
    Slow { from: Vec<Machine>, delay: Duration, loss: u64 },
    /// A process is killed, and started again after a while.
    Kill(Machine),
    /// A process does nothing for a while.
    Halt(Machine),
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A fault, that lasts so long, after a pause.
    Fault { pause: Duration, fault: Fault, lasting: Duration },
    /// Everything is mended, and stays so for a while.
    Calm(Duration),
}

/// The faults of one run.
#[derive(Debug)]
pub(crate) struct Faults {
    random: Random,
    /// The machines with processes that can be killed.
    processes: usize,
    /// All of them.
    machines: usize,
    storm: Duration,
    counts: BTreeMap<&'static str, u32>,
}

impl Faults {
    /// Faults among machines, the first of which have processes to be killed.
    pub(crate) fn new(seed: u64, processes: usize, machines: usize) -> Self {
        let (random, counts) = (Random::new(seed), BTreeMap::new());
        let mut faults = Self { random, processes, machines, storm: Duration::ZERO, counts };
        faults.storm = faults.between(STORM);
        faults
    }

    /// What happens next.
    pub(crate) fn next(&mut self) -> Event {
        let pause = self.between(PAUSE);
        match self.storm.checked_sub(pause) {
            None => {
                self.storm = self.between(STORM);
                Event::Calm(self.between(CALM))
            }
            Some(storm) => {
                self.storm = storm;
                let fault = self.fault();
                *self.counts.entry(fault.name()).or_default() += 1;
                Event::Fault { pause, fault, lasting: self.between(LASTING) }
            }
        }
    }

    /// How often a process was killed.
    pub(crate) fn kills(&self) -> u64 {
        self.counts.get(KILLS).copied().unwrap_or_default().into()
    }

    fn fault(&mut self) -> Fault {
        match self.below(8) {
            0 | 1 => {
                let from = self.some_machines();
                let to = (0..self.machines).filter(|machine| !from.contains(machine)).collect();
                let both_ways = self.below(2) == 0;
                match self.below(2) {
                    0 => Fault::Cut { from, to, both_ways },
                    _ => Fault::Cut { from: to, to: from, both_ways },
                }
            }
            2 => {
                let from = self.below(self.machines as u64) as usize;
                let to = (from + 1 + self.below(self.machines as u64 - 1) as usize) % self.machines;
                Fault::Cut { from: vec![from], to: vec![to], both_ways: self.below(2) == 0 }
            }
            3 => {
                let delay = Duration::from_millis(self.below(LONGEST_DELAY_MS));
                Fault::Slow { from: self.some_machines(), delay, loss: self.below(WORST_LOSS) }
            }
            4 | 5 => Fault::Kill(self.below(self.processes as u64) as usize),
            _ => Fault::Halt(self.below(self.processes as u64) as usize),
        }
    }

    /// One to a few less than all of them.
    fn some_machines(&mut self) -> Vec<Machine> {
        let wanted = 1 + self.below(self.machines as u64 / 2) as usize;
        let mut left: Vec<Machine> = (0..self.machines).collect();
        (0..wanted)
            .map(|_| {
                let index = self.below(left.len() as u64) as usize;
                left.swap_remove(index)
            })
            .collect()
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random.bits() % limit
    }

    fn between(&mut self, (shortest, longest): (Duration, Duration)) -> Duration {
        self.random.between(shortest, longest)
    }
}

impl Fault {
    fn name(&self) -> &'static str {
        match self {
            Self::Cut { .. } => "cuts",
            Self::Slow { .. } => "slow spells",
            Self::Kill(_) => KILLS,
            Self::Halt(_) => "halts",
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts.iter().map(|(name, count)| format!("{count} {name}"));
        f.write_str(&counts.collect::<Vec<_>>().join(", "))
    }
}
