//! Where things are in ZooKeeper's tree.
//!
//! ```text
//! /waltz/{cluster}/keys/{key}
//! /waltz/{cluster}/leases/{lease}-{life}-{session}
//! ```
//!
//! Names of clusters and keys are escaped: a znode's name can't hold everything that a key's can.

use std::fmt::{self, Write};
use std::str::FromStr;

use waltz_core::coordinator::{Key, LeaseId};

/// The name of a key that has none.
const EMPTY: &str = "%";

/// One cluster's part of the tree.
#[derive(Debug, Clone)]
pub(super) struct Place {
    root: String,
}

/// What a znode is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spot {
    Key(Key),
    Lease(LeaseName),
}

/// The ephemeral znode of a lease.
///
/// A lease lives as long as a znode of it does. One that was dead and begins again has another life,
/// and keys are tied to lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LeaseName {
    pub(super) lease: LeaseId,
    /// The session that began this life.
    pub(super) life: u64,
    /// The session that this znode lives with.
    pub(super) session: u64,
}

impl Place {
    pub(super) fn new(cluster: &str) -> Self {
        Self { root: format!("/waltz/{}", escaped(cluster)) }
    }

    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// What all keys are below.
    pub(super) fn keys(&self) -> String {
        format!("{}/keys", self.root)
    }

    /// What all leases are below.
    pub(super) fn leases(&self) -> String {
        format!("{}/leases", self.root)
    }

    pub(super) fn key(&self, key: &str) -> String {
        format!("{}/keys/{}", self.root, escaped(key))
    }

    pub(super) fn lease(&self, name: &LeaseName) -> String {
        format!("{}/leases/{name}", self.root)
    }

    /// What a znode is for; `None`: it is nothing of ours.
    pub(super) fn spot(&self, path: &str) -> Option<Spot> {
        let (directory, name) =
            path.strip_prefix(&self.root)?.strip_prefix('/')?.split_once('/')?;
        match directory {
            "keys" => key_named(name).map(Spot::Key),
            "leases" => name.parse().ok().map(Spot::Lease),
            _ => None,
        }
    }
}

/// The key that a znode's name stands for.
pub(super) fn key_named(name: &str) -> Option<Key> {
    if name == EMPTY {
        return Some(Key::new());
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
            }
            plain => bytes.push(plain),
        }
    }
    let key = Key::from_utf8(bytes).ok()?;
    // There is one name for each key.
    (escaped(&key) == name).then_some(key)
}

fn escaped(key: &str) -> String {
    if key.is_empty() {
        return EMPTY.to_owned();
    }
    let mut name = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(byte.into()),
            // A string takes everything.
            _ => drop(write!(name, "%{byte:02X}")),
        }
    }
    name
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}-{:016x}", self.lease.0, self.life, self.session)
    }
}

impl FromStr for LeaseName {
    type Err = std::num::ParseIntError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let mut numbers = name.splitn(3, '-');
        let mut next = || u64::from_str_radix(numbers.next().unwrap_or_default(), 16);
        Ok(Self { lease: LeaseId(next()?), life: next()?, session: next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_name_of_its_own() {
        let place = Place::new("pay");
        for (key, path) in [
            ("nodes/3", "/waltz/pay/keys/nodes%2F3"),
            ("", "/waltz/pay/keys/%"),
            ("%", "/waltz/pay/keys/%25"),
            ("..", "/waltz/pay/keys/%2E%2E"),
            ("é\u{1}", "/waltz/pay/keys/%C3%A9%01"),
        ] {
            assert_eq!(place.key(key), path);
            assert_eq!(place.spot(path), Some(Spot::Key(Key::from(key))), "{key:?}");
        }
    }

    #[test]
    fn what_is_not_ours_is_nothing() {
        let place = Place::new("pay");
        for path in [
            "/waltz/pay",
            "/waltz/pay/keys",
            "/waltz/payments/keys/a",
            "/waltz/pay/other/a",
            "/waltz/pay/keys/%2f",
            "/waltz/pay/keys/%2",
            "/waltz/pay/keys/a.b",
            "/waltz/pay/keys/%FF",
            "/waltz/pay/leases/7",
        ] {
            assert_eq!(place.spot(path), None, "{path}");
        }
    }

    #[test]
    fn leases_are_read_as_they_are_written() {
        let place = Place::new("a/b");
        let name = LeaseName { lease: LeaseId(u64::MAX), life: 1 << 63, session: 7 };
        let path = place.lease(&name);
        let names = "ffffffffffffffff-8000000000000000-0000000000000007";
        assert_eq!(path, format!("/waltz/a%2Fb/leases/{names}"));
        assert_eq!(place.spot(&path), Some(Spot::Lease(name)));
    }
}
