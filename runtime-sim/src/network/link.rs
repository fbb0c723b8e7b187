//! One way between two hosts: how well packets travel it, and whether they do at all.

use std::collections::BTreeMap;
use std::time::Duration;

use waltz_core::time::{Random, Time};

use super::HostId;
use crate::fault::{Chance, Latency};

/// How well packets travel one way between two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quality {
    /// How long a packet takes; each draws its own, so packets overtake each other.
    pub latency: Latency,
    /// A packet is lost and sent again after a time-out.
    pub loss: Chance,
    /// A packet arrives a second time.
    pub duplication: Chance,
    /// A packet makes something on the way forget its connection: both ends are reset, each at
    /// its own time.
    pub reset: Chance,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            latency: Latency::micros(50, 500),
            loss: Chance::NEVER,
            duplication: Chance::NEVER,
            reset: Chance::NEVER,
        }
    }
}

/// Whether packets get from one host to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    Cut,
    /// Open for `up`, cut for `down`, and so on, since the run began.
    Flapping {
        up: Duration,
        down: Duration,
    },
}

/// The ways between all pairs of hosts, each direction for itself.
#[derive(Debug, Default)]
pub(super) struct Links {
    usual: Quality,
    qualities: BTreeMap<(HostId, HostId), Quality>,
    passages: BTreeMap<(HostId, HostId), Passage>,
}

impl Links {
    pub(super) fn set_usual(&mut self, quality: Quality) {
        self.usual = quality;
        self.qualities.clear();
    }

    pub(super) fn set(&mut self, way: (HostId, HostId), quality: Quality) {
        self.qualities.insert(way, quality);
    }

    pub(super) fn quality(&self, way: (HostId, HostId)) -> Quality {
        self.qualities.get(&way).copied().unwrap_or(self.usual)
    }

    pub(super) fn cut(&mut self, way: (HostId, HostId)) {
        self.passages.insert(way, Passage::Cut);
    }

    pub(super) fn flap(&mut self, way: (HostId, HostId), up: Duration, down: Duration) {
        self.passages.insert(way, Passage::Flapping { up, down });
    }

    pub(super) fn heal(&mut self, way: (HostId, HostId)) {
        self.passages.remove(&way);
    }

    pub(super) fn heal_all(&mut self) {
        self.passages.clear();
    }

    /// Whether nothing passes at this moment. A host always reaches itself.
    pub(super) fn is_cut(&self, way: (HostId, HostId), now: Time) -> bool {
        match self.passages.get(&way) {
            _ if way.0 == way.1 => false,
            None => false,
            Some(Passage::Cut) => true,
            Some(Passage::Flapping { up, down }) => {
                let period = (*up + *down).as_nanos().max(1);
                u128::from(now.0) % period >= up.as_nanos()
            }
        }
    }

    /// The time a packet that sets out now takes; `None` if it gets lost.
    pub(super) fn travel(
        &self,
        way: (HostId, HostId),
        now: Time,
        random: &mut Random,
    ) -> Option<Duration> {
        let quality = self.quality(way);
        let lost = self.is_cut(way, now) || quality.loss.strikes(random);
        (!lost).then(|| quality.latency.draw(random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: HostId = HostId(0);
    const THERE: HostId = HostId(1);

    #[test]
    fn a_cut_is_one_way_until_it_is_healed_and_never_within_a_host() {
        let mut links = Links::default();
        links.cut((HERE, THERE));
        links.cut((HERE, HERE));
        let cut = |links: &Links, from, to| links.is_cut((from, to), Time(5));
        assert!(cut(&links, HERE, THERE));
        assert!(!cut(&links, THERE, HERE));
        assert!(!cut(&links, HERE, HERE));
        links.heal((HERE, THERE));
        assert!(!cut(&links, HERE, THERE));
    }

    #[test]
    fn a_flapping_link_is_up_and_down_in_turn() {
        let mut links = Links::default();
        links.flap((HERE, THERE), Duration::from_nanos(3), Duration::from_nanos(2));
        let cut: Vec<_> = (0..10).map(|now| links.is_cut((HERE, THERE), Time(now))).collect();
        let period = [false, false, false, true, true];
        assert_eq!(cut, [period, period].concat());
    }

    #[test]
    fn a_link_has_the_usual_quality_until_it_gets_its_own() {
        let mut links = Links::default();
        let lossy = Quality { loss: Chance::ALWAYS, ..Quality::default() };
        links.set((HERE, THERE), lossy);
        let random = &mut Random::new(1);
        assert_eq!(links.travel((HERE, THERE), Time(0), random), None);
        assert!(links.travel((THERE, HERE), Time(0), random).is_some());
        links.set_usual(Quality::default());
        assert!(links.travel((HERE, THERE), Time(0), random).is_some());
    }
}
