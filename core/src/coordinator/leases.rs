//! Who is alive, as far as the coordinator can know.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::coordinator::LeaseId;
use crate::time::Time;

/// How long every lease lives on after the coordinator itself was away.
pub const LEASE_GRACE: Duration = Duration::from_secs(5);

/// The longest a lease may ask to live without being prolonged; longer ones are cut to it.
pub const LONGEST_LEASE: Duration = Duration::from_secs(60);

/// How often to look while there are leases, whether one is due or not.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A look that comes later than this means that this process was held up, and with it the messages
/// that would have prolonged its leases.
const HELD_UP: Duration = Duration::from_millis(750);

/// When each lease ends unless it is prolonged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Leases {
    ends: BTreeMap<LeaseId, Time>,
    /// When it was last looked, or there was nothing to look at.
    looked: Time,
}

impl Leases {
    pub(super) fn is_alive(&self, lease: LeaseId) -> bool {
        self.ends.contains_key(&lease)
    }

    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// Starts or prolongs a lease.
    pub(super) fn keep_alive(&mut self, lease: LeaseId, now: Time, ttl: Duration) {
        if self.ends.is_empty() {
            self.looked = now;
        }
        self.ends.insert(lease, now + ttl.min(LONGEST_LEASE));
    }

    /// Ends a lease, its holder asking.
    pub(super) fn release(&mut self, lease: LeaseId) {
        self.ends.remove(&lease);
    }

    /// When to look next.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.ends.values().min().map(|end| (self.looked + LOOK_EVERY).min(*end))
    }

    /// Looks: ends the leases that are due and names them.
    pub(super) fn expire(&mut self, now: Time) -> Vec<LeaseId> {
        let held_up = now.since(self.looked) > HELD_UP;
        self.looked = now;
        if held_up {
            for end in self.ends.values_mut() {
                *end = (*end).max(now + LEASE_GRACE);
            }
            return Vec::new();
        }
        let due = |(&lease, &end): (&LeaseId, &Time)| (end <= now).then_some(lease);
        let expired: Vec<LeaseId> = self.ends.iter().filter_map(due).collect();
        for lease in &expired {
            self.ends.remove(lease);
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(3);
    const A: LeaseId = LeaseId(1);
    const B: LeaseId = LeaseId(2);

    fn at_ms(ms: u64) -> Time {
        Time::ZERO + Duration::from_millis(ms)
    }

    /// Looks whenever it is time to, as a process does that is not held up.
    fn live(leases: &mut Leases, until: Time) -> Vec<(Time, LeaseId)> {
        let mut ended = Vec::new();
        while let Some(time) = leases.deadline().filter(|time| *time <= until) {
            ended.extend(leases.expire(time).into_iter().map(|lease| (time, lease)));
        }
        ended
    }

    #[test]
    fn a_lease_ends_when_due_and_not_before() {
        let mut leases = Leases::default();
        leases.keep_alive(A, Time::ZERO, TTL);
        leases.keep_alive(B, Time::ZERO + Duration::from_secs(1), TTL);
        assert_eq!(live(&mut leases, at_ms(3_500)), [(at_ms(3_000), A)]);
        assert!(!leases.is_alive(A) && leases.is_alive(B));
    }

    #[test]
    fn a_kept_lease_lives_on() {
        let mut leases = Leases::default();
        leases.keep_alive(A, Time::ZERO, TTL);
        assert_eq!(live(&mut leases, at_ms(2_000)), []);
        leases.keep_alive(A, at_ms(2_000), TTL);
        assert_eq!(live(&mut leases, at_ms(9_000)), [(at_ms(5_000), A)]);
    }

    #[test]
    fn after_a_pause_of_its_own_nobody_is_declared_dead() {
        // The pause ends right after the lease would have, or long after.
        for late in [at_ms(3_001), at_ms(9_000)] {
            let mut leases = Leases::default();
            leases.keep_alive(A, Time::ZERO, TTL);
            assert_eq!(live(&mut leases, at_ms(1_000)), []);
            assert_eq!(leases.expire(late), []);
            assert_eq!(live(&mut leases, at_ms(60_000)), [(late + LEASE_GRACE, A)]);
        }
    }

    #[test]
    fn no_lease_outlives_the_longest() {
        let mut leases = Leases::default();
        leases.keep_alive(A, Time::ZERO, Duration::from_secs(1_000_000));
        let end = Time::ZERO + LONGEST_LEASE;
        assert_eq!(live(&mut leases, end), [(end, A)]);
    }
}
