//! Keys as etcd has them: below a root that names the cluster.

use bytes::Bytes;
use waltz_core::coordinator::{Key, LeaseId, Revision, Versioned};

use super::api;

/// Where a cluster's keys are.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    root: String,
}

impl Keys {
    pub(super) fn new(cluster: &str) -> Self {
        Self { root: format!("/waltz/{cluster}/") }
    }

    pub(super) fn bytes(&self, key: &str) -> Bytes {
        format!("{}{key}", self.root).into()
    }

    /// The range of all keys under a prefix.
    pub(super) fn range(&self, prefix: &str) -> api::RangeRequest {
        let key = self.bytes(prefix);
        let mut end = key.to_vec();
        // UTF-8 has no byte above 0xf4, so that the last one has a next one.
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        api::RangeRequest { key, range_end: end.into() }
    }

    /// A key of this cluster; `None`: it is none, and nothing of ours.
    pub(super) fn key(&self, bytes: &[u8]) -> Option<Key> {
        let key = std::str::from_utf8(bytes).ok()?;
        key.strip_prefix(&self.root).map(Key::from)
    }
}

/// A lease's number in etcd, where it is signed.
pub(super) fn lease_number(lease: LeaseId) -> i64 {
    lease.0.cast_signed()
}

/// A revision's number in etcd; 0 of a key that is not there.
pub(super) fn revision_number(revision: Option<Revision>) -> i64 {
    revision.map_or(0, |revision| revision.0.cast_signed())
}

pub(super) fn revision(number: i64) -> Revision {
    Revision(number.cast_unsigned())
}

pub(super) fn versioned(kv: api::KeyValue) -> Versioned {
    let lease = (kv.lease != 0).then(|| LeaseId(kv.lease.cast_unsigned()));
    Versioned { revision: revision(kv.mod_revision), value: kv.value, lease }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_share_no_key() {
        let (one, other) = (Keys::new("pay"), Keys::new("payments"));
        assert_eq!(one.key(&one.bytes("nodes/1")), Some(Key::from("nodes/1")));
        assert_eq!(one.key(&other.bytes("nodes/1")), None);
        let all = one.range("");
        assert!(!(all.key..all.range_end).contains(&other.bytes("nodes/1")));
    }

    #[test]
    fn a_prefix_ranges_over_its_keys_alone() {
        let keys = Keys::new("pay");
        let range = keys.range("nodes/");
        let range = range.key..range.range_end;
        assert!(range.contains(&keys.bytes("nodes/")) && range.contains(&keys.bytes("nodes/~")));
        assert!(!range.contains(&keys.bytes("nodes")) && !range.contains(&keys.bytes("nodes0")));
    }

    #[test]
    fn every_lease_has_a_number() {
        for lease in [1, u64::MAX, 1 << 63] {
            let kv = api::KeyValue { lease: lease_number(LeaseId(lease)), ..Default::default() };
            assert_eq!(versioned(kv).lease, Some(LeaseId(lease)));
        }
        assert_eq!(versioned(api::KeyValue::default()).lease, None);
    }
}
