//! One event of a trace: whom and what it concerns, and what happened.

use std::fmt;

use waltz_core::id::{Mark, PartitionId, TransactionId};
use waltz_core::io::Address;
use waltz_core::journal::EntryHead;
use waltz_core::wire::Frame;

use super::hash::Hash;
use super::message::{self, Mention};

/// Something that happened. It borrows what it is about: unless its line is kept, nothing of it is
/// formatted but free text, and that goes right into the hash.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    hosts: [Option<&'a Address>; 2],
    partition: Option<PartitionId>,
    transaction: Option<TransactionId>,
    what: What<'a>,
}

#[derive(Debug, Clone, Copy)]
enum What<'a> {
    Text(fmt::Arguments<'a>),
    Durable(&'a EntryHead),
    Frame { connection: u64, frame: &'a Frame },
}

/// What a line says, and what a filter has to know of it.
pub(super) struct Line {
    pub(super) text: String,
    pub(super) mention: Mention,
}

impl<'a> Event<'a> {
    fn new(hosts: [Option<&'a Address>; 2], what: What<'a>) -> Self {
        Self { hosts, partition: None, transaction: None, what }
    }

    /// Something that concerns no host.
    pub fn world(text: fmt::Arguments<'a>) -> Self {
        Self::new([None, None], What::Text(text))
    }

    /// Something that happened on a host.
    pub fn on(host: &'a Address, text: fmt::Arguments<'a>) -> Self {
        Self::new([Some(host), None], What::Text(text))
    }

    /// Something between two hosts.
    pub fn between(one: &'a Address, other: &'a Address, text: fmt::Arguments<'a>) -> Self {
        Self::new([Some(one), Some(other)], What::Text(text))
    }

    /// It concerns this partition.
    #[must_use]
    pub fn of(self, partition: PartitionId) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// It concerns this transaction.
    #[must_use]
    pub fn of_transaction(self, partition: PartitionId, id: TransactionId) -> Self {
        Self { transaction: Some(id), ..self.of(partition) }
    }

    /// A host's journal entry became durable.
    pub(crate) fn durable(host: &'a Address, entry: &'a EntryHead) -> Self {
        Self::new([Some(host), None], What::Durable(entry))
    }

    /// A whole frame reached a host over this connection.
    pub(crate) fn received(
        connection: u64,
        (from, to): (&'a Address, &'a Address),
        frame: &'a Frame,
    ) -> Self {
        Self::new([Some(to), Some(from)], What::Frame { connection, frame })
    }

    pub(super) fn concerns(&self, host: &Address) -> bool {
        self.hosts.contains(&Some(host))
    }

    /// Everything about the event that must be equal in two runs of a seed.
    pub(super) fn feed(&self, hash: &mut Hash) {
        for host in self.hosts.into_iter().flatten() {
            hash.bytes(host.0.as_bytes());
        }
        hash.word(self.partition.map_or(0, |partition| 1 + u64::from(partition.0)));
        hash.word(self.transaction.map_or(0, |id| 1 + id.0));
        match self.what {
            What::Text(text) => fmt::write(hash, text).expect("a hash takes any text"),
            What::Durable(EntryHead::Records { partition, session, first, count, low_water }) => {
                let words = [u64::from(partition.0), session.epoch.0, session.nonce, first.0];
                words.into_iter().for_each(|word| hash.word(word));
                hash.word(u64::from(*count));
                hash.word(low_water.count());
            }
            // A control entry, one of a few.
            What::Durable(entry) => {
                fmt::write(hash, format_args!("{entry:?}")).expect("a hash takes any text");
            }
            What::Frame { connection, frame } => {
                hash.word(connection);
                hash.word(frame.head.len() as u64);
                hash.word(frame.payload.len() as u64);
                let (head, payload) = (crc32c::crc32c(&frame.head), crc32c::crc32c(&frame.payload));
                hash.word(u64::from(head) << 32 | u64::from(payload));
            }
        }
    }

    /// The event in words.
    pub(super) fn line(&self) -> Line {
        let (what, mention) = match self.what {
            What::Text(text) => {
                let ids = self.transaction.map(|id| (id, Mark::at(id)));
                let mention = Mention { partition: self.partition, ids, appended: Vec::new() };
                (text.to_string(), mention)
            }
            What::Durable(entry) => (format!("durable {entry:?}"), message::of_entry(entry)),
            What::Frame { connection, frame } => {
                let (text, mention) = message::of_frame(frame);
                (format!("#{connection} {text}"), mention)
            }
        };
        let text = match self.hosts {
            [Some(to), Some(from)] => format!("{to} < {from} {what}"),
            [Some(host), None] => format!("{host} {what}"),
            _ => what,
        };
        Line { text, mention }
    }
}
