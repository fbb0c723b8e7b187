//! The names of things: a newtype for every id and mark.
//!
//! A [`Mark`] is inclusive ("everything up to this id"), a `next_*` id is exclusive. "Nothing yet"
//! is [`Mark::NONE`], never a magic id.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident($inner:ty), $format:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }
    )*};
}

names! {
    /// One independent log of the cluster; ids and locks are scoped to it.
    PartitionId(u32), "p{}";
    /// A process of the cluster: a server, a storage node, or both.
    NodeId(u32), "n{}";
    /// One client process' life; drawn at random when it starts.
    ClientId(u64), "c{:016x}";
    /// The place of a transaction in its partition: dense, increasing, first is 0.
    TransactionId(u64), "{}";
    /// Names a partition's creation; a replica answers for this one only. Random.
    CreationId(u64), "{:016x}";
    /// Names one formatted journal. A wiped disk comes back with another one. Random.
    StorageId(u64), "{:016x}";
    /// Names a cluster: nothing of another cluster is ever read or answered.
    ClusterKey(u64), "{:016x}";
    /// The version of a partition's assignment to a server.
    Generation(u64), "g{}";
    /// The coordinator's ever-growing number in a [`SessionId`].
    Epoch(u64), "e{}";
    /// Numbers one client's mounts of one partition: only its newest counts.
    MountId(u64), "m{}";
    /// One life of a journal; each opening starts the next.
    Incarnation(u64), "i{}";
    /// Counts the checkpoints of a journal.
    CheckpointNumber(u64), "{}";
    /// Counts the changes of a partition's replica set: the set of its creation is 0.
    SetVersion(u64), "v{}";
}

impl TransactionId {
    /// The first id of every partition.
    pub const FIRST: Self = Self(0);

    /// The id right after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The mark that includes this id and everything before it.
    pub fn mark(self) -> Mark {
        Mark(self.0 + 1)
    }
}

/// An inclusive mark in a partition's log: everything up to an id, or nothing at all.
///
/// ```
/// use waltz_core::id::{Mark, TransactionId};
/// assert_eq!(Mark::NONE.next(), TransactionId(0));
/// assert_eq!(Mark::at(TransactionId(7)).id(), Some(TransactionId(7)));
/// assert!(Mark::NONE < Mark::at(TransactionId(0)));
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Mark(u64);

impl Mark {
    /// Nothing yet.
    pub const NONE: Self = Self(0);

    /// Everything up to and including `id`.
    pub fn at(id: TransactionId) -> Self {
        id.mark()
    }

    /// Everything before `next`.
    pub fn before(next: TransactionId) -> Self {
        Self(next.0)
    }

    /// The last id included, if any.
    pub fn id(self) -> Option<TransactionId> {
        self.0.checked_sub(1).map(TransactionId)
    }

    /// The first id not included.
    pub fn next(self) -> TransactionId {
        TransactionId(self.0)
    }

    /// Whether `id` is at or before this mark.
    pub fn includes(self, id: TransactionId) -> bool {
        id.0 < self.0
    }

    /// How many ids are included.
    pub fn count(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id() {
            Some(id) => id.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// One server's tenure over one partition, compared field by field in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId {
    /// Handed out by the coordinator; grows.
    pub epoch: Epoch,
    /// The server whose tenure it is.
    pub server: NodeId,
    /// Drawn at random for this opening: a restarted server never resumes a former life's session.
    pub nonce: u64,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{:08x}", self.epoch, self.server, self.nonce as u32)
    }
}

/// Names one append attempt for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReqId {
    /// Who asked.
    pub client: ClientId,
    /// The assignment under which it was asked.
    pub generation: Generation,
    /// Where to append.
    pub partition: PartitionId,
    /// The attempt. The upper half is random, drawn anew for each mount that is ready, so that
    /// clients that have one id by accident don't have ReqIds in common; the lower half counts the
    /// client's attempts on this partition.
    pub sequence: u64,
}

impl fmt::Display for ReqId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.client, self.generation, self.partition, self.sequence)
    }
}

/// One replica of a partition: a node, and the very disk it had when it was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The storage node.
    pub node: NodeId,
    /// Its journal. A node that comes back with another one is not this replica.
    pub storage: StorageId,
}

/// The most replicas of a partition, one that is being replaced beside its successor included.
pub const MAX_MEMBERS: usize = 8;

/// The replicas of a partition; every majority is counted against one of these.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReplicaSet(pub Vec<Member>);

impl ReplicaSet {
    /// How many replicas make a majority.
    pub fn quorum(&self) -> usize {
        self.0.len() / 2 + 1
    }

    /// Whether exactly this node with exactly this disk is a replica.
    pub fn contains(&self, member: Member) -> bool {
        self.0.contains(&member)
    }

    /// Whether there are members, not too many, and none twice.
    pub fn is_sound(&self) -> bool {
        let distinct: BTreeSet<_> = self.0.iter().collect();
        (1..=MAX_MEMBERS).contains(&self.0.len()) && distinct.len() == self.0.len()
    }

    /// This set with one more member.
    pub fn with(&self, member: Member) -> Self {
        Self(self.0.iter().copied().chain([member]).collect())
    }

    /// This set with one member less.
    pub fn without(&self, member: Member) -> Self {
        Self(self.0.iter().copied().filter(|other| *other != member).collect())
    }

    /// The nodes of the set.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.iter().map(|member| member.node)
    }
}

/// A point in a log: after a record, and after a change of the replica set.
///
/// Of one log's points the later one is greater in both.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Position {
    /// The last record.
    pub last: Mark,
    /// The last change of the replica set.
    pub version: SetVersion,
}

impl Default for SetVersion {
    fn default() -> Self {
        Self::FIRST
    }
}

impl SetVersion {
    /// The set a partition is created with.
    pub const FIRST: Self = Self(0);

    /// The version of the next change.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.last, self.version)
    }
}

/// Consecutive records, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdRange {
    /// The first.
    pub first: TransactionId,
    /// The last; not before the first.
    pub last: TransactionId,
}

impl IdRange {
    /// Whether the range has this id.
    pub fn contains(self, id: TransactionId) -> bool {
        self.first <= id && id <= self.last
    }
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}
