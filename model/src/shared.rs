//! Parts of a state that many states share. What an action does not touch is neither copied nor
//! hashed again; and because machines are pure, what one does about an operation is computed once
//! and remembered.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A value with its fingerprint.
#[derive(Debug)]
pub(crate) struct Shared<T>(Arc<Hashed<T>>);

#[derive(Debug)]
struct Hashed<T> {
    fingerprint: u64,
    value: T,
}

// Its keys are fixed: the same value has the same fingerprint in every process.
fn fingerprint(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl<T: Hash> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Hashed { fingerprint: fingerprint(&value), value }))
    }
}

impl<T: Clone + Hash> Shared<T> {
    /// Puts a changed copy in its place.
    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut value = (**self).clone();
        let result = change(&mut value);
        *self = Self::new(value);
        result
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.fingerprint == other.0.fingerprint && self.0.value == other.0.value)
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.0.fingerprint);
    }
}

/// A pure machine: what becomes of it, and what comes of that, follows from the operation.
pub(crate) trait Machine: Clone + Hash {
    /// What can happen to it.
    type Operation: Hash;
    /// What comes of it.
    type Step: std::fmt::Debug;

    /// Does it.
    fn apply(&mut self, operation: Self::Operation) -> Self::Step;
}

/// What became of a machine, and what came of it.
type Known<M> = (Shared<M>, Arc<<M as Machine>::Step>);

/// What is known of machines of one kind, by the fingerprints of machine and operation.
#[derive(Debug)]
pub(crate) struct Memory<M: Machine> {
    known: Mutex<HashMap<(u64, u64), Known<M>>>,
    /// Every machine once, so that states which came about in different ways share them.
    machines: Mutex<HashMap<u64, Shared<M>>>,
}

impl<M: Machine> Default for Memory<M> {
    fn default() -> Self {
        Self { known: Mutex::default(), machines: Mutex::default() }
    }
}

impl<M: Machine> Memory<M> {
    /// Puts what the operation makes of a machine in its place.
    pub(crate) fn apply(&self, machine: &mut Shared<M>, operation: M::Operation) -> Arc<M::Step> {
        let key = (machine.0.fingerprint, fingerprint(&operation));
        let known = lock(&self.known).get(&key).cloned();
        let (next, step) = known.unwrap_or_else(|| {
            // Nothing is locked here: the machine may panic.
            let mut next = (**machine).clone();
            let step = Arc::new(next.apply(operation));
            let next = Shared::new(next);
            let next = lock(&self.machines).entry(next.0.fingerprint).or_insert(next).clone();
            lock(&self.known).insert(key, (next.clone(), Arc::clone(&step)));
            (next, step)
        });
        *machine = next;
        step
    }
}

/// What is remembered is whole even if someone panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static STEPS: Cell<u32> = const { Cell::new(0) };
    }

    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    struct Counter(u32);

    impl Machine for Counter {
        type Operation = u32;
        type Step = String;

        fn apply(&mut self, more: u32) -> String {
            STEPS.set(STEPS.get() + 1);
            self.0 += more;
            format!("{more} more")
        }
    }

    #[test]
    fn a_step_is_computed_once_and_its_result_is_shared() {
        let memory = Memory::default();
        let (mut once, mut again) = (Shared::new(Counter(1)), Shared::new(Counter(1)));
        assert_eq!(*memory.apply(&mut once, 2), "2 more");
        assert_eq!(*memory.apply(&mut again, 2), "2 more");
        assert_eq!((once.0.value.0, STEPS.get()), (3, 1));
        assert!(Arc::ptr_eq(&once.0, &again.0));
        memory.apply(&mut again, 4);
        assert_eq!((again.0.value.0, STEPS.get()), (7, 2));
        assert_ne!(once, again);
    }
}
