//! Reads of the log that a session has under way, for its replicas' catching up and for feeds.
//!
//! A read is asked of one joined replica (before there are any, of the chosen log's own) and moves
//! to another when that one is lost or can't.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{Mark, NodeId, TransactionId};

/// For whom a read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// A replica is being caught up.
    CatchUp(NodeId),
    /// A replica can't read them.
    Repair(NodeId),
    /// The partition's server asked, under this number.
    Asked(u64),
}

/// One read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Read {
    /// For whom.
    pub(super) purpose: Purpose,
    /// The next record that should come.
    pub(super) next: TransactionId,
    /// The last record wanted.
    pub(super) to: Mark,
    /// Bytes still wanted, roughly.
    pub(super) max_bytes: u32,
    /// Who was asked; none while nobody can be.
    pub(super) source: Option<NodeId>,
    /// Who could not.
    pub(super) failed: BTreeSet<NodeId>,
}

/// All reads of a session, by number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub(super) struct Reads {
    under_way: BTreeMap<u64, Read>,
    last: u64,
}

impl Reads {
    /// Starts a read; it has no source yet.
    pub(super) fn begin(
        &mut self,
        purpose: Purpose,
        next: TransactionId,
        to: Mark,
        max_bytes: u32,
    ) -> u64 {
        self.last += 1;
        let read = Read { purpose, next, to, max_bytes, source: None, failed: BTreeSet::new() };
        self.under_way.insert(self.last, read);
        self.last
    }

    /// The read of this number, if it is under way and `node` was asked.
    pub(super) fn asked_of(&mut self, request: u64, node: NodeId) -> Option<&mut Read> {
        self.under_way.get_mut(&request).filter(|read| read.source == Some(node))
    }

    /// The read of this number, if it is under way.
    pub(super) fn find(&mut self, request: u64) -> Option<&mut Read> {
        self.under_way.get_mut(&request)
    }

    /// Ends a read.
    pub(super) fn end(&mut self, request: u64) -> Option<Read> {
        self.under_way.remove(&request)
    }

    /// Whether something is being read to repair a replica.
    pub(super) fn repairs(&self, node: NodeId) -> bool {
        self.under_way.values().any(|read| read.purpose == Purpose::Repair(node))
    }

    /// Ends what was read for a replica.
    pub(super) fn end_for(&mut self, node: NodeId) {
        let is_for = |read: &Read| matches!(read.purpose, Purpose::CatchUp(other) | Purpose::Repair(other) if other == node);
        self.under_way.retain(|_, read| !is_for(read));
    }

    /// Takes every read away from a lost source. Who failed before may be asked again: it may be
    /// the only one left.
    pub(super) fn abandon(&mut self, source: NodeId) {
        for read in self.under_way.values_mut().filter(|read| read.source == Some(source)) {
            read.source = None;
            read.failed.clear();
        }
    }

    /// The reads that nobody was asked for.
    pub(super) fn waiting(&self) -> Vec<u64> {
        let waiting = self.under_way.iter().filter(|(_, read)| read.source.is_none());
        waiting.map(|(request, _)| *request).collect()
    }
}
