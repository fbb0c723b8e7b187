//! What a node has written to its journal, and how it rots there.

use bytes::{Bytes, BytesMut};

use crate::id::{SessionId, TransactionId};
use crate::journal::{Entry, EntryHead, Place};

/// An entry, where its body went, and what is there.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) head: EntryHead,
    pub(crate) place: Option<Place>,
    pub(crate) body: Bytes,
    /// The body as it was written.
    sound: Bytes,
}

impl Written {
    pub(super) fn new(entry: Entry, place: Option<Place>) -> Self {
        let Entry { head, body } = entry;
        Self { head, place, sound: body.clone(), body }
    }

    /// The records in its body.
    pub(crate) fn run(&self) -> Option<(SessionId, TransactionId, u32)> {
        match self.head {
            EntryHead::Records { session, first, count, .. }
            | EntryHead::Repair { session, first, count, .. } => Some((session, first, count)),
            _ => None,
        }
    }

    /// Whether the body is not what was written.
    pub(crate) fn is_rotten(&self) -> bool {
        self.body != self.sound
    }

    /// The body as it was written.
    pub(crate) fn sound(&self) -> &Bytes {
        &self.sound
    }

    /// The body becomes another one.
    pub(crate) fn spoil(&mut self) {
        self.body = Bytes::from_static(b"rotten");
    }

    /// Flips one bit of a record in its body.
    pub(super) fn flip(&mut self, id: u64, bit: usize) {
        let (_, first, _) = self.run().expect("a run of records");
        let length = |at: usize| u32::from_le_bytes(*self.sound[at..].first_chunk().unwrap());
        let offset = (first.0..id).fold(0, |at, _| at + length(at) as usize);
        let mut body = BytesMut::from(&self.body[..]);
        body[offset + bit / 8] ^= 1 << (bit % 8);
        self.body = body.freeze();
    }

    /// Whether a record is one of those in its body.
    pub(super) fn holds(&self, id: u64) -> bool {
        let ids = |(_, first, count): (_, TransactionId, u32)| first.0..first.0 + u64::from(count);
        self.run().is_some_and(|run| ids(run).contains(&id))
    }
}
