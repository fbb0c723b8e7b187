//! Why somebody may not do something.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Role;

/// Why somebody may not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum AccessRefusal {
    /// No rule is about it.
    #[error(
        "this node gives no role to whoever asks; present a certificate with a name that has one, or a token"
    )]
    Unknown,
    /// No rule is about its token.
    #[error("this node gives no role to this token; ask its operator for another")]
    Token,
    /// Its role is not enough.
    #[error("this takes the role {needed}; ask the node's operator for it")]
    Role {
        /// What it takes.
        needed: Role,
    },
    /// It says that it is a node, and its certificate does not.
    #[error(
        "only who has a certificate with the role node may speak as a node; name it in the access rules"
    )]
    NotANode,
}
