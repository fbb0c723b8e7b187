//! Compare-and-sets: what becomes of them by what is known of their keys.

use bytes::Bytes;
use waltz_core::coordinator::{Key, LeaseId, Revision};
use waltz_core::wire::FromCoordinator;

use super::envelope::{Content, Entry, Envelope, Tie};
use super::place::LeaseName;
use super::view::{Current, Moment, View};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) request: u64,
    pub(super) key: Key,
    pub(super) expected: Option<Revision>,
    pub(super) value: Option<(Bytes, Option<LeaseId>)>,
}

/// What becomes of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Write(Write),
    /// By what was read just now.
    Answer(FromCoordinator),
    /// The key has to be read again.
    Read,
}

/// A write that changes the key only as it was expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// The version that the znode must have; `None`: there is none.
    pub(super) version: Option<i32>,
    pub(super) envelope: Envelope,
    /// What must be alive: the lease of the value before, and that of the new one.
    pub(super) alive: Vec<LeaseName>,
}

impl Set {
    /// The lease that the value is to be tied to.
    pub(super) fn lease(&self) -> Option<LeaseId> {
        self.value.as_ref().and_then(|(_, lease)| *lease)
    }

    /// Decides by the key's znode as it was at some moment. `own`: the znode of its lease, where the
    /// view may not have it yet.
    pub(super) fn judge(
        &self,
        view: &View,
        found: Option<&Entry>,
        asked_at: Moment,
        own: Option<LeaseName>,
    ) -> Verdict {
        let current = match view.current(&self.key, found, asked_at) {
            Current::Is(current) => current,
            Current::Unclear => return Verdict::Read,
        };
        let tied_to = self.lease().map(|lease| own.or_else(|| view.lease(lease)));
        let is_unreadable = found.is_some_and(Entry::is_unreadable);
        let revision = current.as_ref().map(|current| current.revision);
        if revision != self.expected || is_unreadable || tied_to == Some(None) {
            return Verdict::Answer(FromCoordinator::Conflict { request: self.request, current });
        }
        if current.is_none() && self.value.is_none() {
            // Deleting what is not there changes nothing.
            let (request, revision) = (self.request, view.latest());
            return Verdict::Answer(FromCoordinator::Set { request, revision });
        }
        let tied_to = tied_to.flatten();
        let tied_before = current.and(found).and_then(Entry::tie).and_then(|tie| view.life(tie));
        let mut alive: Vec<LeaseName> = tied_before.into_iter().chain(tied_to).collect();
        alive.dedup();
        let tie = tied_to.map(|LeaseName { lease, life, .. }| Tie { lease, life });
        let value = self.value.as_ref().map(|(value, _)| value.clone());
        let version = found.map(|entry| entry.version);
        Verdict::Write(Write { version, envelope: Envelope { tie, value }, alive })
    }
}

impl Entry {
    fn is_unreadable(&self) -> bool {
        matches!(self.content, Content::Unreadable(_))
    }

    fn tie(&self) -> Option<Tie> {
        match &self.content {
            Content::Envelope(envelope) => envelope.tie,
            Content::Unreadable(_) => None,
        }
    }
}
