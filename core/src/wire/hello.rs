//! How a connection opens: the dialler says who it is, the other side agrees on a version.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{ClientId, ClusterKey, NodeId};

/// A version of the wire protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version(pub u16);

impl Version {
    /// The oldest version this program speaks.
    pub const OLDEST: Self = Self(1);
    /// The newest.
    pub const NEWEST: Self = Self(1);
}

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
    #[error("no common protocol version: this node speaks {} to {}; upgrade the older side", oldest.0, newest.0)]
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
}

/// The version two peers speak: the newest that both know.
///
/// # Errors
/// [`Refusal::Version`] when there is none.
pub fn agree(oldest: Version, newest: Version) -> Result<Version, Refusal> {
    let version = newest.min(Version::NEWEST);
    if version < oldest || version < Version::OLDEST {
        return Err(Refusal::Version { oldest: Version::OLDEST, newest: Version::NEWEST });
    }
    Ok(version)
}
