//! What goes wrong between clients and nodes: appends that get lost or meet a conflict, and feeds
//! that stand still.
//!
//! A client is told nothing here that a server could not tell it.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use waltz_core::limits::Limits;
use waltz_core::lock::LockId;
use waltz_core::record::RecordView;
use waltz_core::time::Random;
use waltz_core::wire::{AppendRefusal, ClientRequest, Frame, Message, ServerReply};

use super::network::End;

/// What is to go wrong.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// How many appends get lost from now on.
    pub(super) lost: u32,
    /// How many appends meet a conflict from now on.
    pub(super) conflicts: u32,
    /// The share of all other appends that fail in one way or the other.
    pub(super) rate: f64,
    /// Whether feeds stand still.
    pub(super) suspended: bool,
    /// What clients have not been given, in order.
    held: BTreeMap<End, Vec<Frame>>,
}

/// What is left of a client's frame.
pub(super) struct Passed {
    pub(super) frame: Option<Frame>,
    /// What the client is told about the rest.
    pub(super) replies: Vec<Frame>,
}

enum Fate {
    Passes,
    GetsLost,
    Conflicts,
}

impl Faults {
    /// A client's frame on its way to a node.
    pub(super) fn on_request(&mut self, frame: Frame, random: &mut Random) -> Passed {
        let decoded = self.is_armed().then(|| Message::decode(&frame.head));
        let Some(Ok(Message::Client(ClientRequest::Append { partition, mount, session, .. }))) =
            decoded
        else {
            return Passed { frame: Some(frame), replies: Vec::new() };
        };
        let (mut kept, mut count, mut replies) = (BytesMut::new(), 0, Vec::new());
        for record in records(&frame.payload) {
            let sequence = record.req_id().sequence;
            let reply = match self.fate(&record, random) {
                Fate::Passes => {
                    kept.extend_from_slice(record.bytes());
                    count += 1;
                    continue;
                }
                Fate::GetsLost => {
                    let (first, last, reason) = (sequence, sequence, AppendRefusal::Stale);
                    ServerReply::AppendRefused { partition, mount, first, last, reason }
                }
                Fate::Conflicts => {
                    let id = record.computed_at().id().expect("others are not chosen");
                    let lock = record.locks().next().map_or(LockId(0), |(_, lock)| lock);
                    ServerReply::Conflict { partition, mount, sequence, id, lock, exact: true }
                }
            };
            replies.push(Message::Server(reply).frame());
        }
        let request = ClientRequest::Append { partition, mount, session, count };
        let frame = (count > 0).then(|| Message::Client(request).with(kept.freeze()));
        Passed { frame, replies }
    }

    /// A node's frame on its way to this client's end; `None` when it is held back.
    pub(super) fn on_reply(&mut self, to: End, frame: Frame) -> Option<Frame> {
        if !self.suspended {
            return Some(frame);
        }
        match Message::decode(&frame.head) {
            // Without these the connection would count as broken.
            Ok(Message::Ping | Message::Pong) => return Some(frame),
            Ok(Message::Server(ServerReply::Feed { .. })) => {}
            // What comes after the feed must not overtake it.
            _ if self.held.contains_key(&to) => {}
            _ => return Some(frame),
        }
        self.held.entry(to).or_default().push(frame);
        None
    }

    /// Feeds go on: what was held back of each.
    pub(super) fn resume(&mut self) -> BTreeMap<End, Vec<Frame>> {
        self.suspended = false;
        std::mem::take(&mut self.held)
    }

    /// A connection is gone, and what was held back with it.
    pub(super) fn closed(&mut self, end: End) {
        self.held.remove(&end);
    }

    fn is_armed(&self) -> bool {
        self.lost > 0 || self.conflicts > 0 || self.rate > 0.0
    }

    fn fate(&mut self, record: &RecordView<'_>, random: &mut Random) -> Fate {
        // A conflict names a transaction that the client has applied, so that it can go on.
        let can_conflict = record.computed_at().id().is_some();
        if self.lost > 0 {
            self.lost -= 1;
            return Fate::GetsLost;
        }
        if self.conflicts > 0 && can_conflict {
            self.conflicts -= 1;
            return Fate::Conflicts;
        }
        let share = random.bits() as f64 / u64::MAX as f64;
        if share >= self.rate {
            Fate::Passes
        } else if can_conflict && random.bits().is_multiple_of(2) {
            Fate::Conflicts
        } else {
            Fate::GetsLost
        }
    }
}

/// The records of a client's frame: the client is the program's own.
fn records(payload: &Bytes) -> impl Iterator<Item = RecordView<'_>> {
    let limits = Limits { record: u32::MAX, locks: u32::MAX, ..Limits::default() };
    let mut rest = &payload[..];
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (record, after) = RecordView::parse(rest, &limits).expect("clients send sound records");
        rest = after;
        Some(record)
    })
}
