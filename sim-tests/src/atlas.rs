//! Which copies of records may still be harmed at rest: never the last good one.
//!
//! Invariant: every record that any disk holds as part of its log has a sound copy on one disk at
//! least, for as long as this decides what rots.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use waltz_core::id::{PartitionId, TransactionId};
use waltz_core::io::Address;
use waltz_core::journal::Place;
use waltz_core::time::Random;

use crate::disk_log::{DiskLog, Stored};
use crate::history::{History, Logs};
use crate::replicas::Replicas;

/// A run of records on some disk: where, and which of them the log still has.
type Runs = BTreeMap<(Address, PartitionId, Place), Vec<TransactionId>>;

/// All logs at one moment, and the disks that keep them.
pub(crate) struct Atlas<'a> {
    logs: Logs,
    /// What is at a place of a host's journal now.
    read: &'a dyn Fn(&Address, Place) -> Option<Bytes>,
}

impl<'a> Atlas<'a> {
    pub(crate) fn new(
        history: &History,
        read: &'a dyn Fn(&Address, Place) -> Option<Bytes>,
    ) -> Self {
        Self { logs: history.logs(), read }
    }

    /// Picks a run on some disk all of whose records have a sound copy elsewhere.
    pub(crate) fn pick(&self, random: &mut Random) -> Option<(Address, Place)> {
        let runs: Vec<_> = runs(&self.logs).into_iter().collect();
        // Whether a run may be harmed is asked of the disks: of as few runs as it takes.
        let first = below(random, runs.len())?;
        let mut runs = runs.iter().cycle().skip(first).take(runs.len());
        let spare = runs.find(|((host, partition, _), ids)| self.is_spare(host, *partition, ids));
        spare.map(|((host, _, place), _)| (host.clone(), *place))
    }

    /// The records of replicas that are not as they were written.
    pub(crate) fn damaged(&self) -> Vec<String> {
        let damaged = |((host, partition, _), ids): (&(Address, PartitionId, Place), &Vec<_>)| {
            let log = self.log(host, *partition)?;
            let damaged: Vec<String> = ids
                .iter()
                .filter(|id| log.at(**id).is_some_and(|one| !self.is_sound(host, log, **id, one)))
                .map(ToString::to_string)
                .collect();
            let text = || format!("{host} keeps {partition} {} damaged", damaged.join(", "));
            (!damaged.is_empty()).then(text)
        };
        runs(&self.logs).iter().filter_map(damaged).collect()
    }

    fn is_spare(&self, host: &Address, partition: PartitionId, ids: &[TransactionId]) -> bool {
        let Some(own) = self.log(host, partition) else { return true };
        let replicas = Replicas::of(&self.logs, partition).current();
        ids.iter().filter_map(|id| Some((*id, own.at(*id)?))).all(|(id, stored)| {
            let mut others = replicas.iter().filter(|(other, _)| *other != host);
            others.any(|(other, log)| self.is_sound(other, log, id, stored))
        })
    }

    /// Whether a log has this record, and its bytes are on the disk.
    fn is_sound(&self, host: &Address, log: &DiskLog, id: TransactionId, stored: &Stored) -> bool {
        let bytes = log.place(id).and_then(|place| (self.read)(host, place));
        let on_disk = |bytes: Bytes| contains(&bytes, &stored.bytes);
        log.at(id) == Some(stored) && bytes.is_some_and(on_disk)
    }

    fn log(&self, host: &Address, partition: PartitionId) -> Option<&DiskLog> {
        self.logs.get(host)?.get(&partition)
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The runs of all replicas that count.
fn runs(logs: &Logs) -> Runs {
    let mut runs = Runs::new();
    let partitions: BTreeSet<_> = logs.values().flat_map(BTreeMap::keys).copied().collect();
    for partition in partitions {
        for (host, log) in Replicas::of(logs, partition).current() {
            for (id, place) in log.records().filter_map(|(id, _)| Some((id, log.place(id)?))) {
                runs.entry((host.clone(), partition, place)).or_default().push(id);
            }
        }
    }
    runs
}

fn below(random: &mut Random, bound: usize) -> Option<usize> {
    (random.bits() as usize).checked_rem(bound)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::task::{Context, Poll, Waker};

    use bytes::{Bytes, BytesMut};
    use waltz_core::id::{
        ClientId, CreationId, Epoch, Generation, Mark, Member, NodeId, ReplicaSet, ReqId,
        SessionId, SetVersion, StorageId,
    };
    use waltz_core::io::Ticket;
    use waltz_core::journal::{Entry, EntryHead};
    use waltz_core::limits::Limits;
    use waltz_core::log::SetChange;
    use waltz_core::record::{NewRecord, RecordView, append_with_id};
    use waltz_runtime::{JournalEvent, JournalPort};

    use super::*;
    use crate::history::Watched;

    const P0: PartitionId = PartitionId(0);

    /// A journal that makes everything durable at once, one place after the other.
    #[derive(Default)]
    struct Prompt(Vec<Ticket>);

    impl JournalPort for Prompt {
        fn append(&mut self, _: Entry, ticket: Ticket) {
            self.0.push(ticket);
        }

        fn read(&mut self, _: Ticket, _: Vec<Place>) {}

        fn release(&mut self, _: u32) {}

        fn flush(&mut self) {}

        fn poll(&mut self, _: &mut Context<'_>, events: &mut Vec<JournalEvent>) -> Poll<()> {
            let Some(last) = self.0.last() else { return Poll::Pending };
            let place = |ticket: &Ticket| Place { segment: 1, offset: ticket.0 as u32, length: 1 };
            let places = self.0.iter().map(|ticket| (*ticket, place(ticket))).collect();
            events.push(JournalEvent::Durable { up_to: *last, places });
            Poll::Ready(())
        }
    }

    /// A replica among so many.
    fn create(replicas: usize) -> Entry {
        let member = |node| Member { node: NodeId(node), storage: StorageId(node.into()) };
        let replicas = ReplicaSet((1..=replicas as u32).map(member).collect());
        let set = SetChange::initial(SetVersion::FIRST, replicas);
        let head = EntryHead::Create { partition: P0, creation: CreationId(1), set };
        Entry { head, body: Bytes::new() }
    }

    /// A run of one record.
    fn entry(id: u64, byte: u8) -> Entry {
        let req_id =
            ReqId { client: ClientId(1), generation: Generation(1), partition: P0, sequence: id };
        let record = NewRecord {
            req_id,
            header: 0,
            computed_at: Mark::NONE,
            writes: &[],
            reads: &[],
            appends: &[],
            data: &[byte],
        };
        let (mut draft, mut body) = (BytesMut::new(), BytesMut::new());
        record.encode(&Limits::default(), &mut draft).expect("it is small");
        let view = RecordView::parse(&draft, &Limits::default()).expect("it is sound").0;
        append_with_id(&view, TransactionId(id), &mut body);
        let head = EntryHead::Records {
            partition: P0,
            session: SessionId { epoch: Epoch(1), server: NodeId(1), nonce: 1 },
            first: TransactionId(id),
            count: 1,
            low_water: Mark::NONE,
        };
        Entry { head, body: body.freeze() }
    }

    /// Disks that hold these bytes as the data of their records.
    fn history(disks: &[(&str, &[u8])]) -> History {
        let history = History::default();
        for (host, bytes) in disks {
            let host = Address((*host).to_owned());
            let mut journal = Watched::new(Prompt::default(), host, history.clone());
            journal.append(create(disks.len()), Ticket(1));
            for (id, byte) in bytes.iter().enumerate() {
                journal.append(entry(id as u64, *byte), Ticket(id as u64 + 2));
            }
            let _ = journal.poll(&mut Context::from_waker(Waker::noop()), &mut Vec::new());
        }
        history
    }

    /// Which places are picked, when it is tried for long.
    fn picked(history: &History) -> Vec<(Address, Place)> {
        let (harmed, mut random) = (RefCell::new(BTreeSet::new()), Random::new(1));
        let logs = history.logs();
        let read = |host: &Address, place: Place| {
            let is_sound = !harmed.borrow().contains(&(host.clone(), place));
            let id = TransactionId(u64::from(place.offset) - 2);
            is_sound.then(|| logs[host][&P0].at(id).expect("it was written").bytes.clone())
        };
        for _ in 0..500 {
            let picked = Atlas::new(history, &read).pick(&mut random);
            harmed.borrow_mut().extend(picked);
        }
        assert_eq!(Atlas::new(history, &read).damaged().len(), harmed.borrow().len());
        harmed.take().into_iter().collect()
    }

    #[test]
    fn the_last_good_copy_of_a_record_is_spared() {
        let history = history(&[("n1", &[1, 2, 3]), ("n2", &[1, 2]), ("n3", &[1])]);
        let picked = picked(&history);
        let copies = |offset| picked.iter().filter(|(_, place)| place.offset == offset).count();
        assert_eq!([copies(2), copies(3), copies(4)], [2, 1, 0]);
    }

    #[test]
    fn another_record_in_the_same_place_is_no_copy() {
        assert_eq!(picked(&history(&[("n1", &[1]), ("n2", &[2])])), []);
    }
}
