//! Which copies of records may still be harmed at rest: never the last good one.
//!
//! Invariant: every record that any disk holds as part of its log has a sound copy on one disk at
//! least, for as long as this decides what rots.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use waltz_core::id::{Member, PartitionId, ReplicaSet, TransactionId};
use waltz_core::journal::Place;
use waltz_core::limits::Limits;
use waltz_core::record::RecordView;
use waltz_core::time::Random;

use crate::disk_log::{DiskLog, Stored};
use crate::history::{History, Logs};
use crate::replicas::Replicas;

/// What a disk writes whole.
pub(crate) const SECTOR_BYTES: u32 = 512;

/// A run of records on some disk: where, and which of them the log still has.
type Runs = BTreeMap<(Member, PartitionId, Place), Vec<TransactionId>>;

/// What is at a place of a disk's journal now.
type Read<'a> = &'a dyn Fn(Member, Place) -> Option<Bytes>;

/// All logs at one moment, and the disks that keep them.
pub(crate) struct Atlas<'a> {
    logs: Logs,
    /// Whether a partition's copy on a disk is there, and goes on to be.
    lasts: &'a dyn Fn(PartitionId, Member) -> bool,
    read: Read<'a>,
}

impl<'a> Atlas<'a> {
    pub(crate) fn new(
        history: &History,
        lasts: &'a dyn Fn(PartitionId, Member) -> bool,
        read: Read<'a>,
    ) -> Self {
        Self { logs: history.logs(), lasts, read }
    }

    /// Picks a run on some disk. All records in its sectors have a sound copy elsewhere.
    pub(crate) fn pick(&self, random: &mut Random) -> Option<(Member, Place)> {
        let runs = self.runs();
        let places: Vec<_> = runs.keys().collect();
        // Whether a run may be harmed is asked of the disks: of as few runs as it takes.
        let first = below(random, places.len())?;
        let mut places = places.iter().cycle().skip(first).take(places.len());
        let spare = places.find(|(disk, _, place)| {
            let sharing = runs.iter().filter(|((other, _, near), _)| {
                other == disk && near.segment == place.segment && share_sectors(*near, *place)
            });
            let mut sharing = sharing.map(|((_, partition, _), ids)| (*partition, ids));
            sharing.all(|(partition, ids)| self.is_spare(*disk, partition, ids))
        });
        spare.map(|(disk, _, place)| (*disk, *place))
    }

    /// Whether all records of a disk, one that is about to go included, have a sound copy elsewhere.
    pub(crate) fn can_do_without(&self, disk: Member) -> bool {
        let mut own = self.logs.get(&disk).into_iter().flatten();
        own.all(|(partition, log)| {
            let ids: Vec<_> = log.records().map(|(id, _)| id).collect();
            let current = Replicas::of(&self.logs, *partition).current();
            let counts = current.iter().any(|(member, _)| *member == disk);
            !counts || self.is_spare(disk, *partition, &ids)
        })
    }

    /// Whether a partition's records have sound copies on some of these disks.
    pub(crate) fn is_safe_on(&self, partition: PartitionId, disks: &ReplicaSet) -> bool {
        let replicas = self.replicas(partition);
        let records = replicas.iter().flat_map(|(_, log)| log.records());
        records.into_iter().all(|(id, stored)| {
            let mut kept = replicas.iter().filter(|(disk, _)| disks.contains(*disk));
            kept.any(|(disk, log)| self.is_sound(*disk, log, id, stored))
        })
    }

    /// The records of replicas that are not as they were written.
    pub(crate) fn damaged(&self) -> Vec<String> {
        let damaged = |((disk, partition, _), ids): (&(Member, PartitionId, Place), &Vec<_>)| {
            let log = self.log(*disk, *partition)?;
            let damaged: Vec<String> = ids
                .iter()
                .filter(|id| log.at(**id).is_some_and(|one| !self.is_there(*disk, log, **id, one)))
                .map(ToString::to_string)
                .collect();
            let text = || format!("{} keeps {partition} {} damaged", disk.node, damaged.join(", "));
            (!damaged.is_empty()).then(text)
        };
        self.runs().iter().filter_map(damaged).collect()
    }

    /// The runs of all replicas that count and are left.
    fn runs(&self) -> Runs {
        let mut runs = Runs::new();
        let partitions: BTreeSet<_> = self.logs.values().flat_map(BTreeMap::keys).collect();
        for partition in partitions {
            for (disk, log) in self.replicas(*partition) {
                for (id, place) in log.records().filter_map(|(id, _)| Some((id, log.place(id)?))) {
                    runs.entry((disk, *partition, place)).or_default().push(id);
                }
            }
        }
        runs
    }

    fn replicas(&self, partition: PartitionId) -> Vec<(Member, &DiskLog)> {
        let mut replicas = Replicas::of(&self.logs, partition).current();
        replicas.retain(|(disk, _)| (self.lasts)(partition, *disk));
        replicas
    }

    fn is_spare(&self, disk: Member, partition: PartitionId, ids: &[TransactionId]) -> bool {
        let Some(own) = self.log(disk, partition) else { return true };
        let replicas = self.replicas(partition);
        ids.iter().filter_map(|id| Some((*id, own.at(*id)?))).all(|(id, stored)| {
            let mut others = replicas.iter().filter(|(other, _)| *other != disk);
            others.any(|(other, log)| self.is_sound(*other, log, id, stored))
        })
    }

    /// Whether a log has this record, and its disk can find it: all that is before it in its run is
    /// sound, too. Where a length is not, what follows can't be told from what an application wrote.
    fn is_sound(&self, disk: Member, log: &DiskLog, id: TransactionId, stored: &Stored) -> bool {
        let body = self.body(disk, log, id);
        log.at(id) == Some(stored) && body.is_some_and(|body| leads_to(&body, &stored.bytes))
    }

    /// Whether a log has this record, and its bytes are on the disk.
    fn is_there(&self, disk: Member, log: &DiskLog, id: TransactionId, stored: &Stored) -> bool {
        let body = self.body(disk, log, id);
        log.at(id) == Some(stored) && body.is_some_and(|body| contains(&body, &stored.bytes))
    }

    /// The run with this record as it is on the disk now.
    fn body(&self, disk: Member, log: &DiskLog, id: TransactionId) -> Option<Bytes> {
        log.place(id).and_then(|place| (self.read)(disk, place))
    }

    fn log(&self, disk: Member, partition: PartitionId) -> Option<&DiskLog> {
        self.logs.get(&disk)?.get(&partition)
    }
}

/// Whether two places of a segment have a sector in common.
fn share_sectors(one: Place, other: Place) -> bool {
    let sectors = |place: Place| {
        let end = place.offset + place.length.max(1) - 1;
        (place.offset / SECTOR_BYTES, end / SECTOR_BYTES)
    };
    let ((from, to), (other_from, other_to)) = (sectors(one), sectors(other));
    from <= other_to && other_from <= to
}

/// Whether sound records end to end lead to this one.
fn leads_to(run: &[u8], record: &[u8]) -> bool {
    let (mut rest, limits) =
        (run, Limits { record: u32::MAX, locks: u32::MAX, ..Limits::default() });
    while let Ok((next, after)) = RecordView::parse(rest, &limits) {
        if next.bytes() == record {
            return true;
        }
        rest = after;
    }
    false
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn below(random: &mut Random, bound: usize) -> Option<usize> {
    (random.bits() as usize).checked_rem(bound)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::task::{Context, Poll, Waker};

    use waltz_core::id::{CreationId, Mark, NodeId, SetVersion, StorageId};
    use waltz_core::io::Ticket;
    use waltz_core::journal::{Entry, EntryHead};
    use waltz_core::log::SetChange;
    use waltz_runtime::{JournalEvent, JournalPort};

    use super::*;
    use crate::history::Watched;
    use crate::testing::{P0, SESSION, record};

    /// A journal that makes everything durable at once, each entry in a sector of its own.
    #[derive(Default)]
    struct Prompt(Vec<Ticket>);

    impl JournalPort for Prompt {
        fn append(&mut self, _: Entry, ticket: Ticket) {
            self.0.push(ticket);
        }

        fn read(&mut self, _: Ticket, _: Vec<Place>) {}

        fn release(&mut self, _: u32) {}

        fn replay_from(&mut self, _: u32) {}

        fn flush(&mut self) {}

        fn poll(&mut self, _: &mut Context<'_>, events: &mut Vec<JournalEvent>) -> Poll<()> {
            let Some(last) = self.0.last() else { return Poll::Pending };
            let offset = |ticket: &Ticket| ticket.0 as u32 * SECTOR_BYTES;
            let place = |ticket| Place { segment: 1, offset: offset(ticket), length: 1 };
            let places = self.0.iter().map(|ticket| (*ticket, place(ticket))).collect();
            events.push(JournalEvent::Durable { up_to: *last, places });
            Poll::Ready(())
        }
    }

    fn disk(node: u32) -> Member {
        Member { node: NodeId(node), storage: StorageId(node.into()) }
    }

    /// A replica among so many.
    fn create(replicas: usize) -> Entry {
        let replicas = ReplicaSet((1..=replicas as u32).map(disk).collect());
        let set = SetChange::initial(SetVersion::FIRST, replicas);
        let head = EntryHead::Create { partition: P0, creation: CreationId(1), set };
        Entry { head, body: Bytes::new() }
    }

    /// A run of one record.
    fn entry(id: u64, byte: u8) -> Entry {
        let head = EntryHead::Records {
            partition: P0,
            session: SESSION,
            first: TransactionId(id),
            count: 1,
            low_water: Mark::NONE,
        };
        Entry { head, body: record(id, id, &[byte]) }
    }

    /// Disks of nodes 1 and up that hold these bytes as the data of their records.
    fn history(disks: &[&[u8]]) -> History {
        let history = History::default();
        for (node, bytes) in (1..).zip(disks) {
            let mut journal = Watched::new(Prompt::default(), disk(node), history.clone());
            journal.append(create(disks.len()), Ticket(1));
            for (id, byte) in bytes.iter().enumerate() {
                journal.append(entry(id as u64, *byte), Ticket(id as u64 + 2));
            }
            let _ = journal.poll(&mut Context::from_waker(Waker::noop()), &mut Vec::new());
        }
        history
    }

    /// The record at a place.
    fn id_at(place: Place) -> TransactionId {
        TransactionId(u64::from(place.offset / SECTOR_BYTES) - 2)
    }

    /// Which places are picked, when it is tried for long.
    fn picked(history: &History) -> Vec<(Member, Place)> {
        let (harmed, mut random) = (RefCell::new(BTreeSet::new()), Random::new(1));
        let logs = history.logs();
        let read = |disk: Member, place: Place| {
            let is_sound = !harmed.borrow().contains(&(disk, place));
            let id = id_at(place);
            is_sound.then(|| logs[&disk][&P0].at(id).expect("it was written").bytes.clone())
        };
        for _ in 0..500 {
            let picked = Atlas::new(history, &|_, _| true, &read).pick(&mut random);
            harmed.borrow_mut().extend(picked);
        }
        assert_eq!(Atlas::new(history, &|_, _| true, &read).damaged().len(), harmed.borrow().len());
        harmed.take().into_iter().collect()
    }

    #[test]
    fn the_last_good_copy_of_a_record_is_spared() {
        let history = history(&[&[1, 2, 3], &[1, 2], &[1]]);
        let picked = picked(&history);
        let copies = |id| picked.iter().filter(|(_, place)| id_at(*place).0 == id).count();
        assert_eq!([copies(0), copies(1), copies(2)], [2, 1, 0]);
    }

    #[test]
    fn a_disk_is_needed_for_as_long_as_it_holds_the_last_copy_of_a_record() {
        let history = history(&[&[1, 2], &[1, 2], &[1]]);
        let logs = history.logs();
        let read = |disk: Member, place: Place| {
            logs[&disk][&P0].at(id_at(place)).map(|stored| stored.bytes.clone())
        };
        let spare = |lost: Member| {
            let lasts = |_, disk| disk != lost;
            [2, 3].map(|node| Atlas::new(&history, &lasts, &read).can_do_without(disk(node)))
        };
        assert_eq!(spare(disk(4)), [true, true]);
        assert_eq!(spare(disk(1)), [false, true]);
    }

    #[test]
    fn another_record_in_the_same_place_is_no_copy() {
        assert_eq!(picked(&history(&[&[1], &[2]])), []);
    }
}
