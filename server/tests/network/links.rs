//! What becomes of what one machine sends to another.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Numbers a machine.
pub(crate) type Machine = usize;

/// One way from one machine to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Link {
    /// Everything vanishes.
    pub(crate) is_cut: bool,
    /// Everything arrives so much later.
    pub(crate) delay: Duration,
    /// Of a hundred packets, so many vanish.
    pub(crate) loss: u64,
}

/// All links between so many machines.
#[derive(Debug)]
pub(crate) struct Links {
    machines: usize,
    links: Mutex<Vec<Link>>,
}

impl Links {
    /// Nothing is wrong.
    pub(crate) fn new(machines: usize) -> Self {
        Self { machines, links: Mutex::new(vec![Link::default(); machines * machines]) }
    }

    /// How many machines there are.
    pub(crate) fn machines(&self) -> usize {
        self.machines
    }

    /// The link as it is now.
    pub(crate) fn between(&self, from: Machine, to: Machine) -> Link {
        self.lock()[from * self.machines + to]
    }

    /// Changes the links from each of these machines to each of those.
    pub(crate) fn change(&self, from: &[Machine], to: &[Machine], change: impl Fn(&mut Link)) {
        let mut links = self.lock();
        for from in from {
            for to in to.iter().filter(|to| *to != from) {
                change(&mut links[from * self.machines + to]);
            }
        }
    }

    /// Everything is as at first.
    pub(crate) fn heal(&self) {
        self.lock().fill(Link::default());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
