//! What was written to a journal, and what a recovery may find of it.

use bytes::Bytes;

use crate::explorer::explore::Broken;
use crate::id::{Epoch, Mark, NodeId, PartitionId, SessionId, TransactionId};
use crate::journal::{Damage, Entry, EntryHead, FoundEntry, Torn};

/// An entry, and the segment that it is in.
pub(super) type Kept = (u32, Entry);

/// What a recovery found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The entries, each with the segment it is in, and whether its body is damaged.
    pub(super) entries: Vec<(Kept, bool)>,
    /// What was cut at the end, if anything was.
    pub(super) torn: Option<Torn>,
    /// Why nothing can be said of what follows, if that is so.
    pub(super) suspect: Option<Damage>,
}

impl Found {
    pub(super) fn push(&mut self, segment: u32, entry: FoundEntry<'_>) {
        let body = Bytes::copy_from_slice(entry.body);
        self.entries.push(((segment, Entry { head: entry.head, body }), entry.is_damaged));
    }

    /// Whether anything in it is not as it was written.
    pub(super) fn is_sound(&self) -> bool {
        self.suspect.is_none() && self.entries.iter().all(|(_, is_damaged)| !is_damaged)
    }
}

/// What may be wrong with the end of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Nothing.
    Whole,
    /// It was cut short.
    Torn,
    /// It was cut short, over the bytes of another segment: that may look like damage.
    Damage,
}

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Everything that was written and not released, in order.
    written: Vec<Kept>,
    /// How much of it is durable.
    durable: usize,
    /// How many entries there have ever been.
    count: u64,
}

impl Model {
    /// Another entry, of so many bytes. No two are equal.
    pub(super) fn entry(&mut self, length: usize) -> Entry {
        self.count += 1;
        let partition = PartitionId(1);
        let session = SessionId { epoch: Epoch(self.count), server: NodeId(2), nonce: 3 };
        let head = match length {
            0 => EntryHead::Promise { partition, session },
            _ => EntryHead::Records {
                partition,
                session,
                first: TransactionId(self.count),
                count: 1,
                low_water: Mark::NONE,
            },
        };
        let mut body = self.count.to_le_bytes().repeat(length.div_ceil(8));
        body.truncate(length);
        Entry { head, body: Bytes::from(body) }
    }

    /// A batch was written to this segment.
    pub(super) fn wrote(&mut self, segment: u32, entries: impl IntoIterator<Item = Entry>) {
        self.written.extend(entries.into_iter().map(|entry| (segment, entry)));
    }

    /// Everything is durable.
    pub(super) fn synced(&mut self) {
        self.durable = self.written.len();
    }

    /// What is in segments before this one is given up. All is durable.
    pub(super) fn released(&mut self, below: u32) {
        self.written.retain(|(segment, _)| *segment >= below);
        self.synced();
    }

    /// Compares what a recovery found with what there is, and takes it for what there is from now
    /// on.
    pub(super) fn found(&mut self, found: &Found, expected: Expected) -> Result<(), Broken> {
        let may_be_damaged = expected == Expected::Damage;
        let (there, all) = (found.entries.len(), self.written.len());
        for (index, ((segment, entry), is_damaged)) in found.entries.iter().enumerate() {
            let Some((written_in, written)) = self.written.get(index) else {
                return Err(format!("{there} entries are found, {all} were written"));
            };
            let is_same = match is_damaged {
                true => index >= self.durable && may_be_damaged && entry.head == written.head,
                false => entry == written,
            };
            if !is_same || segment != written_in {
                return Err(format!("entry {index}, in segment {segment}, is not as written"));
            }
        }
        if there < self.durable {
            return Err(format!("{there} entries are found, {} were durable", self.durable));
        }
        if let Some(damage) = found.suspect.filter(|_| !may_be_damaged) {
            return Err(format!("nothing was damaged, but {damage}"));
        }
        if let Some(torn) = found.torn.filter(|_| expected == Expected::Whole) {
            return Err(format!("nothing was cut short, but {torn}"));
        }
        self.written.truncate(there);
        Ok(())
    }
}
