//! The coordinator's machine: decides requests, journals changes, tells watchers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::coordinator::leases::{LEASE_GRACE, Leases};
use crate::coordinator::{Change, Key, LeaseId, Revision, Snapshot, Versioned, limits};
use crate::io::{Caller, Context, Level, Ticket};
use crate::journal::{Entry, EntryHead};
use crate::planted::{Planted, PlantedBug};
use crate::time::Time;
use crate::wire::{CoordinatorRefusal, FromCoordinator, ToCoordinator};

/// Answers on their way, with whom they are for.
type Replies = Vec<(Caller, FromCoordinator)>;

/// For how many answers there is always room; what a burst took beside is given back.
const KEPT_ANSWERS: usize = 256;

/// The coordinator that one node hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Coordinator {
    /// The last change decided.
    revision: Revision,
    /// The fold over every change decided, durable or not.
    entries: BTreeMap<Key, Versioned>,
    /// What `entries` come to in a snapshot.
    state_bytes: usize,
    leases: Leases,
    watches: BTreeMap<Caller, BTreeSet<Key>>,
    /// The last change's ticket.
    appended: Ticket,
    durable: Ticket,
    /// Answers in the order they were decided, each with the change it must wait for.
    held: VecDeque<(Ticket, Caller, FromCoordinator)>,
    planted: Planted,
}

/// A journalled change does not follow the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the coordinator's change {found} follows change {last}", found = found.0, last = last.0)]
pub struct ReplayError {
    /// The last change that fits.
    pub last: Revision,
    /// The one that does not.
    pub found: Revision,
}

impl Coordinator {
    /// A coordinator that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A coordinator as it was when the snapshot was taken, before the replay of what came since.
    pub fn restored(snapshot: Snapshot) -> Self {
        let Snapshot { revision, entries } = snapshot;
        let bytes = entries.iter().map(|(key, entry)| limits::entry_bytes(key, &entry.value));
        Self { revision, state_bytes: bytes.sum(), entries, ..Self::default() }
    }

    /// Its state, with every change decided so far, durable or not.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { revision: self.revision, entries: self.entries.clone() }
    }

    /// Breaks a rule.
    #[must_use]
    pub fn with_planted(self, planted: Planted) -> Self {
        Self { planted, ..self }
    }

    /// Takes in the next change of the journal.
    ///
    /// # Errors
    /// When a change is missing before it, or it comes twice.
    pub fn replay(&mut self, change: &Change) -> Result<(), ReplayError> {
        if self.revision.0.checked_add(1) != Some(change.revision.0) {
            return Err(ReplayError { last: self.revision, found: change.revision });
        }
        self.fold(change);
        Ok(())
    }

    /// Begins after the replay: every lease that the state names lives a full grace period.
    pub fn start(&mut self, cx: &mut Context<'_>) {
        for lease in self.entries.values().filter_map(|versioned| versioned.lease) {
            self.leases.keep_alive(lease, cx.now, LEASE_GRACE);
        }
    }

    /// Decides a request.
    pub fn on_request(
        &mut self,
        cx: &mut Context<'_>,
        from: Caller,
        request: ToCoordinator,
        replies: &mut Replies,
    ) {
        match request {
            ToCoordinator::KeepAlive { lease, ttl_ms } => {
                self.on_keep_alive(cx, from, lease, Duration::from_millis(ttl_ms.into()));
            }
            ToCoordinator::Release { lease } => {
                self.leases.release(lease);
                self.delete_keys_of(cx, lease);
            }
            ToCoordinator::CompareAndSet { request, key, expected, value, lease } => {
                let value = value.map(|value| (value, lease));
                self.on_compare_and_set(cx, from, request, key, expected, value);
            }
            ToCoordinator::Get { request, key } => {
                let current = self.entries.get(&key).cloned();
                self.hold(from, FromCoordinator::Value { request, current });
            }
            ToCoordinator::Watch { prefix } => self.on_watch(from, prefix),
        }
        self.send_durable(replies);
    }

    /// Everything up to a ticket is durable: answers that waited for it leave.
    pub fn on_durable(&mut self, up_to: Ticket, replies: &mut Replies) {
        self.durable = self.durable.max(up_to);
        self.send_durable(replies);
    }

    /// A connection ended: its watches end and its answers go nowhere. Leases live on.
    pub fn on_closed(&mut self, from: Caller) {
        self.watches.remove(&from);
        self.held.retain(|(_, to, _)| *to != from);
    }

    /// Ends the leases that are due, and deletes their keys.
    pub fn on_timer(&mut self, cx: &mut Context<'_>, replies: &mut Replies) {
        let expired = self.leases.expire(cx.now);
        if self.planted.has(PlantedBug::LeaseForEver) {
            for lease in &expired {
                self.leases.keep_alive(*lease, cx.now, LEASE_GRACE);
            }
            return;
        }
        for lease in expired {
            self.delete_keys_of(cx, lease);
        }
        self.send_durable(replies);
    }

    /// When the timer is due.
    pub fn deadline(&self) -> Option<Time> {
        self.leases.deadline()
    }

    fn on_keep_alive(&mut self, cx: &mut Context<'_>, from: Caller, lease: LeaseId, ttl: Duration) {
        if !self.leases.is_alive(lease)
            && let Err(reason) = limits::check_leases(self.leases.count() + 1)
        {
            return self.refuse(from, None, reason);
        }
        self.leases.keep_alive(lease, cx.now, ttl);
        self.hold(from, FromCoordinator::Alive { lease });
    }

    fn on_compare_and_set(
        &mut self,
        cx: &mut Context<'_>,
        from: Caller,
        request: u64,
        key: Key,
        expected: Option<Revision>,
        value: Option<(Bytes, Option<LeaseId>)>,
    ) {
        if let Err(reason) = self.check_size(&key, value.as_ref().map(|(value, _)| value)) {
            return self.refuse(from, Some(request), reason);
        }
        let current = self.entries.get(&key);
        let lease = value.as_ref().and_then(|(_, lease)| *lease);
        let dead_lease = lease.is_some_and(|lease| !self.leases.is_alive(lease));
        if current.map(|versioned| versioned.revision) != expected || dead_lease {
            let current = current.cloned();
            return self.hold(from, FromCoordinator::Conflict { request, current });
        }
        // Deleting what is not there changes nothing.
        if current.is_some() || value.is_some() {
            self.change(cx, key, value);
        }
        self.hold(from, FromCoordinator::Set { request, revision: self.revision });
    }

    fn on_watch(&mut self, from: Caller, prefix: Key) {
        let watched = self.watches.get(&from);
        let again = watched.is_some_and(|prefixes| prefixes.contains(&prefix));
        let count = watched.map_or(0, BTreeSet::len) + usize::from(!again);
        if let Err(reason) = limits::check_key(&prefix).and(limits::check_watches(count)) {
            return self.refuse(from, None, reason);
        }
        // Held like every answer, so that the changes decided after it follow it.
        let under = self.entries.range(prefix.clone()..);
        let entries = under
            .take_while(|(key, _)| key.starts_with(&prefix))
            .map(|(key, versioned)| (key.clone(), versioned.clone()))
            .collect();
        self.hold(from, FromCoordinator::Snapshot { prefix: prefix.clone(), entries });
        self.watches.entry(from).or_default().insert(prefix);
    }

    fn check_size(&self, key: &Key, value: Option<&Bytes>) -> Result<(), CoordinatorRefusal> {
        limits::check_key(key)?;
        let Some(value) = value else { return Ok(()) };
        limits::check_value(value)?;
        let replaced =
            self.entries.get(key).map_or(0, |versioned| limits::entry_bytes(key, &versioned.value));
        limits::check_state(self.state_bytes - replaced + limits::entry_bytes(key, value))
    }

    fn delete_keys_of(&mut self, cx: &mut Context<'_>, lease: LeaseId) {
        let held_by = |versioned: &Versioned| versioned.lease == Some(lease);
        let keys: Vec<Key> = self
            .entries
            .iter()
            .filter(|(_, versioned)| held_by(versioned))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            cx.report(Level::Info, None, format!("the lease of {key} ended"));
            self.change(cx, key, None);
        }
    }

    /// Makes a change: journals it, folds it in, and tells its watchers in this order, so that a
    /// writer that watches sees its change before the answer.
    fn change(&mut self, cx: &mut Context<'_>, key: Key, value: Option<(Bytes, Option<LeaseId>)>) {
        let change = Change { revision: Revision(self.revision.0 + 1), key, value };
        self.fold(&change);
        let head = EntryHead::Coordinator(change.clone());
        self.appended = cx.append(Entry { head, body: Bytes::new() });
        let key = change.key;
        let watchers = self
            .watches
            .iter()
            .filter(|(_, prefixes)| prefixes.iter().any(|prefix| key.starts_with(prefix)));
        for (watcher, _) in watchers {
            let current = self.entries.get(&key).cloned();
            let changed = FromCoordinator::Changed { key: key.clone(), current };
            self.held.push_back((self.appended, *watcher, changed));
        }
    }

    fn fold(&mut self, change: &Change) {
        self.revision = change.revision;
        let Change { revision, key, value } = change;
        let former = match value {
            Some((value, lease)) => {
                self.state_bytes += limits::entry_bytes(key, value);
                let (value, lease) = (value.clone(), *lease);
                let versioned = Versioned { revision: *revision, value, lease };
                self.entries.insert(key.clone(), versioned)
            }
            None => self.entries.remove(key),
        };
        if let Some(former) = former {
            self.state_bytes -= limits::entry_bytes(key, &former.value);
        }
    }

    fn refuse(&mut self, to: Caller, request: Option<u64>, reason: CoordinatorRefusal) {
        self.hold(to, FromCoordinator::Refused { request, reason });
    }

    /// Queues an answer behind everything decided before it.
    fn hold(&mut self, to: Caller, answer: FromCoordinator) {
        self.held.push_back((self.appended, to, answer));
    }

    fn send_durable(&mut self, replies: &mut Replies) {
        while let Some((_, to, answer)) =
            self.held.pop_front_if(|(after, _, _)| *after <= self.durable)
        {
            replies.push((to, answer));
        }
        if self.held.is_empty() {
            self.held.shrink_to(KEPT_ANSWERS);
        }
    }
}
