//! The newest change of each lock: an open-addressing map with linear probing, whose deletions
//! move later entries back instead of leaving marks (Knuth, The Art of Computer Programming,
//! volume 3, section 6.4, algorithm R).

use serde::{Deserialize, Serialize};

use crate::id::Mark;
use crate::lock::LockId;

/// A place of the map; one whose mark is [`Mark::NONE`] is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    lock: LockId,
    changed: Mark,
}

const FREE: Slot = Slot { lock: LockId(0), changed: Mark::NONE };
const FIRST_SLOTS: usize = 64;

/// Locks and their newest changes. At most two thirds of the slots are taken; it grows by
/// doubling and never shrinks, as the window that it serves is bounded. Without a lock it takes
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Newest {
    /// A power of two of them; none before the first lock.
    slots: Vec<Slot>,
    taken: usize,
}

impl Newest {
    /// The newest change of `lock`; none if there is none.
    pub(super) fn find(&self, lock: LockId) -> Mark {
        match self.slots.is_empty() {
            true => Mark::NONE,
            false => self.slots[self.slot_of(lock)].changed,
        }
    }

    /// Makes `changed` the newest change of `lock`.
    pub(super) fn set(&mut self, lock: LockId, changed: Mark) {
        debug_assert_ne!(changed, Mark::NONE);
        if self.slots.is_empty() {
            self.slots = vec![FREE; FIRST_SLOTS];
        }
        let slot = self.slot_of(lock);
        let is_new = self.slots[slot].changed == Mark::NONE;
        self.slots[slot] = Slot { lock, changed };
        if is_new {
            self.taken += 1;
            if self.taken * 3 > self.slots.len() * 2 {
                self.grow();
            }
        }
    }

    /// Forgets `lock` if `changed` is its newest change.
    pub(super) fn remove_if(&mut self, lock: LockId, changed: Mark) {
        if self.slots.is_empty() {
            return;
        }
        let mut free = self.slot_of(lock);
        if self.slots[free].changed != changed {
            return;
        }
        self.slots[free] = FREE;
        self.taken -= 1;
        let mut next = self.after(free);
        while self.slots[next].changed != Mark::NONE {
            // An entry may move back to the free slot unless that is before its home.
            let home = self.home_of(self.slots[next].lock);
            if self.distance(home, next) >= self.distance(free, next) {
                self.slots.swap(free, next);
                free = next;
            }
            next = self.after(next);
        }
    }

    /// Where `lock` is, or else the free slot where it belongs.
    fn slot_of(&self, lock: LockId) -> usize {
        let mut slot = self.home_of(lock);
        while self.slots[slot].changed != Mark::NONE && self.slots[slot].lock != lock {
            slot = self.after(slot);
        }
        slot
    }

    /// Where the probing for `lock` begins. Lock ids should be well mixed, but clients make them:
    /// a multiplication by 2^64 divided by the golden ratio spreads plain numbers too.
    fn home_of(&self, lock: LockId) -> usize {
        let spread = lock.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (spread >> (u64::BITS - self.slots.len().trailing_zeros())) as usize
    }

    fn after(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.slots.len() - 1)
    }

    fn grow(&mut self) {
        let larger = vec![FREE; self.slots.len() * 2];
        let slots = std::mem::replace(&mut self.slots, larger);
        for entry in slots.into_iter().filter(|slot| slot.changed != Mark::NONE) {
            let slot = self.slot_of(entry.lock);
            self.slots[slot] = entry;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::id::TransactionId;

    fn mark(n: u64) -> Mark {
        TransactionId(n).mark()
    }

    #[test]
    fn an_older_change_does_not_remove_a_newer_one() {
        let mut newest = Newest::default();
        newest.set(LockId(7), mark(1));
        newest.set(LockId(7), mark(2));
        newest.remove_if(LockId(7), mark(1));
        assert_eq!(newest.find(LockId(7)), mark(2));
        newest.remove_if(LockId(7), mark(2));
        assert_eq!(newest.find(LockId(7)), Mark::NONE);
    }

    #[test]
    fn growing_keeps_every_lock() {
        let mut newest = Newest::default();
        for n in 0..10_000 {
            newest.set(LockId(n), mark(n));
        }
        assert!((0..10_000).all(|n| newest.find(LockId(n)) == mark(n)));
        assert!(newest.taken * 3 <= newest.slots.len() * 2);
    }

    proptest! {
        /// Few locks in few slots, so that chains of neighbours form and wrap around.
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((any::<bool>(), 0u64..60), 1..400)) {
            let (mut newest, mut model) = (Newest::default(), BTreeMap::new());
            for (n, (set, lock)) in steps.into_iter().enumerate() {
                // The multiplier's inverse puts many homes next to each other, at the end.
                let lock = LockId((u64::MAX - lock).wrapping_mul(0xf1de_83e1_9937_733d));
                if set {
                    newest.set(lock, mark(n as u64));
                    model.insert(lock, mark(n as u64));
                } else if let Some(changed) = model.remove(&lock) {
                    newest.remove_if(lock, changed);
                }
                prop_assert_eq!(newest.taken, model.len());
                for (lock, changed) in &model {
                    prop_assert_eq!(newest.find(*lock), *changed);
                }
            }
        }
    }
}
