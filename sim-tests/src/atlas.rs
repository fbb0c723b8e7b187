//! Which copies of records may still be harmed at rest: never the last good one.
//!
//! Invariant: every record that any disk holds as part of its log has a sound copy on one disk at
//! least, for as long as this decides what rots.

use std::collections::{BTreeMap, BTreeSet};

use waltz_core::id::{PartitionId, TransactionId};
use waltz_core::io::Address;
use waltz_core::journal::Place;
use waltz_core::time::Random;

use crate::history::{History, Kept, Stored};

/// Every host's logs.
type Logs = BTreeMap<Address, BTreeMap<PartitionId, Vec<Stored>>>;

/// What was harmed so far.
#[derive(Debug, Default)]
pub(crate) struct Atlas {
    harmed: BTreeSet<(Address, PartitionId, TransactionId)>,
}

impl Atlas {
    /// Picks a run on some disk all of whose records have a sound copy elsewhere, and takes it for
    /// harmed from now on.
    pub(crate) fn pick(
        &mut self,
        history: &History,
        random: &mut Random,
    ) -> Option<(Address, Place)> {
        let logs = history.logs();
        let hosts: Vec<&Address> = logs.keys().collect();
        let host = *hosts.get(below(random, hosts.len())?)?;
        let runs = history.kept(host);
        let spared = |run: &&Kept| self.may_harm(&logs, host, run);
        let runs: Vec<&Kept> = runs.iter().filter(spared).collect();
        let run = *runs.get(below(random, runs.len())?)?;
        let harmed = ids(run).map(|id| (host.clone(), run.partition, id));
        self.harmed.extend(harmed);
        Some((host.clone(), run.place))
    }

    fn may_harm(&self, logs: &Logs, host: &Address, run: &Kept) -> bool {
        ids(run).all(|id| {
            let stored = |host: &Address| logs.get(host)?.get(&run.partition)?.get(id.0 as usize);
            // What was cut since is nobody's.
            let Some(here) = stored(host) else { return true };
            logs.keys().any(|other| {
                let is_sound = !self.harmed.contains(&(other.clone(), run.partition, id));
                other != host && is_sound && stored(other) == Some(here)
            })
        })
    }
}

fn ids(run: &Kept) -> impl Iterator<Item = TransactionId> + use<> {
    (run.first.0..run.first.0 + u64::from(run.count)).map(TransactionId)
}

fn below(random: &mut Random, bound: usize) -> Option<usize> {
    (random.bits() as usize).checked_rem(bound)
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use bytes::BytesMut;
    use waltz_core::id::{ClientId, Epoch, Generation, Mark, NodeId, ReqId, SessionId};
    use waltz_core::io::Ticket;
    use waltz_core::journal::{Entry, EntryHead};
    use waltz_core::limits::Limits;
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
            for (id, byte) in bytes.iter().enumerate() {
                journal.append(entry(id as u64, *byte), Ticket(id as u64 + 1));
            }
            let _ = journal.poll(&mut Context::from_waker(Waker::noop()), &mut Vec::new());
        }
        history
    }

    /// How often each place can be picked, when it is tried for long.
    fn picked(history: &History) -> Vec<(Address, Place)> {
        let (mut atlas, mut random) = (Atlas::default(), Random::new(1));
        let mut picked: Vec<_> =
            (0..500).filter_map(|_| atlas.pick(history, &mut random)).collect();
        picked.sort();
        picked.dedup();
        picked
    }

    #[test]
    fn the_last_good_copy_of_a_record_is_spared() {
        let history = history(&[("n1", &[1, 2, 3]), ("n2", &[1, 2]), ("n3", &[1])]);
        let picked = picked(&history);
        let copies = |offset| picked.iter().filter(|(_, place)| place.offset == offset).count();
        assert_eq!([copies(1), copies(2), copies(3)], [2, 1, 0]);
    }

    #[test]
    fn another_record_in_the_same_place_is_no_copy() {
        assert_eq!(picked(&history(&[("n1", &[1]), ("n2", &[2])])), []);
    }
}
