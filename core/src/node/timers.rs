//! The one table of deadlines of a node; one of them, the next, leaves it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::PartitionId;
use crate::time::Time;

/// Whose deadline it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Alarm {
    /// The connections'.
    Links,
    /// The hosted coordinator's.
    Coordinator,
    /// The agent's.
    Agent,
    /// The storage's.
    Storage,
    /// A served partition's.
    Partition(PartitionId),
}

/// Deadlines by whose they are, and by when.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Timers {
    deadlines: BTreeMap<Alarm, Time>,
    queue: BTreeSet<(Time, Alarm)>,
    announced: Option<Time>,
}

impl Timers {
    /// Sets or clears a deadline.
    pub(super) fn set(&mut self, alarm: Alarm, deadline: Option<Time>) {
        let before = match deadline {
            Some(time) => self.deadlines.insert(alarm, time),
            None => self.deadlines.remove(&alarm),
        };
        if before == deadline {
            return;
        }
        if let Some(time) = before {
            self.queue.remove(&(time, alarm));
        }
        if let Some(time) = deadline {
            self.queue.insert((time, alarm));
        }
    }

    /// Takes the next alarm that is due.
    pub(super) fn due(&mut self, now: Time) -> Option<Alarm> {
        let (time, alarm) = *self.queue.first()?;
        if time > now {
            return None;
        }
        self.queue.pop_first();
        self.deadlines.remove(&alarm);
        Some(alarm)
    }

    /// The runtime's alarm went off: it holds none now.
    pub(super) fn on_alarm(&mut self) {
        self.announced = None;
    }

    /// The deadline to announce, if it is not the one announced already.
    pub(super) fn announce(&mut self) -> Option<Time> {
        let next = self.queue.first().map(|(time, _)| *time);
        if next == self.announced {
            return None;
        }
        self.announced = next;
        next
    }
}
