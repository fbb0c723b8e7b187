//! What a certificate says of whoever presented it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The names in a peer's certificate: its subject's common name and its alternative names, as DNS
/// names and URIs. The runtime has verified the certificate before anybody sees this.
///
/// ```
/// use waltz_core::access::Identity;
///
/// let identity: Identity = ["node-1.example", "spiffe://example/node"].into_iter().collect();
/// assert!(identity.is("node-1.example"));
/// assert!(!identity.is("node-2.example"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    names: BTreeSet<String>,
}

impl Identity {
    /// Whether this is one of its names, letter for letter.
    pub fn is(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

impl<N: Into<String>> FromIterator<N> for Identity {
    fn from_iter<I: IntoIterator<Item = N>>(names: I) -> Self {
        Self { names: names.into_iter().map(Into::into).collect() }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.names.is_empty() {
            return f.write_str("a certificate without names");
        }
        for (at, name) in self.names.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{name}")?;
        }
        Ok(())
    }
}
