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

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: LeaseId = LeaseId(7);
    const NAME: LeaseName = LeaseName { lease: LEASE, life: 1, session: 2 };
    const OLD: LeaseName = LeaseName { lease: LeaseId(3), life: 4, session: 5 };
    const TIE: Tie = Tie { lease: LEASE, life: 1 };
    const OLD_TIE: Tie = Tie { lease: LeaseId(3), life: 4 };

    fn set(expected: Option<u64>, value: Option<(&'static str, Option<LeaseId>)>) -> Set {
        let value = value.map(|(value, lease)| (Bytes::from_static(value.as_bytes()), lease));
        Set { request: 1, key: Key::from("a"), expected: expected.map(Revision), value }
    }

    fn envelope(value: Option<&'static str>, tie: Option<Tie>) -> Envelope {
        Envelope { tie, value: value.map(|value| Bytes::from_static(value.as_bytes())) }
    }

    fn entry(content: Content) -> Entry {
        Entry { revision: Revision(9), version: 5, content }
    }

    fn judge(set: &Set, alive: &[LeaseName], found: Option<&Entry>) -> Verdict {
        let view = View::new(alive.to_vec());
        set.judge(&view, found, view.now(), None)
    }

    #[test]
    fn what_is_as_expected_is_written_by_its_version() {
        let found = entry(Content::Envelope(envelope(Some("x"), None)));
        let write = |version, envelope| Verdict::Write(Write { version, envelope, alive: vec![] });
        let verdict = judge(&set(Some(9), Some(("y", None))), &[], Some(&found));
        assert_eq!(verdict, write(Some(5), envelope(Some("y"), None)));
        let verdict = judge(&set(Some(9), None), &[], Some(&found));
        assert_eq!(verdict, write(Some(5), envelope(None, None)), "a deleted key stays");
        let verdict = judge(&set(None, Some(("y", None))), &[], None);
        assert_eq!(verdict, write(None, envelope(Some("y"), None)));
        let gone = entry(Content::Envelope(envelope(None, None)));
        let verdict = judge(&set(None, Some(("y", None))), &[], Some(&gone));
        assert_eq!(verdict, write(Some(5), envelope(Some("y"), None)), "over what was deleted");
    }

    #[test]
    fn a_write_checks_the_leases_that_it_rests_on() {
        let found = entry(Content::Envelope(envelope(Some("x"), Some(OLD_TIE))));
        let changed = set(Some(9), Some(("y", Some(LEASE))));
        let write = |alive| {
            let envelope = envelope(Some("y"), Some(TIE));
            Verdict::Write(Write { version: Some(5), envelope, alive })
        };
        let verdict = judge(&changed, &[OLD, NAME], Some(&found));
        assert_eq!(verdict, write(vec![OLD, NAME]), "the value before, and the new one");
        let created = set(None, Some(("y", Some(LEASE))));
        let verdict = judge(&created, &[NAME], Some(&found));
        assert_eq!(verdict, write(vec![NAME]), "over what a dead lease left");
        let prolonged = entry(Content::Envelope(envelope(Some("x"), Some(TIE))));
        let verdict = judge(&changed, &[NAME], Some(&prolonged));
        assert_eq!(verdict, write(vec![NAME]), "each once");
    }

    #[test]
    fn a_lease_begun_here_need_not_be_in_view() {
        let set = set(None, Some(("y", Some(LEASE))));
        let view = View::default();
        let verdict = set.judge(&view, None, view.now(), Some(NAME));
        let envelope = envelope(Some("y"), Some(TIE));
        let alive = vec![NAME];
        assert_eq!(verdict, Verdict::Write(Write { version: None, envelope, alive }));
    }

    #[test]
    fn what_is_not_as_expected_is_a_conflict() {
        let found = entry(Content::Envelope(envelope(Some("x"), None)));
        let value = Some(("y", None));
        for expected in [None, Some(8)] {
            let verdict = judge(&set(expected, value), &[], Some(&found));
            assert!(is_conflict(&verdict, Some("x")), "{verdict:?}");
        }
        assert!(is_conflict(&judge(&set(Some(9), value), &[], None), None));
        let dead = entry(Content::Envelope(envelope(Some("x"), Some(OLD_TIE))));
        assert!(is_conflict(&judge(&set(Some(9), value), &[], Some(&dead)), None));
        let verdict = judge(&set(Some(9), Some(("y", Some(LEASE)))), &[], Some(&found));
        assert!(is_conflict(&verdict, Some("x")), "its lease is dead: {verdict:?}");
    }

    #[test]
    fn nothing_is_written_over_what_cannot_be_read() {
        let found = entry(Content::Unreadable(Bytes::from_static(b"later")));
        for set in [set(Some(9), Some(("y", None))), set(Some(9), None), set(None, None)] {
            let verdict = judge(&set, &[], Some(&found));
            assert!(is_conflict(&verdict, Some("later")), "{verdict:?}");
        }
    }

    #[test]
    fn deleting_what_is_not_there_writes_nothing() {
        let verdict = judge(&set(None, None), &[], None);
        let answer = FromCoordinator::Set { request: 1, revision: Revision(0) };
        assert_eq!(verdict, Verdict::Answer(answer));
    }

    fn is_conflict(verdict: &Verdict, value: Option<&str>) -> bool {
        let Verdict::Answer(FromCoordinator::Conflict { request: 1, current }) = verdict else {
            return false;
        };
        current.as_ref().map(|current| &current.value[..]) == value.map(str::as_bytes)
    }
}
