//! Who is alive, as far as the coordinator can know.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::coordinator::LeaseId;
use crate::time::Time;

/// How long every lease lives on after the coordinator itself was away.
pub const LEASE_GRACE: Duration = Duration::from_secs(5);

/// The longest a lease may ask to live without being prolonged; longer ones are cut to it.
pub const LONGEST_LEASE: Duration = Duration::from_secs(60);

/// A check later than this after the first lease was due means that this process was held up, and
/// with it the messages that would have prolonged its leases.
const HELD_UP: Duration = Duration::from_millis(500);

/// When each lease ends unless it is prolonged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Leases {
    ends: BTreeMap<LeaseId, Time>,
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
        self.ends.insert(lease, now + ttl.min(LONGEST_LEASE));
    }

    /// Ends a lease, its holder asking.
    pub(super) fn release(&mut self, lease: LeaseId) {
        self.ends.remove(&lease);
    }

    /// When the next lease ends.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.ends.values().min().copied()
    }

    /// Ends the leases that are due and names them.
    pub(super) fn expire(&mut self, now: Time) -> Vec<LeaseId> {
        if self.deadline().is_some_and(|deadline| now.since(deadline) > HELD_UP) {
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

    #[test]
    fn a_lease_ends_when_due_and_not_before() {
        let mut leases = Leases::default();
        leases.keep_alive(A, Time::ZERO, TTL);
        leases.keep_alive(B, Time::ZERO + Duration::from_secs(1), TTL);
        assert_eq!(leases.deadline(), Some(Time::ZERO + TTL));
        assert_eq!(leases.expire(Time(TTL.as_nanos() as u64 - 1)), []);
        assert_eq!(leases.expire(Time::ZERO + TTL), [A]);
        assert!(!leases.is_alive(A) && leases.is_alive(B));
    }

    #[test]
    fn a_kept_lease_lives_on() {
        let mut leases = Leases::default();
        leases.keep_alive(A, Time::ZERO, TTL);
        leases.keep_alive(A, Time::ZERO + Duration::from_secs(2), TTL);
        assert_eq!(leases.expire(Time::ZERO + TTL), []);
        assert_eq!(leases.deadline(), Some(Time::ZERO + Duration::from_secs(5)));
    }

    #[test]
    fn after_a_pause_of_its_own_nobody_is_declared_dead() {
        let mut leases = Leases::default();
        leases.keep_alive(A, Time::ZERO, TTL);
        let late = Time::ZERO + TTL + Duration::from_secs(1);
        assert_eq!(leases.expire(late), []);
        assert_eq!(leases.deadline(), Some(late + LEASE_GRACE));
        assert_eq!(leases.expire(late + LEASE_GRACE), [A]);
    }

    #[test]
    fn no_lease_outlives_the_longest() {
        let mut leases = Leases::default();
        leases.keep_alive(A, Time::ZERO, Duration::from_secs(1_000_000));
        assert_eq!(leases.deadline(), Some(Time::ZERO + LONGEST_LEASE));
    }
}
