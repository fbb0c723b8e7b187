//! Reading records back: where they are, what came from the disk, and whether it is what was
//! written. Only durable records are read, and a corrupt one is never served.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::id::{Mark, SessionId, TransactionId};
use crate::io::{Caller, Context, Ticket};
use crate::limits::Limits;
use crate::record::Run;
use crate::wire::ReplicaAnswer;

use super::index::LocatedRun;
use super::{Asker, Replica, StorageReply};

/// How many reads one caller may have under way.
const READS_PER_CALLER: usize = 64;
/// How many runs one read asks the journal for at most.
const RUNS_PER_READ: usize = 1024;

/// What is wanted, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// A read on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Read {
    /// What is wanted.
    pub(super) query: Query,
    runs: Vec<(SessionId, LocatedRun)>,
}

/// All reads on their way, by ticket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
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
        let (index, last) = (replica.index(), replica.last());
        let Query { first, to, max_bytes, .. } = query;
        let located = index.locate(first, to, last, max_bytes, RUNS_PER_READ);
        if located.is_empty() {
            let readable = index.readable(last);
            return Err(format!("no durable record from {first} to {to}: they end at {readable}"));
        }
        let places = located.iter().map(|run| run.place).collect();
        let origin = |id| replica.summary().session_at(id);
        let runs = located
            .into_iter()
            .map(|run| (origin(run.first).expect("the index is within the log"), run))
            .collect();
        self.under_way.insert(cx.read(places), Read { query, runs });
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
    ///
    /// # Errors
    /// The fault, for the operator: the disk failed, or it gave back something else.
    pub(super) fn finish(
        &self,
        replica: &Replica,
        result: &Result<Vec<Bytes>, String>,
        limits: &Limits,
        replies: &mut Vec<StorageReply>,
    ) -> Result<(), String> {
        let served = replies.len();
        let outcome = self.serve(replica, result, limits, replies);
        if replies.len() > served {
            let answer = &mut replies.last_mut().expect("some were served").message.answer;
            if let ReplicaAnswer::Records { done, .. } = answer {
                *done = true;
            }
        } else {
            let reason = match &outcome {
                Ok(()) => "the records were cut meanwhile".to_owned(),
                Err(fault) => fault.clone(),
            };
            replies.push(self.query.failed(reason));
        }
        outcome
    }

    fn serve(
        &self,
        replica: &Replica,
        result: &Result<Vec<Bytes>, String>,
        limits: &Limits,
        replies: &mut Vec<StorageReply>,
    ) -> Result<(), String> {
        let Query { asker, first, to, max_bytes, .. } = self.query;
        let bodies = result.as_ref().map_err(|error| {
            format!("records of partition {} from {first} can't be read: {error}", asker.partition)
        })?;
        if bodies.len() != self.runs.len() {
            let (asked, came) = (self.runs.len(), bodies.len());
            return Err(format!("the journal gave {came} bodies where {asked} were asked for"));
        }
        let (mut left, mut least) = (max_bytes as usize, 1);
        for ((origin, located), body) in self.runs.iter().zip(bodies) {
            let run = self.verified(*origin, located, body, limits)?;
            let (first, last) = (run.first.max(first), located.last.min(to));
            let still = |id| replica.summary().session_at(id) == Some(*origin);
            if !still(first) || !last.id().is_some_and(still) {
                return Ok(());
            }
            let Some(wanted) = run.slice(first, last) else { return Ok(()) };
            let fitting = fitting(&wanted, left).max(least);
            let end = Mark::before(TransactionId(first.0 + fitting));
            let Some(part) = wanted.slice(first, end) else { return Ok(()) };
            left = left.saturating_sub(part.bytes.len());
            least = 0;
            let whole = part.count == wanted.count;
            replies.push(self.query.records(part));
            if !whole {
                return Ok(());
            }
        }
        Ok(())
    }

    fn verified(
        &self,
        origin: SessionId,
        located: &LocatedRun,
        body: &Bytes,
        limits: &Limits,
    ) -> Result<Run, String> {
        Run::verify(origin, located.first, located.count, body.clone(), limits).map_err(|error| {
            format!(
                "partition {}: the run of {} records from {} (segment {}, offset {}) is corrupt and not served: {error}",
                self.query.asker.partition,
                located.count,
                located.first,
                located.place.segment,
                located.place.offset,
            )
        })
    }
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
