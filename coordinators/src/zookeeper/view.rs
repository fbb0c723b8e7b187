//! What a session knows of its cluster's znodes, and what it has told of them.
//!
//! A member answers, and tells of changes, in the order in which it sees them. So once everything that
//! came before an answer was taken in, the leases are exactly those of that moment. A key's znode is
//! only known as it was when it was read; that it is another one since is counted, for nobody may be
//! told that a key went with its lease when another lease has it already.

use std::collections::{BTreeSet, HashMap};

use waltz_core::coordinator::{Key, LeaseId, Revision, Versioned};
use waltz_core::wire::FromCoordinator;

use super::envelope::{Content, Entry, Envelope, Tie};
use super::place::LeaseName;

/// A moment, counted in the changes of keys that were told before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Moment(u64);

#[derive(Debug, Default)]
pub(super) struct View {
    keys: HashMap<Key, Known>,
    leases: BTreeSet<LeaseName>,
    now: Moment,
    /// The last change there was, as far as it is known.
    latest: Revision,
    watched: Vec<Key>,
    /// The revisions of watched keys that were told to be there.
    told: HashMap<Key, Revision>,
}

#[derive(Debug, Default)]
struct Known {
    entry: Option<Entry>,
    /// When the entry was asked for.
    asked_at: Moment,
    /// When the member told of a change last.
    changed_at: Moment,
    is_being_read: bool,
}

/// A key as nodes see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Current {
    Is(Option<Versioned>),
    /// Its lease is dead, and it may have another one since it was read.
    Unclear,
}

impl View {
    pub(super) fn new(leases: Vec<LeaseName>) -> Self {
        Self { leases: leases.into_iter().collect(), ..Self::default() }
    }

    /// What is asked from now on is no older than this.
    pub(super) fn now(&self) -> Moment {
        self.now
    }

    pub(super) fn latest(&self) -> Revision {
        self.latest
    }

    /// A key's znode as it was last seen, and when it was asked for.
    pub(super) fn entry(&self, key: &Key) -> (Option<&Entry>, Moment) {
        let known = self.keys.get(key);
        known.map_or_else(Default::default, |known| (known.entry.as_ref(), known.asked_at))
    }

    /// A znode of a lease; `None`: it is dead.
    pub(super) fn lease(&self, lease: LeaseId) -> Option<LeaseName> {
        self.first(LeaseName { lease, life: 0, session: 0 }).filter(|name| name.lease == lease)
    }

    /// A znode of the life that a value is tied to; `None`: it is over.
    pub(super) fn life(&self, tie: Tie) -> Option<LeaseName> {
        let Tie { lease, life } = tie;
        self.first(LeaseName { lease, life, session: 0 })
            .filter(|name| (name.lease, name.life) == (lease, life))
    }

    fn first(&self, from: LeaseName) -> Option<LeaseName> {
        self.leases.range(from..).next().copied()
    }

    /// A key whose znode was asked for at some moment.
    pub(super) fn current(&self, key: &Key, entry: Option<&Entry>, asked_at: Moment) -> Current {
        let Some(Entry { revision, content, .. }) = entry else { return Current::Is(None) };
        let (value, lease) = match content {
            Content::Unreadable(bytes) => (bytes, None),
            Content::Envelope(Envelope { value: None, .. }) => return Current::Is(None),
            Content::Envelope(Envelope { value: Some(value), tie }) => match *tie {
                Some(tie) if self.life(tie).is_none() => {
                    let changed_at = self.keys.get(key).map(|known| known.changed_at);
                    let is_last = changed_at.is_none_or(|changed_at| changed_at <= asked_at);
                    return if is_last { Current::Is(None) } else { Current::Unclear };
                }
                tie => (value, tie.map(|tie| tie.lease)),
            },
        };
        Current::Is(Some(Versioned { revision: *revision, value: value.clone(), lease }))
    }

    /// The member tells that a key changed. Returns whether to read it now.
    pub(super) fn on_changed(&mut self, key: &Key) -> bool {
        self.now.0 += 1;
        let known = self.keys.entry(key.clone()).or_default();
        known.changed_at = self.now;
        !std::mem::replace(&mut known.is_being_read, true)
    }

    /// A key was read because it changed. Returns whether to read it again.
    pub(super) fn on_read(
        &mut self,
        key: &Key,
        entry: Option<Entry>,
        asked_at: Moment,
        told: &mut Vec<FromCoordinator>,
    ) -> bool {
        match entry {
            Some(entry) => self.learn(key, entry, asked_at, told),
            None => self.forget(key, told),
        }
        let Some(known) = self.keys.get_mut(key) else { return false };
        known.is_being_read = asked_at < known.changed_at;
        known.is_being_read
    }

    /// A key's znode was read or written.
    pub(super) fn learn(
        &mut self,
        key: &Key,
        entry: Entry,
        asked_at: Moment,
        told: &mut Vec<FromCoordinator>,
    ) {
        let revision = entry.revision;
        self.latest = self.latest.max(revision);
        let known = self.keys.entry(key.clone()).or_default();
        match &known.entry {
            Some(last) if last.revision > revision => return,
            Some(last) if last.revision == revision => {
                known.asked_at = known.asked_at.max(asked_at);
            }
            _ => (known.entry, known.asked_at) = (Some(entry), asked_at),
        }
        self.tell(key, told);
    }

    /// A key's znode is gone: not by one of us.
    fn forget(&mut self, key: &Key, told: &mut Vec<FromCoordinator>) {
        if let Some(known) = self.keys.get_mut(key) {
            known.entry = None;
            self.tell(key, told);
        }
    }

    pub(super) fn on_lease(&mut self, name: LeaseName) {
        self.leases.insert(name);
    }

    /// A lease has a znode less: its keys may be gone with it.
    pub(super) fn on_lease_gone(&mut self, name: LeaseName, told: &mut Vec<FromCoordinator>) {
        let LeaseName { lease, life, .. } = name;
        self.leases.remove(&name);
        let tied = |known: &Known| match &known.entry {
            Some(Entry { content: Content::Envelope(Envelope { tie, .. }), .. }) => {
                *tie == Some(Tie { lease, life })
            }
            _ => false,
        };
        let mut keys: Vec<Key> =
            self.keys.iter().filter(|(_, known)| tied(known)).map(|(key, _)| key.clone()).collect();
        keys.sort_unstable();
        for key in keys {
            self.tell(&key, told);
        }
    }

    /// Begins to watch a prefix: what there is under it. `None`: it has to be read again.
    pub(super) fn watch(&mut self, prefix: &Key) -> Option<Vec<(Key, Versioned)>> {
        let mut entries = Vec::new();
        for (key, known) in self.keys.iter().filter(|(key, _)| key.starts_with(prefix)) {
            match self.current(key, known.entry.as_ref(), known.asked_at) {
                Current::Is(None) => {}
                Current::Is(Some(current)) => entries.push((key.clone(), current)),
                Current::Unclear => return None,
            }
        }
        entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        self.told.retain(|key, _| !key.starts_with(prefix));
        self.told.extend(entries.iter().map(|(key, current)| (key.clone(), current.revision)));
        if !self.watched.contains(prefix) {
            self.watched.push(prefix.clone());
        }
        Some(entries)
    }

    /// Tells of a key if it is watched, and is another than was told.
    fn tell(&mut self, key: &Key, told: &mut Vec<FromCoordinator>) {
        if !self.watched.iter().any(|prefix| key.starts_with(prefix)) {
            return;
        }
        let (entry, asked_at) = self.entry(key);
        // What is unclear is being read.
        let Current::Is(current) = self.current(key, entry, asked_at) else { return };
        let revision = current.as_ref().map(|current| current.revision);
        let before = match revision {
            Some(revision) => self.told.insert(key.clone(), revision),
            None => self.told.remove(key),
        };
        if before != revision {
            told.push(FromCoordinator::Changed { key: key.clone(), current });
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const LEASE: LeaseId = LeaseId(7);
    const OTHER: LeaseId = LeaseId(8);

    /// A lease's only znode.
    fn name(lease: LeaseId) -> LeaseName {
        LeaseName { lease, life: 1, session: 1 }
    }

    fn entry(revision: u64, value: Option<&'static str>, lease: Option<LeaseId>) -> Entry {
        let tie = lease.map(|lease| Tie { lease, life: 1 });
        let value = value.map(|value| Bytes::from_static(value.as_bytes()));
        let content = Content::Envelope(Envelope { tie, value });
        Entry { revision: Revision(revision), version: 0, content }
    }

    /// A view of a watched key, and what is told of it from now on.
    struct Rig {
        view: View,
        told: Vec<FromCoordinator>,
    }

    impl Rig {
        fn new(known: Entry) -> Self {
            let mut view = View::new(vec![name(LEASE)]);
            let (key, at) = (Key::from("a"), view.now());
            view.learn(&key, known, at, &mut Vec::new());
            assert!(view.watch(&Key::new()).is_some());
            Self { view, told: Vec::new() }
        }

        fn changed(&mut self) -> bool {
            self.view.on_changed(&Key::from("a"))
        }

        fn read(&mut self, found: Entry, asked_at: Moment) -> bool {
            self.view.on_read(&Key::from("a"), Some(found), asked_at, &mut self.told)
        }

        /// The revisions that were told since the last time; `None`: that it is gone.
        fn told(&mut self) -> Vec<Option<u64>> {
            let revision = |told| match told {
                FromCoordinator::Changed { current, .. } => {
                    current.map(|current: Versioned| current.revision.0)
                }
                other => unreachable!("nothing else is told: {other:?}"),
            };
            self.told.drain(..).map(revision).collect()
        }
    }

    #[test]
    fn a_key_is_told_once_and_never_as_it_was_before() {
        let mut rig = Rig::new(entry(3, Some("x"), None));
        assert!(rig.changed());
        let asked_at = rig.view.now();
        assert!(!rig.read(entry(5, Some("y"), None), asked_at));
        assert_eq!(rig.told(), [Some(5)]);
        rig.read(entry(5, Some("y"), None), asked_at);
        rig.read(entry(4, Some("before"), None), asked_at);
        assert_eq!(rig.told(), []);
        rig.read(entry(6, None, None), asked_at);
        rig.read(entry(7, None, None), asked_at);
        assert_eq!(rig.told(), [None], "it is gone once");
    }

    #[test]
    fn what_changes_while_it_is_read_is_read_again() {
        let mut rig = Rig::new(entry(3, Some("x"), None));
        assert!(rig.changed());
        let asked_at = rig.view.now();
        assert!(!rig.changed(), "it is being read");
        assert!(rig.read(entry(5, Some("y"), None), asked_at));
        let asked_at = rig.view.now();
        assert!(!rig.read(entry(6, Some("z"), None), asked_at));
        assert_eq!(rig.told(), [Some(5), Some(6)]);
        assert!(rig.changed());
    }

    #[test]
    fn a_key_goes_with_its_lease() {
        let mut rig = Rig::new(entry(3, Some("x"), Some(LEASE)));
        rig.view.on_lease_gone(name(OTHER), &mut rig.told);
        assert_eq!(rig.told(), []);
        rig.view.on_lease_gone(name(LEASE), &mut rig.told);
        assert_eq!(rig.told(), [None]);
    }

    #[test]
    fn a_key_stays_as_long_as_somebody_keeps_the_lease() {
        let mut rig = Rig::new(entry(3, Some("x"), Some(LEASE)));
        let other = LeaseName { session: 2, ..name(LEASE) };
        rig.view.on_lease(other);
        rig.view.on_lease_gone(name(LEASE), &mut rig.told);
        assert_eq!(rig.told(), []);
        rig.view.on_lease_gone(other, &mut rig.told);
        assert_eq!(rig.told(), [None]);
        // Another life is not the one that the key was tied to.
        rig.view.on_lease(LeaseName { life: 3, session: 3, ..name(LEASE) });
        let (entry, at) = rig.view.entry(&Key::from("a"));
        assert_eq!(rig.view.current(&Key::from("a"), entry, at), Current::Is(None));
    }

    #[test]
    fn a_key_that_has_another_lease_does_not_go_with_the_first() {
        let mut rig = Rig::new(entry(3, Some("x"), Some(LEASE)));
        rig.view.on_lease(name(OTHER));
        assert!(rig.changed());
        let asked_at = rig.view.now();
        // What it changed to is not known yet.
        rig.view.on_lease_gone(name(LEASE), &mut rig.told);
        assert_eq!(rig.told(), []);
        assert_eq!(rig.view.watch(&Key::new()), None, "nor can a watch begin with it");
        rig.read(entry(5, Some("y"), Some(OTHER)), asked_at);
        assert_eq!(rig.told(), [Some(5)]);
    }

    #[test]
    fn a_key_that_changed_and_went_is_told_to_be_gone() {
        let mut rig = Rig::new(entry(3, Some("x"), Some(LEASE)));
        assert!(rig.changed());
        let asked_at = rig.view.now();
        rig.view.on_lease_gone(name(LEASE), &mut rig.told);
        rig.read(entry(5, Some("y"), Some(LEASE)), asked_at);
        assert_eq!(rig.told(), [None]);
    }

    #[test]
    fn a_watch_begins_with_what_is_under_its_prefix() {
        let mut view = View::new(vec![name(LEASE)]);
        let at = view.now();
        for (key, entry) in [
            ("in/b", entry(4, Some("b"), None)),
            ("in/a", entry(3, Some("a"), Some(LEASE))),
            ("in/dead", entry(5, Some("c"), Some(OTHER))),
            ("in/deleted", entry(6, None, None)),
            ("out", entry(7, Some("d"), None)),
        ] {
            view.learn(&Key::from(key), entry, at, &mut Vec::new());
        }
        let found = view.watch(&Key::from("in/")).expect("everything is clear");
        let found: Vec<_> =
            found.iter().map(|(key, current)| (&key[..], current.revision.0)).collect();
        assert_eq!(found, [("in/a", 3), ("in/b", 4)]);
        let mut told = Vec::new();
        view.learn(&Key::from("out"), entry(8, Some("e"), None), at, &mut told);
        assert_eq!(told, [], "nobody watches it");
        assert_eq!(view.latest(), Revision(8));
    }
}
