//! How a connection opens: the dialler says who it is, the other side agrees on a version.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::access::AccessRefusal;
use crate::id::{ClientId, ClusterKey, NodeId};

/// A version of the wire protocol. [`Message::since`](super::Message::since) says which messages
/// each of them has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version(pub u16);

impl Version {
    /// Sessions, appends, feeds and the coordinator.
    pub const FIRST: Self = Self(1);
    /// Also what looks after replicas: their sets change, logs are trimmed, damage is repaired.
    pub const UPKEEP: Self = Self(2);
    /// Also what operates a cluster of many machines: nodes are drained, preferred, inspected and
    /// forgotten, partitions added, a cluster created or restored.
    pub const OPERATIONS: Self = Self(3);
    /// Also what says that disks have no room, and partitions more than they may.
    pub const SPACE: Self = Self(4);
    /// Also messages that are too long for a head, as clusters of very many partitions need them.
    pub const LONG: Self = Self(5);
    /// The oldest version this program speaks.
    pub const OLDEST: Self = Self::FIRST;
    /// The newest.
    pub const NEWEST: Self = Self::LONG;

    /// Whether this program speaks it.
    pub fn is_spoken(self) -> bool {
        (Self::OLDEST..=Self::NEWEST).contains(&self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u16> for Version {
    type Error = Unspoken;

    fn try_from(number: u16) -> Result<Self, Unspoken> {
        let version = Self(number);
        if version.is_spoken() { Ok(version) } else { Err(Unspoken(version)) }
    }
}

/// A version that this program does not speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "this program does not speak version {0} of the protocol, only {oldest} to {newest}",
    oldest = Version::OLDEST,
    newest = Version::NEWEST
)]
pub struct Unspoken(pub Version);

/// Opens a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The oldest version the dialler speaks.
    pub oldest: Version,
    /// The newest.
    pub newest: Version,
    /// Its cluster, unless it is a client that takes whichever it finds.
    pub cluster: Option<ClusterKey>,
    /// Who dials.
    pub who: Who,
}

/// Who dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    /// Another node of the cluster.
    Node(NodeId),
    /// A client.
    Client(ClientId),
}

/// The hello was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version both speak from now on.
    pub version: Version,
    /// The cluster.
    pub cluster: ClusterKey,
    /// Who answers.
    pub node: NodeId,
}

/// Why a hello was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum Refusal {
    /// The two share no protocol version.
    #[error(
        "no common protocol version: this node speaks {oldest} to {newest}; upgrade the older side"
    )]
    Version {
        /// The oldest version the refusing side speaks.
        oldest: Version,
        /// The newest.
        newest: Version,
    },
    /// The dialler belongs to another cluster.
    #[error("this node belongs to cluster {0}; check the address and the cluster name")]
    Cluster(ClusterKey),
    /// The dialler said or asked something that its role or the protocol does not allow.
    #[error("the connection broke the protocol")]
    Protocol,
    /// The dialler may not do what it said or asked. Told only to who knows
    /// [`Version::OPERATIONS`]; others are told that they broke the protocol.
    #[error("access denied: {0}")]
    Access(AccessRefusal),
}

/// The version that the dialler and a node that speaks `oldest` to `newest` talk in: the newest that
/// both know.
///
/// # Errors
/// [`Refusal::Version`] when there is none.
pub fn agree(hello: &Hello, oldest: Version, newest: Version) -> Result<Version, Refusal> {
    let version = hello.newest.min(newest);
    if version < hello.oldest || version < oldest {
        return Err(Refusal::Version { oldest, newest });
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_peers_speak_the_newest_version_that_both_know() {
        let hello = |oldest, newest| Hello {
            oldest: Version(oldest),
            newest: Version(newest),
            cluster: None,
            who: Who::Node(NodeId(1)),
        };
        let agreed =
            |(oldest, newest), own| agree(&hello(oldest, newest), Version::OLDEST, Version(own));
        assert_eq!(agreed((1, 1), 2), Ok(Version(1)));
        assert_eq!(agreed((1, 2), 1), Ok(Version(1)));
        assert_eq!(agreed((1, 2), 2), Ok(Version(2)));
        assert_eq!(agreed((2, 9), 2), Ok(Version(2)));
        let refused = |own| Err(Refusal::Version { oldest: Version(1), newest: Version(own) });
        assert_eq!(agreed((2, 2), 1), refused(1));
        assert_eq!(agreed((3, 9), 2), refused(2));
        assert_eq!(agreed((0, 0), 2), refused(2));
        let (oldest, newest) = (Version(2), Version(2));
        let refused = Err(Refusal::Version { oldest, newest });
        assert_eq!(agree(&hello(1, 1), oldest, newest), refused);
        assert_eq!(agree(&hello(1, 2), oldest, newest), Ok(Version(2)));
    }

    #[test]
    fn numbers_of_other_versions_are_none() {
        assert_eq!(Version::try_from(1), Ok(Version::FIRST));
        assert_eq!(Version::try_from(2), Ok(Version::UPKEEP));
        assert_eq!(Version::try_from(3), Ok(Version::OPERATIONS));
        assert_eq!(Version::try_from(4), Ok(Version::SPACE));
        assert_eq!(Version::try_from(5), Ok(Version::LONG));
        for number in [0, 6, u16::MAX] {
            assert_eq!(Version::try_from(number), Err(Unspoken(Version(number))));
        }
    }
}
