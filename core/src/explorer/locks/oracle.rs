//! What the server should have said by now, and what the disk says that it did.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::scan::{answer, newest_in_the_way};
use crate::explorer::explore::{Broken, ensure};
use crate::id::{ClientId, Mark, SessionId, TransactionId};
use crate::journal::EntryHead;
use crate::limits::Limits;
use crate::locks::testing::Locks;
use crate::locks::{LockConflict, LockWindow};
use crate::record::Run;
use crate::storage::testing::Rig;

/// Whose record it is, and which of its client's.
pub(super) type Name = (ClientId, u64);

/// A log, as locks and names; the ids are places.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Log {
    names: Vec<Name>,
    locks: Vec<Locks>,
}

impl Log {
    fn push(&mut self, name: Name, locks: Locks) {
        self.names.push(name);
        self.locks.push(locks);
    }
}

/// All that is expected.
#[derive(Debug)]
pub(super) struct Oracle {
    window: LockWindow,
    session: Option<SessionId>,
    /// What the session has to have numbered.
    numbered: Log,
    /// What is durable.
    stored: Log,
    records: Vec<Bytes>,
    /// How many of the journal's entries were read.
    entries: usize,
    /// What the session still has to refuse.
    refusals: BTreeMap<Name, LockConflict>,
    /// How many refusals were told: exact ones, and precautions.
    told: (u64, u64),
}

impl Oracle {
    pub(super) fn new(window: LockWindow) -> Self {
        Self {
            window,
            session: None,
            numbered: Log::default(),
            stored: Log::default(),
            records: Vec::new(),
            entries: 0,
            refusals: BTreeMap::new(),
            told: (0, 0),
        }
    }

    /// The mark of what is durable, which is what is committed: there is one disk.
    pub(super) fn committed(&self) -> Mark {
        Mark::before(TransactionId(self.records.len() as u64))
    }

    /// How many refusals were told: exact ones, and precautions.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test asks whether runs get this far"))]
    pub(super) fn refused_so_far(&self) -> (u64, u64) {
        self.told
    }

    /// Whether nothing is expected any more.
    pub(super) fn is_content(&self) -> bool {
        self.refusals.is_empty() && self.numbered == self.stored
    }

    /// The server is gone. What it numbered may still reach the disk; what it owes, it owes no more.
    pub(super) fn lost_server(&mut self) {
        self.refusals.clear();
    }

    /// A client mounts once more: what it was not told it need not be told any more.
    pub(super) fn mounts(&mut self, client: ClientId) {
        self.refusals.retain(|(refused, _), _| *refused != client);
    }

    /// A session tells a client that it may append: from now on it is the one that numbers.
    pub(super) fn ready(&mut self, session: SessionId) {
        if self.session.replace(session) != Some(session) {
            self.numbered = self.stored.clone();
        }
    }

    /// A record reaches the session that numbers.
    pub(super) fn appended(&mut self, name: Name, locks: Locks) {
        match answer(&self.numbered.locks, self.window, &locks) {
            Ok(()) => self.numbered.push(name, locks),
            Err(conflict) => {
                self.refusals.insert(name, conflict);
            }
        }
    }

    /// A record is refused.
    pub(super) fn refused(&mut self, name: Name, conflict: LockConflict) -> Result<(), Broken> {
        let is_committed = self.committed().includes(conflict.id);
        ensure(is_committed, "a conflict is told before its cause is committed")?;
        match conflict.exact {
            true => self.told.0 += 1,
            false => self.told.1 += 1,
        }
        match self.refusals.remove(&name) {
            Some(expected) if expected == conflict => Ok(()),
            expected => Err(format!("{name:?}: {conflict:?} where {expected:?} is expected")),
        }
    }

    /// Records are fed: committed ones, as they are stored.
    pub(super) fn fed(&self, first: TransactionId, count: u32, run: &Bytes) -> Result<(), Broken> {
        let ids = first.0 as usize..first.0 as usize + count as usize;
        let stored = self.records.get(ids).ok_or("fed what is not committed")?;
        let stored: BytesMut = stored.iter().flatten().copied().collect();
        ensure(stored == *run, "fed other records than the log's")
    }

    /// Reads what has become durable.
    pub(super) fn catch_up(&mut self, rig: &Rig) -> Result<(), Broken> {
        for written in &rig.journal[self.entries..rig.durable] {
            let EntryHead::Records { session, first, count, .. } = written.head else { continue };
            let (limits, body) = (Limits::default(), written.sound().clone());
            let run = Run::verify(session, first, count, body, &limits);
            let run = run.map_err(|error| error.to_string())?;
            for record in run.records() {
                let (id, req_id) = (record.id().0 as usize, record.req_id());
                ensure(id == self.records.len(), "an id is left out, or given out twice")?;
                self.stored((req_id.client, req_id.sequence), Locks::of(&record))?;
                self.records.push(Bytes::copy_from_slice(record.bytes()));
            }
        }
        self.entries = rig.durable;
        Ok(())
    }

    fn stored(&mut self, name: Name, locks: Locks) -> Result<(), Broken> {
        let id = self.records.len();
        if let Some((other, lock)) = newest_in_the_way(&self.stored.locks, &locks) {
            return Err(format!("{id} follows {other}, which changed its lock {lock} unseen"));
        }
        if self.numbered.names.get(id) != Some(&name) {
            return Err(format!("{id} is {name:?}, which was to be refused, or another id"));
        }
        self.stored.push(name, locks);
        Ok(())
    }
}
