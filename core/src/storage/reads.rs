//! Reading records back for those who ask: where they are, what came from the disk, and whether it
//! is what was written. Only durable records are read, and a corrupt one is never served.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{IdRange, Mark, SessionId, TransactionId};
use crate::io::{Caller, Context, Ticket};
use crate::journal::Place;
use crate::limits::Limits;
use crate::record::Run;
use crate::wire::ReplicaAnswer;

use super::index::Piece;
use super::salvage::Contents;
use super::{Asker, Replica, StorageReply};

/// How many reads one caller may have under way.
const READS_PER_CALLER: usize = 64;
/// How many runs one read asks the journal for at most.
const RUNS_PER_READ: usize = 1024;

/// What is wanted, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Query {
    /// Who asked.
    pub(super) asker: Asker,
    /// The number of the request.
    pub(super) request: u64,
    /// The first record wanted.
    pub(super) first: TransactionId,
    /// The last record wanted.
    pub(super) to: Mark,
    /// How many bytes at most, unless the first record alone is longer.
    pub(super) max_bytes: u32,
}

impl Query {
    /// The answer that nothing comes.
    pub(super) fn failed(&self, reason: String) -> StorageReply {
        self.asker.reply(ReplicaAnswer::ReadFailed { request: self.request, reason })
    }

    fn records(&self, run: Run) -> StorageReply {
        let Run { session: origin, first, count, bytes } = run;
        let request = self.request;
        let answer = ReplicaAnswer::Records { request, origin, first, count, done: false };
        self.asker.reply_with(answer, bytes)
    }
}

/// A piece to read, and the session that sequenced it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Wanted {
    pub(super) session: SessionId,
    pub(super) piece: Piece,
}

impl Wanted {
    /// The durable records from `first` up to `to`.
    pub(super) fn all(
        replica: &Replica,
        first: TransactionId,
        to: Mark,
    ) -> impl Iterator<Item = Self> {
        replica.index().pieces(first, to, replica.last()).map(|piece| {
            let session = replica.summary().session_at(piece.ids.first);
            Self { session: session.expect("the index is within the log"), piece }
        })
    }

    /// The durable records from `first` up to `to`: at least one piece if there is any, then as
    /// many as fit in `max_bytes` and a bounded number of runs.
    pub(super) fn locate(
        replica: &Replica,
        first: TransactionId,
        to: Mark,
        max_bytes: u32,
    ) -> Vec<Self> {
        let mut bytes = 0_u64;
        let fits = |wanted: &Self| {
            let before = bytes;
            bytes += u64::from(wanted.piece.run.place.length);
            before == 0 || bytes <= u64::from(max_bytes)
        };
        Self::all(replica, first, to).take(RUNS_PER_READ).take_while(fits).collect()
    }

    /// How long the body is that it is read from.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.piece.run.place.length)
    }

    /// Where it is, in the order of asking for it.
    pub(super) fn places(wanted: &[Self]) -> Vec<Place> {
        wanted.iter().map(|wanted| wanted.piece.run.place).collect()
    }
}

/// A read on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Read {
    /// What is wanted.
    pub(super) query: Query,
    /// Where it is.
    pub(super) wanted: Vec<Wanted>,
}

/// All reads on their way, by ticket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub(super) struct Reads {
    under_way: BTreeMap<Ticket, Read>,
}

impl Reads {
    /// Asks the journal for the runs that hold the records wanted, or says why it can't.
    pub(super) fn start(
        &mut self,
        cx: &mut Context<'_>,
        query: Query,
        replica: &Replica,
    ) -> Result<(), String> {
        let caller = query.asker.to;
        let busy = self.under_way.values().filter(|read| read.query.asker.to == caller).count();
        if busy >= READS_PER_CALLER {
            return Err(format!("busy: {busy} reads are under way"));
        }
        let Query { first, to, max_bytes, .. } = query;
        let start = replica.summary().start;
        if start.includes(first) {
            return Err(format!("{first} was trimmed: the log starts after {start}"));
        }
        let to = match replica.damage_from(first) {
            Some(damaged) if damaged.first == first => {
                return Err(format!(
                    "records {damaged} can't be read here until they are repaired"
                ));
            }
            Some(IdRange { first: damaged, .. }) => to.min(Mark::before(damaged)),
            None => to,
        };
        let wanted = Wanted::locate(replica, first, to, max_bytes);
        if wanted.is_empty() {
            let readable = replica.index().readable(replica.last());
            return Err(format!("no durable record from {first} to {to}: they end at {readable}"));
        }
        self.under_way.insert(cx.read(Wanted::places(&wanted)), Read { query, wanted });
        Ok(())
    }

    /// The read of this ticket, if it is one of these.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Read> {
        self.under_way.remove(&ticket)
    }

    /// Drops the reads of a caller that is gone.
    pub(super) fn forget(&mut self, caller: Caller) {
        self.under_way.retain(|_, read| read.query.asker.to != caller);
    }
}

impl Read {
    /// Answers with the sound records up to the first fault, or with the fault if it comes first.
    /// Returns the pieces whose bodies are not what was written.
    pub(super) fn finish(
        &self,
        replica: &Replica,
        bodies: &[Bytes],
        limits: &Limits,
        replies: &mut Vec<StorageReply>,
    ) -> Vec<(Wanted, Contents)> {
        let served = replies.len();
        let rotten = self.serve(replica, bodies, limits, replies);
        if replies.len() > served {
            let answer = &mut replies.last_mut().expect("some were served").message.answer;
            if let ReplicaAnswer::Records { done, .. } = answer {
                *done = true;
            }
        } else {
            let fault = rotten.last().and_then(|(_, contents)| contents.fault.as_deref());
            let reason = match fault {
                None => "the records were cut meanwhile".to_owned(),
                Some(fault) => format!("they are corrupt: {fault}"),
            };
            replies.push(self.query.failed(reason));
        }
        rotten
    }

    fn serve(
        &self,
        replica: &Replica,
        bodies: &[Bytes],
        limits: &Limits,
        replies: &mut Vec<StorageReply>,
    ) -> Vec<(Wanted, Contents)> {
        let mut left = Left { next: self.query.first, bytes: self.query.max_bytes as usize };
        let mut rotten = Vec::new();
        for (wanted, body) in self.wanted.iter().zip(bodies) {
            let Wanted { session, piece } = *wanted;
            let contents = Contents::of(session, piece.run, body, limits);
            // What was cut meanwhile, and perhaps written anew by another session, is left out.
            let still = |id| replica.summary().session_at(id) == Some(session);
            let goes_on = still(piece.ids.first)
                && still(piece.ids.last)
                && self.serve_piece(piece, &contents, &mut left, replies);
            if contents.fault.is_some() {
                rotten.push((*wanted, contents));
            }
            if !goes_on {
                break;
            }
        }
        rotten
    }

    /// Answers with what is sound and wanted of one piece. Whether that was all of it.
    fn serve_piece(
        &self,
        piece: Piece,
        contents: &Contents,
        left: &mut Left,
        replies: &mut Vec<StorageReply>,
    ) -> bool {
        let end = Mark::at(piece.ids.last).min(self.query.to);
        for run in &contents.sound {
            let wanted = run.slice(left.next, end).filter(|run| run.first == left.next);
            let Some(run) = wanted else { continue };
            // One record always comes, however long it is.
            let least = u64::from(left.next == self.query.first);
            let fitting = fitting(&run, left.bytes).max(least);
            let fits = Mark::before(TransactionId(run.first.0 + fitting));
            let Some(part) = run.slice(run.first, fits) else { return false };
            left.bytes = left.bytes.saturating_sub(part.bytes.len());
            left.next = part.last().next();
            let whole = part.count == run.count;
            replies.push(self.query.records(part));
            if !whole {
                return false;
            }
        }
        !end.includes(left.next)
    }
}

/// What a read has yet to answer with.
struct Left {
    next: TransactionId,
    bytes: usize,
}

/// How many records of a run, from its first on, fit in so many bytes.
fn fitting(run: &Run, bytes: usize) -> u64 {
    if run.bytes.len() <= bytes {
        return u64::from(run.count);
    }
    let ends = run.records().scan(0, |end, record| {
        *end += record.bytes().len();
        Some(*end)
    });
    ends.take_while(|end| *end <= bytes).count() as u64
}
