//! What the mounts may say, and what the model learns from it.

use bytes::Bytes;

use super::world::{ARCHIVE_READS, READS, World, mark};
use crate::explorer::explore::{Broken, ensure};
use crate::id::{Mark, TransactionId};
use crate::io::ConnectionId;
use crate::partition::mounts::MountsOutput;
use crate::partition::testing::SESSION;
use crate::wire::{FeedMode, MountRefusal, ServerReply};

impl World {
    /// Checks what the mounts want, and takes it to be done.
    pub(super) fn check(&mut self, output: MountsOutput) -> Result<(), Broken> {
        match output {
            MountsOutput::Confirm { round } => {
                ensure(!self.round_under_way, "two rounds at a time")?;
                (self.round_under_way, self.rounds) = (true, self.rounds + 1);
                ensure(round == self.rounds, "a round is left out")
            }
            MountsOutput::Read { request, first, to, max_bytes } => {
                let is_sound = to.includes(first) && to <= self.committed() && max_bytes > 0;
                ensure(is_sound, "a read of what is not committed, or of nothing")?;
                ensure(!self.start.includes(first), "a read of what was trimmed")?;
                let before = self.reads.insert(request, (first, to));
                ensure(before.is_none(), "two reads have one number")?;
                ensure(self.reads.len() <= READS, "more reads than may be under way")
            }
            MountsOutput::ReadArchive { request, first, to, max_bytes } => {
                let is_sound = to.includes(first) && to <= self.start && max_bytes > 0;
                ensure(self.has_archive && is_sound, "a read of what no archive can have")?;
                let before = self.archive_reads.insert(request, (first, to));
                ensure(before.is_none(), "two reads have one number")?;
                let count = self.archive_reads.len();
                ensure(count <= ARCHIVE_READS, "more reads than may be under way")
            }
            MountsOutput::Reply { conn, reply, payload } => self.check_reply(conn, reply, &payload),
        }
    }

    fn check_reply(
        &mut self,
        conn: ConnectionId,
        reply: ServerReply,
        payload: &Bytes,
    ) -> Result<(), Broken> {
        let committed = self.committed();
        let told = self.told.values_mut().find(|told| told.name.conn == conn);
        match (reply, told) {
            (ServerReply::Mounted { session, .. }, Some(_)) => {
                ensure(session == SESSION, "mounted in another session")
            }
            (ServerReply::Feed { first, count, .. }, Some(_)) => {
                self.check_feed(conn, first, count, payload)
            }
            (ServerReply::Ready { mark, .. }, Some(told)) => {
                ensure(!told.ready, "ready twice")?;
                told.ready = true;
                ensure(committed >= told.sequenced, "ready before what was numbered is decided")?;
                let confirmed = told.confirmed.is_some_and(|confirmed| mark >= confirmed);
                ensure(confirmed, "ready without a round that began after the mount")?;
                let is_fed = mark >= told.sequenced && mark == Mark::before(told.next);
                ensure(is_fed, "ready at another mark than was fed")
            }
            (ServerReply::Conflict { sequence, id, .. }, Some(told)) => {
                ensure(committed.includes(id), "a conflict is told before its cause is committed")?;
                let place = told.held.iter().position(|held| *held == (sequence, id));
                told.held.swap_remove(place.ok_or("a conflict is told twice, or made up")?);
                Ok(())
            }
            (ServerReply::Unmounted { reason: MountRefusal::AheadOfLog { log, .. }, .. }, told) => {
                let told = told.ok_or("nobody is ahead of the log")?;
                let is_ahead = told.confirmed == Some(log) && told.after > log;
                let client = told.name.client;
                self.told.remove(&client);
                ensure(is_ahead, "refused for being ahead of a log that is longer")
            }
            (
                ServerReply::Unmounted { reason: MountRefusal::Trimmed { start }, .. },
                Some(told),
            ) => {
                let is_behind = Mark::before(told.next) < start && start == self.start;
                let client = told.name.client;
                self.told.remove(&client);
                let may_be = self.lacked || !self.has_archive;
                ensure(is_behind && may_be, "told of a trim that takes nothing from it")
            }
            (ServerReply::Unmounted { reason: MountRefusal::Asked, .. }, Some(told)) => {
                let client = told.name.client;
                self.told.remove(&client);
                Ok(())
            }
            (ServerReply::Unmounted { reason: MountRefusal::Replaced, .. }, None) => Ok(()),
            (reply, told) => Err(format!("unexpected {reply:?} for {told:?}")),
        }
    }

    /// The next records, committed ones, on credit, as they are or without data.
    fn check_feed(
        &mut self,
        conn: ConnectionId,
        first: TransactionId,
        count: u32,
        payload: &Bytes,
    ) -> Result<(), Broken> {
        let (committed, log) = (self.committed(), self.log.clone());
        let told = self.told.values_mut().find(|told| told.name.conn == conn);
        let told = told.ok_or("a feed for nobody")?;
        ensure(first == told.next, "a gap or a repetition in a feed")?;
        ensure(told.credit > 0, "fed without credit")?;
        told.next = TransactionId(first.0 + u64::from(count));
        ensure(Mark::before(told.next) <= committed, "fed what is not committed")?;
        told.credit -= payload.len() as i64;
        let run = log.slice(first, Mark::before(told.next)).ok_or("nothing is fed")?;
        let last = log.slice(TransactionId(told.next.0 - 1), mark(told.next.0));
        let last = last.ok_or("nothing is fed")?.bytes.len() as i64;
        ensure(told.credit > -last, "fed more than the last record beyond the credit")?;
        let headers = told.mode == FeedMode::Headers;
        let expected = if headers { run.without_data() } else { run }.bytes;
        ensure(*payload == expected, "fed other records than the log's")
    }
}
