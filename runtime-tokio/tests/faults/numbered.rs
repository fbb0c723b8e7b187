//! A journal whose entries are numbers, and what of them is found.

use waltz_core::id::{ClusterKey, Epoch, Mark, NodeId, PartitionId, SessionId, TransactionId};
use waltz_core::io::Ticket;
use waltz_core::journal::{Damage, Entry, EntryHead, Fold, FoundEntry, Place};
use waltz_core::limits::Limits;
use waltz_core::planted::Planted;
use waltz_runtime::disk::Disk;
use waltz_runtime::journal::{Journal, JournalConfig, JournalError, Recovery};

/// The length of a body: six of them fill a segment.
pub(crate) const BODY_BYTES: usize = 8000;

pub(crate) fn config() -> JournalConfig {
    let limits = Limits { frame_head: 1 << 10, frame_payload: 32 << 10, ..Limits::default() };
    let (cluster, node, planted) = (ClusterKey(1), NodeId(2), Planted::NONE);
    JournalConfig { cluster, node, segment_bytes: 64 << 10, limits, planted }
}

pub(crate) fn entry(number: u64) -> Entry {
    let head = EntryHead::Records {
        partition: PartitionId(0),
        session: SessionId { epoch: Epoch(1), server: NodeId(1), nonce: 1 },
        first: TransactionId(number),
        count: 1,
        low_water: Mark::NONE,
    };
    Entry { head, body: number.to_le_bytes().repeat(BODY_BYTES / 8).into() }
}

/// Writes a number, durably; where its body is.
pub(crate) fn commit<D: Disk>(
    journal: &mut Journal<D>,
    number: u64,
) -> Result<Place, JournalError> {
    journal.write(vec![(Ticket(number), entry(number))])?;
    let synced = journal.sync()?;
    Ok(synced.places[0].1)
}

/// The numbers that were found, in order, and those among them whose body is damaged.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) numbers: Vec<u64>,
    pub(crate) damaged: Vec<u64>,
}

impl Fold for Found {
    fn begin(&mut self, _: bool) -> Result<(), String> {
        *self = Self::default();
        Ok(())
    }

    fn entry(&mut self, found: FoundEntry<'_>) -> Result<(), String> {
        let EntryHead::Records { first, .. } = found.head else {
            return Err("an entry of another kind".to_owned());
        };
        match (found.is_damaged, found.body == entry(first.0).body) {
            (true, _) => self.damaged.push(first.0),
            (false, true) => {}
            (false, false) => return Err(format!("entry {first} is not as it was written")),
        }
        self.numbers.push(first.0);
        Ok(())
    }

    fn end(&mut self, _: Option<&Damage>) -> Result<(), String> {
        Ok(())
    }
}

/// Opens a journal.
pub(crate) fn open<D: Disk>(disk: D) -> Result<(Journal<D>, Recovery, Found), JournalError> {
    let mut found = Found::default();
    let (journal, recovery) = Journal::open(disk, config(), 1, &mut found)?;
    Ok((journal, recovery, found))
}
