//! What a log is without its records: where it starts and ends, which session wrote which part,
//! and how its replica set changed. Logs are compared, chosen and cut by these alone.
//!
//! ```text
//!  start           sessions' first ids                       last
//!    │ s1              │ s2                    │ s4            │
//!  ──┼─────────────────┼───────────────────────┼───────────────┤
//!    (trimmed)    ▲ set 3             ▲ set 4
//! ```
//!
//! A session writes records and changes of the replica set in one order, after the log it has
//! chosen. So two logs that name the same session at the same id, or the same change, are equal up
//! to there.

use serde::{Deserialize, Serialize};

use crate::id::{IdRange, Mark, Position, ReplicaSet, SessionId, SetVersion, TransactionId};

/// A replica set, and where in the log it came to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SetChange {
    /// Its number.
    pub version: SetVersion,
    /// The session that changed it; none for the set a partition is created with.
    pub session: Option<SessionId>,
    /// The last record before it.
    pub at: Mark,
    /// The replicas from here on.
    pub replicas: ReplicaSet,
}

impl SetChange {
    /// The set that a replica is created with.
    pub fn initial(version: SetVersion, replicas: ReplicaSet) -> Self {
        Self { version, session: None, at: Mark::NONE, replicas }
    }

    /// Right after the change.
    pub fn position(&self) -> Position {
        Position { last: self.at, version: self.version }
    }
}

/// A log without its records.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogSummary {
    /// Everything up to here was trimmed.
    pub start: Mark,
    /// Each session that has records, with the first of them; both ascending. The first one wrote
    /// the last trimmed record, if there is one.
    pub sessions: Vec<(SessionId, TransactionId)>,
    /// The replica sets, ascending; the first one is that of the log's start.
    pub sets: Vec<SetChange>,
    /// The last id.
    pub last: Mark,
}

impl LogSummary {
    /// An empty log.
    pub fn new(set: SetChange) -> Self {
        Self { start: Mark::NONE, sessions: Vec::new(), sets: vec![set], last: Mark::NONE }
    }

    /// Where the log ends.
    pub fn position(&self) -> Position {
        Position { last: self.last, version: self.set().version }
    }

    /// The point after this record and what changed right after it.
    pub fn position_at(&self, last: Mark) -> Position {
        let sets = self.sets.iter().take_while(|set| set.at <= last);
        Position { last, version: sets.last().unwrap_or(self.set()).version }
    }

    /// The newest replica set.
    pub fn set(&self) -> &SetChange {
        self.sets.last().expect("a log has a replica set from its creation on")
    }

    /// The replica set of this version, if the log still tells of it.
    pub fn set_at(&self, version: SetVersion) -> Option<&SetChange> {
        self.sets.iter().find(|set| set.version == version)
    }

    /// The first change after this version.
    pub fn change_after(&self, version: SetVersion) -> Option<&SetChange> {
        self.sets.iter().find(|set| set.version > version)
    }

    /// The highest session that wrote in it.
    pub fn latest_session(&self) -> Option<SessionId> {
        let wrote = self.sessions.last().map(|(session, _)| *session);
        wrote.max(self.set().session)
    }

    /// The session that wrote `id`, if the log still tells of it.
    pub fn session_at(&self, id: TransactionId) -> Option<SessionId> {
        if !self.last.includes(id) {
            return None;
        }
        let after = self.sessions.partition_point(|(_, first)| *first <= id);
        after.checked_sub(1).map(|index| self.sessions[index].0)
    }

    /// The records that `session` wrote, as far as the log keeps them.
    pub fn ids_of(&self, session: SessionId) -> Option<IdRange> {
        let index = self.sessions.binary_search_by_key(&session, |(wrote, _)| *wrote).ok()?;
        let first = self.sessions[index].1.max(self.start.next());
        let last = self.end_of(index).id().filter(|last| first <= *last)?;
        Some(IdRange { first, last })
    }

    /// How far this log and `other` agree; `None` when one was trimmed beyond that.
    pub fn common(&self, other: &Self) -> Option<Position> {
        let mut last = Mark::NONE;
        for (index, (session, first)) in self.sessions.iter().enumerate() {
            let there = other.sessions.binary_search_by_key(session, |(session, _)| *session);
            // A session that begins elsewhere there is no agreement, whatever its name says.
            let Some(there) = there.ok().filter(|there| other.sessions[*there].1 == *first) else {
                continue;
            };
            last = last.max(self.end_of(index).min(other.end_of(there)));
        }
        // Whoever writes the same change has the same records before it. One that is said to be
        // the same beyond the last record in common is not.
        let same = |set: &&SetChange| set.at <= last && other.sets.contains(set);
        let version = self.sets.iter().rev().find(same)?.version;
        (last >= self.start.max(other.start)).then_some(Position { last, version })
    }

    /// Whether everything is in order: sessions, first ids and sets ascend and are of this log.
    pub fn is_sound(&self) -> bool {
        self.sessions_are_sound() && self.sets_are_sound() && self.start <= self.last
    }

    fn sessions_are_sound(&self) -> bool {
        let first = self.sessions.first().map(|(_, first)| *first);
        let starts = match self.start.id() {
            None => first.is_none_or(|first| first == TransactionId::FIRST),
            Some(trimmed) => first.is_some_and(|first| first <= trimmed),
        };
        let second = self.sessions.get(1).map(|(_, first)| *first);
        let starts = starts && second.is_none_or(|second| !self.start.includes(second));
        starts
            && self.sessions.is_empty() == (self.last == Mark::NONE)
            && self.sessions.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1)
            && self.sessions.last().is_none_or(|(_, first)| self.last.includes(*first))
    }

    fn sets_are_sound(&self) -> bool {
        let follows = |pair: &[SetChange]| {
            pair[0].version.0.checked_add(1) == Some(pair[1].version.0)
                && pair[0].at <= pair[1].at
                && pair[0].session <= pair[1].session
        };
        self.sets.first().is_some_and(|set| set.at <= self.start)
            && self.sets.get(1).is_none_or(|set| set.at >= self.start)
            && self.sets.last().is_some_and(|set| set.at <= self.last)
            && self.sets.windows(2).all(follows)
            && self.sets.iter().all(|set| set.replicas.is_sound())
    }

    /// Notes that `session` wrote records from `first` up to `last`.
    pub fn extend(&mut self, session: SessionId, first: TransactionId, last: Mark) {
        debug_assert_eq!(self.last.next(), first);
        if self.sessions.last().is_none_or(|(latest, _)| *latest != session) {
            self.sessions.push((session, first));
        }
        self.last = last;
    }

    /// Notes a change of the replica set at the log's end.
    pub fn change(&mut self, change: SetChange) {
        debug_assert_eq!((change.at, change.version), (self.last, self.set().version.next()));
        self.sets.push(change);
    }

    /// Forgets everything after `keep`, which is not before the start.
    pub fn cut(&mut self, keep: Position) {
        debug_assert!(keep.last >= self.start);
        self.last = self.last.min(keep.last);
        let last = self.last;
        self.sessions.retain(|(_, first)| last.includes(*first));
        self.sets.retain(|set| set.version <= keep.version);
    }

    /// Forgets what comes before `start`, but for the session of the last record trimmed. Only
    /// what is committed may be trimmed, and so a set that a trimmed record was written under.
    pub fn trim(&mut self, start: Mark) {
        debug_assert!(self.start <= start && start <= self.last);
        self.start = start;
        let stale = self.sessions.partition_point(|(_, first)| start.includes(*first));
        self.sessions.drain(..stale.saturating_sub(1));
        let stale = self.sets.partition_point(|set| set.at < start);
        self.sets.drain(..stale.saturating_sub(1));
    }

    /// The log as it was at its start: what a replica starts over from.
    pub fn base(&self) -> Self {
        let (start, last) = (self.start, self.start);
        let wrote = self.sessions.first().filter(|_| start > Mark::NONE);
        let sets = self.sets.first().into_iter().cloned().collect();
        Self { start, sessions: wrote.into_iter().copied().collect(), sets, last }
    }

    fn end_of(&self, index: usize) -> Mark {
        match self.sessions.get(index + 1) {
            Some((_, next)) => Mark::before(*next),
            None => self.last,
        }
    }
}
