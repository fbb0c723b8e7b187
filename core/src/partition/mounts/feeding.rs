//! Feeds: what is committed goes to whoever is at the head; whoever is behind is served from
//! memory or, one read at a time, from the storage, as far as its credit goes.

use super::mount::{Mount, Source};
use super::reads::{Keeper, Purpose};
use super::recent::Recent;
use super::{Mounts, MountsOutput, Outputs, reply};
use crate::id::{ClientId, Mark, PartitionId};
use crate::planted::PlantedBug;
use crate::record::Run;
use crate::wire::{FeedMode, ServerReply};

impl Mounts {
    /// The next run is committed.
    ///
    /// # Panics
    /// When it does not follow the last one.
    pub fn committed(&mut self, run: &Run, out: &mut Outputs) {
        assert_eq!(self.committed.next(), run.first, "committed runs follow each other");
        self.committed = run.last();
        self.recent.push(run);
        // Refusals go before the feed: a client takes what the feed passes over for lost.
        self.tell_conflicts(out);
        for client in std::mem::take(&mut self.at_head) {
            self.feed(client, out);
        }
    }

    /// A read was answered with committed records, verified; more comes of it unless `done`.
    pub fn records(&mut self, request: u64, run: &Run, done: bool, out: &mut Outputs) {
        match self.reads.purpose(request).copied() {
            Some(Purpose::Feed(client)) => self.feed_from(client, request, run, out),
            Some(Purpose::Fetch(fetch)) => self.fetch_from(fetch, request, run, out),
            Some(Purpose::Nobody) | None => {}
        }
        if done {
            self.finish_read(request, "the records read are others than asked for", out);
        }
    }

    /// A read came to nothing. Its feed waits for [`retry`](Self::retry).
    pub fn read_failed(&mut self, request: u64, reason: &str, out: &mut Outputs) {
        self.finish_read(request, reason, out);
    }

    /// Whether a feed waits for [`retry`](Self::retry).
    pub fn needs_retry(&self) -> bool {
        !self.stuck.is_empty()
    }

    /// Reads once more for the feeds whose reads have failed. When is up to the caller: there is
    /// no clock here, and at once would be too soon.
    pub fn retry(&mut self, out: &mut Outputs) {
        for client in std::mem::take(&mut self.stuck) {
            self.feed_again(client, out);
        }
    }

    pub(super) fn feed_again(&mut self, client: ClientId, out: &mut Outputs) {
        if let Some(mount) = self.mounts.get_mut(&client) {
            mount.source = Source::Any;
            self.feed(client, out);
        }
    }

    /// Feeds a client what its credit allows and memory has, asks the storage for what memory
    /// lacks, and says `Ready` if that is owed now.
    pub(super) fn feed(&mut self, client: ClientId, out: &mut Outputs) {
        let Some(mount) = self.mounts.get_mut(&client) else {
            return;
        };
        while let Some(room) = mount.room().filter(|_| self.committed.includes(mount.next)) {
            match self.recent.read(mount.mode, mount.next, self.committed, room) {
                Some(run) => {
                    self.tail_hits += 1;
                    out.push(fed(self.partition, mount, run));
                }
                None => {
                    self.tail_misses += 1;
                    mount.source = Source::Waiting;
                    self.reads.add_feed(client, Keeper::of(mount.next, self.start));
                }
            }
        }
        if mount.fed() == self.committed {
            self.at_head.insert(client);
        }
        if mount.becomes_ready() {
            let (mount, mark, conn) = (mount.id, mount.fed(), mount.conn);
            let (partition, session) = (self.partition, self.session);
            out.push(reply(conn, ServerReply::Ready { partition, mount, session, mark }));
        }
        self.begin_reads(out);
    }

    /// Feeds a client what its credit allows of a run read for it.
    fn feed_from(&mut self, client: ClientId, request: u64, run: &Run, out: &mut Outputs) {
        let awaits = |mount: &&mut Mount| mount.awaits(request);
        let Some(mount) = self.mounts.get_mut(&client).filter(awaits) else {
            return;
        };
        let headers = (mount.mode == FeedMode::Headers).then(|| run.without_data());
        let run = headers.as_ref().unwrap_or(run);
        while let Some(part) = mount.part_of(run, self.committed) {
            out.push(fed(self.partition, mount, part));
        }
    }

    /// Nothing more comes of a read: `reason` says why it fell short, if it did.
    fn finish_read(&mut self, request: u64, reason: &str, out: &mut Outputs) {
        match self.reads.end(request) {
            Some(Purpose::Feed(client)) => self.finish_feed_read(client, request, out),
            Some(Purpose::Fetch(fetch)) if self.moved_to_archive(fetch, request) => {
                self.reads.add_fetch(fetch, Keeper::Archive);
            }
            Some(Purpose::Fetch(fetch)) => out.push(self.fetch_failed(fetch, reason)),
            Some(Purpose::Nobody) | None => {}
        }
        self.begin_reads(out);
    }

    fn finish_feed_read(&mut self, client: ClientId, request: u64, out: &mut Outputs) {
        let Some(mount) = self.mounts.get_mut(&client) else {
            return;
        };
        match mount.source {
            Source::Reading { request: awaited, from } if awaited == request => {
                if mount.next == from {
                    mount.source = Source::Stuck;
                    match Keeper::asked(request) {
                        Keeper::Storage => self.stuck.insert(client),
                        Keeper::Archive if self.planted.has(PlantedBug::ForgetUnarchived) => false,
                        Keeper::Archive => self.unarchived.insert(client),
                    };
                } else {
                    mount.source = Source::Any;
                    if self.planted.has(PlantedBug::FeedGap) {
                        skip_run(mount, &self.recent, self.committed);
                    }
                    if Keeper::asked(request) == Keeper::Archive
                        && self.planted.has(PlantedBug::SkipUnarchived)
                    {
                        mount.next = mount.next.max(self.start.next());
                    }
                    self.feed(client, out);
                }
            }
            _ => {}
        }
    }

    /// Begins as many of the waiting reads as may be under way.
    pub(super) fn begin_reads(&mut self, out: &mut Outputs) {
        while let Some((request, purpose)) = self.reads.begin() {
            let read = match purpose {
                Purpose::Feed(client) => self.begin_feed_read(client, request),
                Purpose::Fetch(fetch) => Some(fetch.read(request)),
                Purpose::Nobody => None,
            };
            // A mount that ends gives up its turn, so there is always something to read.
            out.push(read.expect("a waiting read is for somebody"));
        }
    }

    fn begin_feed_read(&mut self, client: ClientId, request: u64) -> Option<MountsOutput> {
        let mount = self.mounts.get_mut(&client)?;
        let first = mount.next;
        mount.source = Source::Reading { request, from: first };
        let in_memory = self.recent.first(mount.mode).filter(|recent| first < *recent);
        let to = in_memory.map_or(self.committed, Mark::before);
        let max_bytes = mount.credit.clamp(1, self.config.read_bytes.into()) as u32;
        Some(match Keeper::asked(request) {
            Keeper::Storage => MountsOutput::Read { request, first, to, max_bytes },
            Keeper::Archive => {
                let to = to.min(self.start);
                MountsOutput::ReadArchive { request, first, to, max_bytes }
            }
        })
    }
}

/// The bug [`PlantedBug::FeedGap`]: what memory has next counts as fed.
fn skip_run(mount: &mut Mount, recent: &Recent, committed: Mark) {
    if let Some(run) = recent.read(mount.mode, mount.next, committed, usize::MAX) {
        mount.next = run.last().next();
    }
}

/// Counts a run as sent to a mount, and sends it.
fn fed(partition: PartitionId, mount: &mut Mount, run: Run) -> MountsOutput {
    mount.sent(&run);
    let Run { first, count, bytes, .. } = run;
    let reply = ServerReply::Feed { partition, mount: mount.id, first, count };
    MountsOutput::Reply { conn: mount.conn, reply, payload: bytes }
}
