//! What was ever promised, and whether it holds.

use std::fmt;

use waltz_core::id::SessionId;

use crate::machines::{NODES, Node, Said, quorum};
use crate::shared::Shared;

/// What must hold in every state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Promise {
    /// No two different records are committed at an id, and no session skips one.
    OneRecordAnId,
    /// A committed record is durable on a quorum when it is reported, and never on fewer.
    OnAQuorum,
    /// What a replica knows to be committed is.
    LowWater,
    /// A session commits nothing that a higher one, once open, lacks.
    Fenced,
    /// What claims to be current is.
    Current,
    /// Honest servers and sound disks give no operator an alarm.
    NoAlarm,
    /// No machine gives up.
    NoPanic,
}

impl Promise {
    /// In words, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneRecordAnId => "a committed id names one record",
            Self::OnAQuorum => "a committed record is on a quorum",
            Self::LowWater => "what is known to be committed is",
            Self::Fenced => "a fenced session commits nothing its successor lacks",
            Self::Current => "what claims to be current is",
            Self::NoAlarm => "nobody is alarmed",
            Self::NoPanic => "no machine gives up",
        }
    }
}

/// A promise that does not hold, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Broken {
    /// Which.
    pub(crate) promise: Promise,
    /// What shows it.
    pub(crate) what: String,
}

impl Broken {
    pub(crate) fn alarm(what: String) -> Self {
        Self { promise: Promise::NoAlarm, what }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\": {}", self.promise.name(), self.what)
    }
}

/// What is known of one session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Tenure {
    session: SessionId,
    /// How many records it opened with; none before.
    prefix: Option<usize>,
    /// How many it said to be committed.
    committed: usize,
    /// How many anyone had committed when its round was asked for.
    asked_at: Option<usize>,
}

/// Everything that was ever said to be committed: by id, which session numbered it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct History {
    committed: Vec<SessionId>,
    /// Ascending.
    tenures: Vec<Tenure>,
}

type Nodes<'a> = [&'a Shared<Node>; NODES];

impl History {
    /// A session is asked to confirm that it is current.
    pub(crate) fn asked(&mut self, session: SessionId) {
        let committed = self.committed.len();
        self.tenure(session).asked_at = Some(committed);
    }

    /// A session says something.
    pub(crate) fn heard(
        &mut self,
        session: SessionId,
        said: &Said,
        nodes: Nodes<'_>,
    ) -> Result<(), Broken> {
        match *said {
            Said::Opened { prefix } => self.opened(session, prefix, nodes),
            Said::Committed { session: numbered, first, end } => {
                self.committed(session, numbered, first, end)
            }
            Said::Confirmed { committed } => {
                let asked_at = self.tenure(session).asked_at.unwrap_or(usize::MAX);
                demand(committed >= asked_at, Promise::Current, || {
                    format!("{session} confirms {committed} records, {asked_at} were committed")
                })
            }
            Said::Over { .. } | Said::Other => Ok(()),
        }
    }

    /// Whether what was said holds on the disks and in memory.
    pub(crate) fn holds(&self, nodes: Nodes<'_>) -> Result<(), Broken> {
        for (id, session) in self.committed.iter().enumerate() {
            let copies = nodes.iter().filter(|node| node.durable_at(id) == Some(*session)).count();
            demand(copies >= quorum(), Promise::OnAQuorum, || {
                format!("committed record {id} of {session} is on {copies} disks")
            })?;
        }
        for (index, node) in nodes.iter().enumerate() {
            let known = node.low_water();
            let is_so = |id| self.committed.get(id).copied() == node.held_at(id);
            demand(
                known <= self.committed.len() && (0..known).all(is_so),
                Promise::LowWater,
                || format!("n{} believes {known} records to be committed", index + 1),
            )?;
        }
        Ok(())
    }

    fn opened(
        &mut self,
        session: SessionId,
        prefix: usize,
        nodes: Nodes<'_>,
    ) -> Result<(), Broken> {
        let lower = self.tenures.iter().filter(|tenure| tenure.session < session);
        for Tenure { session: before, committed, .. } in lower {
            demand(*committed <= prefix, Promise::Fenced, || {
                format!("{session} opens with {prefix} records, {before} committed {committed}")
            })?;
        }
        let tenure = self.tenure(session);
        tenure.prefix = Some(prefix);
        tenure.committed = prefix;
        for id in self.committed.len()..prefix {
            let held = on_a_quorum(id, nodes);
            demand(held.is_some(), Promise::OnAQuorum, || {
                format!("{session} opens with record {id}, which no quorum holds")
            })?;
            self.committed.extend(held);
        }
        Ok(())
    }

    fn committed(
        &mut self,
        session: SessionId,
        numbered: SessionId,
        first: usize,
        end: usize,
    ) -> Result<(), Broken> {
        let tenure = self.tenure(session);
        let follows = tenure.prefix.is_some() && first == tenure.committed && numbered == session;
        tenure.committed = end;
        demand(follows, Promise::OneRecordAnId, || {
            format!("{session} commits {first}..{end} of {numbered} out of turn")
        })?;
        let lacks = |tenure: &&Tenure| {
            tenure.session > session && tenure.prefix.is_some_and(|prefix| prefix < end)
        };
        let later = self.tenures.iter().find(lacks);
        demand(later.is_none(), Promise::Fenced, || {
            let later = later.map_or(String::new(), |tenure| tenure.session.to_string());
            format!("{session} commits {end} records, which {later} lacks")
        })?;
        for id in first..end {
            if id == self.committed.len() {
                self.committed.push(session);
            }
            let before = self.committed[id];
            demand(before == session, Promise::OneRecordAnId, || {
                format!("{session} commits another record {id} than {before} did")
            })?;
        }
        Ok(())
    }

    fn tenure(&mut self, session: SessionId) -> &mut Tenure {
        let found = self.tenures.binary_search_by_key(&session, |tenure| tenure.session);
        let index = found.unwrap_or_else(|index| {
            let tenure = Tenure { session, prefix: None, committed: 0, asked_at: None };
            self.tenures.insert(index, tenure);
            index
        });
        &mut self.tenures[index]
    }
}

/// The record that a quorum of disks holds at an id.
fn on_a_quorum(id: usize, nodes: Nodes<'_>) -> Option<SessionId> {
    let mut held: Vec<_> = nodes.iter().filter_map(|node| node.durable_at(id)).collect();
    held.sort_unstable();
    held.windows(quorum()).find(|copies| copies[0] == copies[quorum() - 1]).map(|held| held[0])
}

fn demand(holds: bool, promise: Promise, what: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken { promise, what: what() }) }
}
