//! All mounts of one partition in one open session: what each client is told and fed, and when.
//!
//! ```text
//!   mount ──▶ Mounted ──▶ Feed … Feed ──▶ Ready ──▶ Feed …
//!     │                    ▲               ▲
//!     └─▶ a quorum round ──│───────────────┤  confirmed since, numbered before is decided,
//!                          │               │  and all of it was fed
//!     credit ──────────────┘
//! ```
//!
//! Invariants: a client has at most one mount, its newest; a feed has no gaps and no repetitions
//! and never passes the committed mark; it is sent on credit, so that a slow client holds nothing
//! but its place; at most one quorum round is under way; what is under way or held is bounded by
//! [`MountsConfig`].
//!
//! A client's ended mounts are not remembered. That is safe: an append names a mount that was
//! ready, so whatever names an ended one is refused, and a mount request that comes late only
//! feeds a connection that the client has given up.
//!
//! It knows no sequencer, no lock table and no clock. What numbers and replicates the records
//! says what was committed and confirmed, and answers the reads that it asks for.

mod archived;
#[cfg(test)]
mod archived_tests;
mod calls;
mod conflicts;
mod feeding;
mod mount;
mod reads;
mod recent;
mod rounds;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trimming;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{ClientId, Generation, Mark, MountId, PartitionId, SessionId, TransactionId};
use crate::io::ConnectionId;
use crate::measure::MountMeasurements;
use crate::planted::{Planted, PlantedBug};
use crate::wire::{FeedMode, MountRefusal, ServerReply};
use conflicts::Conflicts;
use mount::{Mount, Source, Standing};
use reads::Reads;
use recent::Recent;
use rounds::Rounds;

/// Bounds of one partition's mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountsConfig {
    /// Most clients mounted at once.
    pub mounts: usize,
    /// Most conflicts of one mount held until what caused them is committed.
    pub held_conflicts: usize,
    /// Most calls for the current mark that wait for a round, and most for a record that wait for
    /// their turn to be read.
    pub calls: usize,
    /// Most reads of the storage at a time.
    pub reads: usize,
    /// Most reads of the archive at a time; 0: there is none, and what was trimmed is gone.
    pub archive_reads: usize,
    /// Most bytes of one read.
    pub read_bytes: u32,
    /// Bytes of the newest committed records kept in memory.
    pub tail_bytes: usize,
    /// Bytes of the newest of them kept without data, while a feed carries headers only.
    pub header_tail_bytes: usize,
}

impl Default for MountsConfig {
    fn default() -> Self {
        Self {
            mounts: 16_384,
            held_conflicts: 4096,
            calls: 4096,
            reads: 16,
            archive_reads: 0,
            read_bytes: 1 << 20,
            tail_bytes: 4 << 20,
            header_tail_bytes: 1 << 20,
        }
    }
}

/// Names a mount, and who says so over which connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountName {
    /// The connection.
    pub conn: ConnectionId,
    /// The client at its other end.
    pub client: ClientId,
    /// The client's number of the mount.
    pub mount: MountId,
}

/// A client's wish to mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRequest {
    /// The mount.
    pub name: MountName,
    /// The assignment the client knows.
    pub generation: Generation,
    /// What it has applied.
    pub after: Mark,
    /// What the feed shall carry.
    pub mode: FeedMode,
    /// Bytes of payload it may be fed at first.
    pub credit: u32,
}

/// What the mounts want done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountsOutput {
    /// Tell a client.
    Reply {
        /// Its connection.
        conn: ConnectionId,
        /// What.
        reply: ServerReply,
        /// Records, or nothing.
        payload: Bytes,
    },
    /// Read committed records; answered by [`Mounts::records`] or [`Mounts::read_failed`].
    Read {
        /// Numbers the read.
        request: u64,
        /// The first record.
        first: TransactionId,
        /// The last one.
        to: Mark,
        /// Roughly how many bytes at most; at least one record is wanted.
        max_bytes: u32,
    },
    /// Read trimmed records from the archive; answered by [`Mounts::records`],
    /// [`Mounts::read_failed`] or [`Mounts::not_archived`].
    ReadArchive {
        /// Numbers the read.
        request: u64,
        /// The first record.
        first: TransactionId,
        /// The last one.
        to: Mark,
        /// How many bytes at most; at least one record is wanted.
        max_bytes: u32,
    },
    /// Begin a quorum round; [`Mounts::confirmed`] follows unless the session ends.
    Confirm {
        /// Numbers the round.
        round: u64,
    },
}

/// Where the mounts' outputs go.
pub type Outputs = Vec<MountsOutput>;

/// All mounts of one partition in one open session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounts {
    config: Arc<MountsConfig>,
    partition: PartitionId,
    generation: Generation,
    session: SessionId,
    /// Everything up to here was trimmed.
    start: Mark,
    committed: Mark,
    mounts: BTreeMap<ClientId, Mount>,
    connections: BTreeSet<(ConnectionId, ClientId)>,
    /// Those that have been fed everything committed.
    at_head: BTreeSet<ClientId>,
    /// Those whose read of the storage has failed.
    stuck: BTreeSet<ClientId>,
    /// Those whose read of the archive has failed.
    unarchived: BTreeSet<ClientId>,
    recent: Recent,
    reads: Reads,
    rounds: Rounds,
    conflicts: Conflicts,
    /// Reads of feeds that memory answered.
    tail_hits: u64,
    /// Those that went to the storage.
    tail_misses: u64,
    planted: Planted,
}

impl Mounts {
    /// No mounts yet, in a session that has just opened with everything up to `committed`.
    pub fn new(
        config: Arc<MountsConfig>,
        partition: PartitionId,
        generation: Generation,
        session: SessionId,
        committed: Mark,
    ) -> Self {
        Self {
            recent: Recent::new(config.tail_bytes, config.header_tail_bytes),
            reads: Reads::new(config.reads, config.archive_reads),
            config,
            partition,
            generation,
            session,
            start: Mark::NONE,
            committed,
            mounts: BTreeMap::new(),
            connections: BTreeSet::new(),
            at_head: BTreeSet::new(),
            stuck: BTreeSet::new(),
            unarchived: BTreeSet::new(),
            rounds: Rounds::default(),
            conflicts: Conflicts::default(),
            tail_hits: 0,
            tail_misses: 0,
            planted: Planted::NONE,
        }
    }

    /// Of a log that starts after this mark.
    #[must_use]
    pub fn with_start(self, start: Mark) -> Self {
        Self { start, ..self }
    }

    /// Breaks a rule.
    #[must_use]
    pub fn with_planted(self, planted: Planted) -> Self {
        Self { planted, ..self }
    }

    /// How many clients are mounted.
    pub fn mounted(&self) -> usize {
        self.mounts.len()
    }

    /// How many clients are mounted and how far they are.
    pub fn measure(&self) -> MountMeasurements {
        let furthest = self.mounts.values().map(Mount::fed).min();
        let behind = |fed: Mark| self.committed.count().saturating_sub(fed.count());
        MountMeasurements {
            mounted: self.mounts.len() as u64,
            at_head: self.at_head.len() as u64,
            largest_lag: furthest.map_or(0, behind),
            tail_hits: self.tail_hits,
            tail_misses: self.tail_misses,
        }
    }

    /// Bytes of the newest committed records that are in memory.
    pub fn recent_bytes(&self) -> usize {
        self.recent.bytes()
    }

    /// Forgets them; feeds and fetches read from the storage what they want of them.
    pub fn forget_recent(&mut self) {
        self.recent.clear();
    }

    /// A client mounts. `sequenced` is the last id numbered so far: up to there are whatever
    /// requests of this client came before.
    pub fn mount(&mut self, request: MountRequest, sequenced: Mark, out: &mut Outputs) {
        let MountRequest { name, generation, after, mode, credit } = request;
        if let Err(reason) = self.make_room(name, generation, after, out) {
            out.push(self.unmounted(name.conn, name.mount, reason));
            return;
        }
        let round = self.rounds.add_mount(name.client);
        let standing = match self.planted.has(PlantedBug::ReadyWithoutRound) {
            true => Standing::Confirmed { target: sequenced },
            false => Standing::Unconfirmed { round, after, sequenced },
        };
        let mount = Mount {
            id: name.mount,
            conn: name.conn,
            mode,
            credit: credit.into(),
            next: after.next(),
            source: Source::Any,
            standing,
            held: 0,
            sequence: None,
        };
        self.mounts.insert(name.client, mount);
        self.connections.insert((name.conn, name.client));
        self.recent.add_feed(mode);
        let (partition, session) = (self.partition, self.session);
        let mounted = ServerReply::Mounted { partition, mount: name.mount, session };
        out.push(reply(name.conn, mounted));
        self.feed(name.client, out);
        self.begin_round(out);
    }

    /// Ends an older mount of the client, or says why the new one can't be.
    fn make_room(
        &mut self,
        name: MountName,
        generation: Generation,
        after: Mark,
        out: &mut Outputs,
    ) -> Result<(), MountRefusal> {
        if generation != self.generation {
            return Err(MountRefusal::Generation { current: self.generation });
        }
        match self.mounts.get(&name.client).map(|mount| (mount.id, mount.conn)) {
            Some((newest, conn)) if newest >= name.mount => {
                // The same mount asked for twice is told that it ended, so it has to.
                if newest == name.mount && conn == name.conn {
                    self.remove(name.client);
                }
                return Err(MountRefusal::Replaced);
            }
            Some((older, conn)) => {
                self.remove(name.client);
                out.push(self.unmounted(conn, older, MountRefusal::Replaced));
            }
            None => {}
        }
        if after < self.start && !self.has_archive() {
            return Err(MountRefusal::Trimmed { start: self.start });
        }
        if self.mounts.len() >= self.config.mounts {
            return Err(MountRefusal::Busy);
        }
        Ok(())
    }

    /// More feed is welcome. Credit for a mount that has ended is void.
    pub fn credit(&mut self, name: MountName, bytes: u32, out: &mut Outputs) {
        if let Some(mount) = self.mount_named(name) {
            mount.credit = mount.credit.saturating_add(bytes.into());
            self.feed(name.client, out);
        }
    }

    /// A client ends a mount.
    pub fn unmount(&mut self, name: MountName, out: &mut Outputs) {
        if self.mount_named(name).is_some() {
            self.remove(name.client);
        }
        out.push(self.unmounted(name.conn, name.mount, MountRefusal::Asked));
    }

    /// A connection has ended, and with it its mounts and calls.
    pub fn closed(&mut self, conn: ConnectionId) {
        let range = (conn, ClientId(0))..=(conn, ClientId(u64::MAX));
        let clients: Vec<_> = self.connections.range(range).map(|(_, client)| *client).collect();
        for client in clients {
            self.remove(client);
        }
        self.rounds.remove_connection(conn);
        self.reads.remove_connection(conn);
    }

    /// Whether an append may be numbered: only the client's newest mount over its own connection
    /// may append, in this session, after it was told that it is ready.
    pub fn admits(&self, name: MountName, session: SessionId) -> bool {
        session == self.session
            && self.mounts.get(&name.client).is_some_and(|mount| {
                let is_newest = (mount.id, mount.conn) == (name.mount, name.conn);
                (is_newest || self.planted.has(PlantedBug::AcceptStaleMount))
                    && mount.standing == Standing::Ready
            })
    }

    /// Whether an attempt of an admitted mount is a new one: within a mount sequences ascend, so
    /// that no ReqId is numbered twice whatever a client sends.
    pub fn is_new(&mut self, client: ClientId, sequence: u64) -> bool {
        self.mounts.get_mut(&client).is_some_and(|mount| {
            let new = mount.sequence.is_none_or(|last| last < sequence);
            mount.sequence = mount.sequence.max(Some(sequence));
            new
        })
    }

    /// A quorum round begun for [`MountsOutput::Confirm`] has succeeded; `mark` is the session's
    /// high-water mark then.
    ///
    /// # Panics
    /// When `mark` is beyond what was said to be [committed](Self::committed).
    pub fn confirmed(&mut self, round: u64, mark: Mark, out: &mut Outputs) {
        assert!(mark <= self.committed, "{mark} is confirmed before it is committed");
        let Some((clients, calls)) = self.rounds.succeeded(round) else {
            return;
        };
        for call in calls {
            out.push(reply(call.conn, ServerReply::Current { call: call.call, mark }));
        }
        for client in clients {
            self.confirm_mount(client, mark, out);
        }
        self.begin_round(out);
    }

    fn confirm_mount(&mut self, client: ClientId, mark: Mark, out: &mut Outputs) {
        let Some(mount) = self.mounts.get_mut(&client) else {
            return;
        };
        let Standing::Unconfirmed { after, sequenced, .. } = mount.standing else {
            return;
        };
        if after > mark {
            let (conn, id) = (mount.conn, mount.id);
            self.remove(client);
            let reason = MountRefusal::AheadOfLog { client: after, log: mark };
            out.push(self.unmounted(conn, id, reason));
            return;
        }
        let target = match self.planted.has(PlantedBug::ReadyWithoutDrain) {
            true => mark,
            false => sequenced.max(mark),
        };
        mount.standing = Standing::Confirmed { target };
        self.feed(client, out);
    }

    /// The log's start has moved: mounts that were not fed what was trimmed end, unless there is an
    /// archive.
    pub fn trimmed(&mut self, start: Mark, out: &mut Outputs) {
        if start <= self.start {
            return;
        }
        self.start = start;
        if self.has_archive() {
            self.look_in_archive();
            return self.begin_reads(out);
        }
        let behind = self.mounts.iter().filter(|(_, mount)| mount.fed() < start);
        let behind: Vec<_> =
            behind.map(|(client, mount)| (*client, mount.conn, mount.id)).collect();
        for (client, conn, id) in behind {
            self.remove(client);
            out.push(self.unmounted(conn, id, MountRefusal::Trimmed { start }));
        }
        self.begin_reads(out);
    }

    /// Whether this record is the next to be committed.
    pub fn is_next(&self, id: TransactionId) -> bool {
        self.committed.next() == id
    }

    /// Whether a quorum round is under way.
    pub fn awaits_round(&self) -> bool {
        self.rounds.is_under_way()
    }

    /// The session is over: everyone is told, every call is answered. Held conflicts are not told;
    /// the client's next mount decides them.
    pub fn end(self, reason: MountRefusal, out: &mut Outputs) {
        for mount in self.mounts.values() {
            out.push(self.unmounted(mount.conn, mount.id, reason.clone()));
        }
        self.end_calls(out);
    }

    /// The mount of this name, if it is the one that counts.
    fn mount_named(&mut self, name: MountName) -> Option<&mut Mount> {
        let mount = self.mounts.get_mut(&name.client)?;
        ((mount.id, mount.conn) == (name.mount, name.conn)).then_some(mount)
    }

    /// Takes a client's mount out of everything.
    fn remove(&mut self, client: ClientId) {
        let Some(mount) = self.mounts.remove(&client) else {
            return;
        };
        self.connections.remove(&(mount.conn, client));
        self.at_head.remove(&client);
        self.stuck.remove(&client);
        self.unarchived.remove(&client);
        self.recent.remove_feed(mount.mode);
        if let Standing::Unconfirmed { round, .. } = mount.standing {
            self.rounds.remove_mount(round, client);
        }
        if mount.source == Source::Waiting {
            self.reads.cancel_feed(client);
        }
    }

    fn begin_round(&mut self, out: &mut Outputs) {
        if let Some(round) = self.rounds.begin() {
            out.push(MountsOutput::Confirm { round });
        }
    }

    fn unmounted(&self, conn: ConnectionId, mount: MountId, reason: MountRefusal) -> MountsOutput {
        reply(conn, ServerReply::Unmounted { partition: self.partition, mount, reason })
    }
}

fn reply(conn: ConnectionId, reply: ServerReply) -> MountsOutput {
    MountsOutput::Reply { conn, reply, payload: Bytes::new() }
}
