//! Where a coordinator is, as people write it.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A kind of coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// etcd, by its API of version 3.
    Etcd,
    /// Apache ZooKeeper, 3.6 or later.
    ZooKeeper,
}

impl Engine {
    const ALL: [Self; 2] = [Self::Etcd, Self::ZooKeeper];

    fn scheme(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ZooKeeper => "zookeeper",
        }
    }
}

/// Where a coordinator is: its kind and its members.
///
/// ```
/// use waltz_coordinators::{CoordinatorAddress, Engine};
///
/// let address: CoordinatorAddress = "etcd://10.0.0.1:2379,10.0.0.2:2379".parse()?;
/// assert_eq!(address.engine(), Engine::Etcd);
/// assert_eq!(address.members(), ["10.0.0.1:2379", "10.0.0.2:2379"]);
/// # Ok::<(), waltz_coordinators::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorAddress {
    engine: Engine,
    members: Vec<String>,
}

/// Not where a coordinator can be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Not of a kind that is known.
    #[error("{0:?} names no coordinator: write etcd://HOST:PORT[,HOST:PORT...] or zookeeper://...")]
    Scheme(String),
    /// No host and port.
    #[error("{0:?} is no HOST:PORT of a coordinator's member")]
    Member(String),
}

impl CoordinatorAddress {
    /// The address of a coordinator with these members.
    ///
    /// # Errors
    /// When there is none, or one is no `HOST:PORT`.
    pub fn new(
        engine: Engine,
        members: impl IntoIterator<Item = String>,
    ) -> Result<Self, AddressError> {
        let members: Vec<String> = members.into_iter().collect();
        match members.iter().find(|member| !is_member(member)) {
            Some(member) => Err(AddressError::Member(member.clone())),
            None if members.is_empty() => Err(AddressError::Member(String::new())),
            None => Ok(Self { engine, members }),
        }
    }

    /// Its kind.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Its members, `HOST:PORT` each; at least one.
    pub fn members(&self) -> &[String] {
        &self.members
    }
}

fn is_member(member: &str) -> bool {
    member.rsplit_once(':').is_some_and(|(host, port)| {
        let plain = |c: char| !c.is_whitespace() && !matches!(c, '/' | '@' | '?' | '#');
        !host.is_empty()
            && host.chars().all(plain)
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

impl FromStr for CoordinatorAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, members) =
            text.split_once("://").ok_or_else(|| AddressError::Scheme(text.to_owned()))?;
        let engine = Engine::ALL.into_iter().find(|engine| engine.scheme() == scheme);
        let engine = engine.ok_or_else(|| AddressError::Scheme(text.to_owned()))?;
        Self::new(engine, members.split(',').map(str::to_owned))
    }
}

impl fmt::Display for CoordinatorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.engine.scheme(), self.members.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in ["etcd://a:1", "zookeeper://a:2181,b.example:2181,[::1]:2181"] {
            let address: CoordinatorAddress = text.parse().expect("it is one");
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_none_is_refused_by_name() {
        for text in ["", "a:1", "consul://a:1", "etcd//a:1"] {
            let refused = text.parse::<CoordinatorAddress>();
            assert_eq!(refused, Err(AddressError::Scheme(text.to_owned())), "{text}");
        }
        for (text, member) in [
            ("etcd://", ""),
            ("etcd://a:1,", ""),
            ("etcd://a", "a"),
            ("etcd://:1", ":1"),
            ("etcd://a:0", "a:0"),
            ("etcd://a:65536", "a:65536"),
            ("etcd://user@a:1", "user@a:1"),
            ("zookeeper://a:1/path", "a:1/path"),
        ] {
            let refused = text.parse::<CoordinatorAddress>();
            assert_eq!(refused, Err(AddressError::Member(member.to_owned())), "{text}");
        }
    }
}
