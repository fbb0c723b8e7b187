//! Calls: the current mark, and single records.

use super::reads::{Fetch, Keeper, Purpose};
use super::rounds::CurrentCall;
use super::{Mounts, MountsOutput, Outputs, reply};
use crate::id::TransactionId;
use crate::io::ConnectionId;
use crate::record::Run;
use crate::wire::{FetchRefusal, ServerReply};

impl Mounts {
    /// A client asks for the high-water mark: answered after a quorum round begun from now on.
    pub fn current(&mut self, conn: ConnectionId, call: u64, out: &mut Outputs) {
        if self.rounds.calls() >= self.config.calls {
            out.push(refused(conn, call, FetchRefusal::Failed(TOO_MANY.into())));
            return;
        }
        self.rounds.add_call(CurrentCall { conn, call });
        self.begin_round(out);
    }

    /// A client asks for one committed record.
    pub fn fetch(&mut self, conn: ConnectionId, call: u64, id: TransactionId, out: &mut Outputs) {
        let fetch = Fetch { conn, call, id };
        if self.start.includes(id) && !self.has_archive() {
            out.push(self.fetch_failed(fetch, ""));
        } else if !self.committed.includes(id) {
            out.push(refused(conn, call, FetchRefusal::NotCommitted));
        } else if let Some(run) = self.recent.record(id) {
            out.push(fetch.answer(run));
        } else if self.reads.waiting_fetches() >= self.config.calls {
            out.push(self.fetch_failed(fetch, TOO_MANY));
        } else {
            self.reads.add_fetch(fetch, Keeper::of(id, self.start));
            self.begin_reads(out);
        }
    }

    /// Answers a call if its record is in the run.
    pub(super) fn fetch_from(&mut self, fetch: Fetch, request: u64, run: &Run, out: &mut Outputs) {
        let Some(record) = run.slice(fetch.id, fetch.id.mark()) else {
            return;
        };
        out.push(fetch.answer(record));
        if let Some(purpose) = self.reads.purpose(request) {
            *purpose = Purpose::Nobody;
        }
    }

    /// A call for a record came to nothing: the record was trimmed, or else for this reason.
    pub(super) fn fetch_failed(&self, fetch: Fetch, reason: &str) -> MountsOutput {
        let start = self.start;
        let refusal = match start.includes(fetch.id) && !self.has_archive() {
            true => FetchRefusal::Trimmed { start },
            false => FetchRefusal::Failed(reason.into()),
        };
        refused(fetch.conn, fetch.call, refusal)
    }

    /// Answers every call that waits: this session will not.
    pub(super) fn end_calls(self, out: &mut Outputs) {
        let fetches = self.reads.fetches().map(|fetch| (fetch.conn, fetch.call));
        let waiting = self.rounds.into_calls().map(|current| (current.conn, current.call));
        out.extend(
            fetches.chain(waiting).map(|(conn, call)| refused(conn, call, FetchRefusal::NotOwner)),
        );
    }
}

const TOO_MANY: &str = "too many calls wait for an answer; try again later";

impl Fetch {
    /// What to read for the call.
    pub(super) fn read(&self, request: u64) -> MountsOutput {
        let (first, to, max_bytes) = (self.id, self.id.mark(), 1);
        match Keeper::asked(request) {
            Keeper::Storage => MountsOutput::Read { request, first, to, max_bytes },
            Keeper::Archive => MountsOutput::ReadArchive { request, first, to, max_bytes },
        }
    }

    fn answer(&self, record: Run) -> MountsOutput {
        let reply = ServerReply::Fetched { call: self.call };
        MountsOutput::Reply { conn: self.conn, reply, payload: record.bytes }
    }
}

fn refused(conn: ConnectionId, call: u64, reason: FetchRefusal) -> MountsOutput {
    reply(conn, ServerReply::FetchRefused { call, reason })
}
