//! What a key's znode holds.
//!
//! A deleted key stays as a znode that says so: its version only grows, so that what is written where
//! the version is as expected is never written over something else.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use waltz_core::coordinator::{LeaseId, Revision};

/// The first byte of an envelope. No value of ours begins with it, nor with one of the next versions.
const VERSION: u8 = 0xE1;

/// A value, or that there is none any more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Envelope {
    /// What the value dies with.
    pub(super) tie: Option<Tie>,
    /// `None`: the key was deleted.
    pub(super) value: Option<Bytes>,
}

/// One life of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tie {
    pub(super) lease: LeaseId,
    pub(super) life: u64,
}

/// A key's znode, as it was read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// ZooKeeper's number of the change that wrote it.
    pub(super) revision: Revision,
    /// How often it was written; what a write names.
    pub(super) version: i32,
    pub(super) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Envelope(Envelope),
    /// Something that this program can't read. It is handed out as it is, so that whoever reads it
    /// can't either and says so, and nothing is written over it.
    Unreadable(Bytes),
}

impl Envelope {
    pub(super) fn encode(&self) -> Vec<u8> {
        // It holds only types that postcard can encode.
        postcard::to_extend(self, vec![VERSION]).expect("an envelope serializes")
    }
}

impl Content {
    pub(super) fn decode(bytes: Vec<u8>) -> Self {
        let envelope = match bytes.split_first() {
            Some((&VERSION, rest)) => postcard::take_from_bytes(rest).ok(),
            _ => None,
        };
        match envelope {
            Some((envelope, [])) => Self::Envelope(envelope),
            _ => Self::Unreadable(bytes.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_are_read_as_they_are_written() {
        let tie = Some(Tie { lease: LeaseId(u64::MAX), life: 7 });
        for envelope in [
            Envelope::default(),
            Envelope { tie: None, value: Some(Bytes::new()) },
            Envelope { tie, value: Some(Bytes::from_static(b"node")) },
        ] {
            assert_eq!(Content::decode(envelope.encode()), Content::Envelope(envelope));
        }
    }

    #[test]
    fn what_is_no_envelope_is_kept_as_it_is() {
        let mut longer = Envelope::default().encode();
        longer.push(0);
        for bytes in [vec![], vec![VERSION], vec![VERSION + 1, 0, 0], vec![0, 0, 0], longer] {
            let found = Content::decode(bytes.clone());
            assert_eq!(found, Content::Unreadable(bytes.into()));
        }
    }
}
