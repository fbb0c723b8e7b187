//! Faults beyond lost messages and crashes: disks that rot or lose entries, requests that no sound
//! server sends.
//!
//! One disk at most is hit by what no crash does to it, and it never holds the last good copy of a
//! committed record.

use bytes::Bytes;

use super::actions::Action;
use super::run::Run;
use crate::id::{Mark, SessionId, TransactionId};
use crate::storage::testing;
use crate::wire::{ReplicaRequest, ToReplica, Version};

/// What a run has more of than others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Bits of one disk's records flip. The replica set stays as it is.
    Rot,
    /// One disk loses entries that it had said to be durable. The replica set stays as it is.
    Smear,
    /// One node loses power right after it answered.
    Lapse,
    /// The replica set changes.
    Moves,
}

impl Trouble {
    /// What a run draws from: the windows of some are narrower.
    pub(super) const DRAWN: [Self; 8] = [
        Self::Rot,
        Self::Smear,
        Self::Lapse,
        Self::Lapse,
        Self::Lapse,
        Self::Moves,
        Self::Moves,
        Self::Moves,
    ];

    /// Whether this can happen at all.
    pub(super) fn allows(self, action: Action) -> bool {
        match action {
            Action::Rot => self == Self::Rot,
            Action::Smear => self == Self::Smear,
            Action::Lapse | Action::Prepare => self == Self::Lapse,
            Action::Aim => self == Self::Moves,
            _ => true,
        }
    }

    /// How many times as often it happens.
    pub(super) fn favours(self, action: Action) -> u64 {
        use Action::{Aim, Attend, Forge, Lapse, Open, Prepare, Rot, Strand, Wake};
        let is_favoured = match self {
            Self::Rot => matches!(action, Rot | Wake | Forge),
            Self::Smear => matches!(action, Open | Attend),
            Self::Lapse => matches!(action, Lapse | Attend | Strand | Prepare),
            Self::Moves => matches!(action, Aim | Open | Attend),
        };
        if is_favoured { 3 } else { 1 }
    }
}

impl Run {
    /// A bit flips on the one disk that rots, where others hold the record.
    pub(super) fn rot(&mut self) -> Option<()> {
        let node = self.troubled;
        let last = self.oracle.committed().min(self.cluster.nodes[&node].replica()?.last()).id()?;
        let start = self.cluster.nodes[&node].replica()?.summary().start;
        let id = TransactionId(self.below(last.0 as usize + 1) as u64);
        if start.includes(id) || !self.oracle.is_held_by(self.cluster.nodes[&node].member, id) {
            return None;
        }
        self.cluster.rot(node, id);
        Some(())
    }

    /// The one disk that may loses some of its last entries, and the node can't tell which.
    pub(super) fn smear(&mut self) -> Option<()> {
        let node = self.troubled;
        let rig = &self.cluster.nodes[&node];
        let (member, durable) = (rig.member, rig.durable);
        if durable == 0 || self.oracle.is_lost(member) {
            return None;
        }
        let lost = 1 + self.below(durable.min(20));
        self.oracle.lose(member);
        self.cluster.suspect(node, durable - lost);
        Some(())
    }

    /// A request on its way offers records of another session.
    pub(super) fn forge(&mut self) -> Option<()> {
        let offers = |(request, _): &(ToReplica, Bytes)| {
            let request = &request.request;
            matches!(request, ReplicaRequest::Repair { .. } | ReplicaRequest::Copy { .. })
        };
        let offering = self.connections(|c| c.requests.iter().any(offers));
        let number = self.one_of(&offering).filter(|_| self.lies)?;
        let other = testing::session(self.below(self.epoch as usize + 1) as u64);
        let connection = self.cluster.connections.get_mut(&number)?;
        let (message, payload) = connection.requests.iter_mut().find(|request| offers(request))?;
        let (ReplicaRequest::Repair { origin, first, count }
        | ReplicaRequest::Copy { origin, first, count }) = &mut message.request
        else {
            return None;
        };
        // A session's own records can't be told from others under its name.
        if origin.epoch == other.epoch {
            return None;
        }
        *origin = SessionId { nonce: u64::MAX, ..other };
        *payload = testing::run(other.epoch.0, first.0, u64::from(*count));
        self.oracle.hears_lies();
        Some(())
    }

    /// A replica is told to trim what its session did not say, and may not be committed.
    pub(super) fn forge_trim(&mut self) -> Option<()> {
        let linked = self.connections(|c| c.is_up && c.version == Version::NEWEST);
        let number = self.one_of(&linked).filter(|_| self.lies)?;
        let connection = &self.cluster.connections[&number];
        let last = self.cluster.nodes[&connection.node].replica()?.last();
        let sequencer = self.cluster.sessions.get(&connection.epoch).filter(|s| s.is_open())?;
        let session = sequencer.session();
        let start = Mark::before(TransactionId(self.below(last.count() as usize + 1) as u64));
        let request = ToReplica {
            partition: testing::PARTITION,
            creation: testing::CREATION,
            session,
            request: ReplicaRequest::Trim { start },
        };
        let connection = self.cluster.connections.get_mut(&number)?;
        connection.requests.push_back((request, Bytes::new()));
        self.has_trimmed = true;
        Some(())
    }
}
