//! One partition of a client: its mount, its feed, and the appends that go through it.
//!
//! The rules that tie the three together live here:
//!
//! - the own ReqId in the feed is the commit, and the loss of everything earlier of the mount;
//! - `Ready` of a newer mount is the loss of everything outstanding;
//! - appends go only through a mount that is ready, and name it and its session;
//! - a session lower than one seen is not listened to.

mod feed;
mod window;

use std::time::Duration;

use crate::id::{Generation, Mark, MountId, NodeId, PartitionId, SessionId, TransactionId};
use crate::io::{ConnectionId, Level};
use crate::record::Run;
use crate::time::Time;
use crate::wire::{AppendRefusal, ClientRequest, MountRefusal};

use super::base::Base;
use super::call::{CallId, Conflict, Draft, Ending, Executed, Failure, Patience, Start};
use super::io::{Attachment, ClientEffect};
use feed::Feed;
use window::{Gate, Window};

/// The first pause before mounting again after a refusal; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What a peer did that the protocol does not allow; its connection is closed.
#[derive(Debug)]
pub(super) struct Violation(pub(super) String);

/// What never starts over in a client's life, however often it attaches to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Past {
    /// Numbers the mounts.
    mounts: u64,
    /// Numbers the records sent.
    next_sequence: u64,
    /// The highest session seen.
    session: Option<SessionId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partition {
    attachment: Attachment,
    origin: Origin,
    feed: Feed,
    window: Window,
    mount: Option<Mount>,
    /// Numbers the mounts.
    mounts: u64,
    /// The highest session seen.
    session: Option<SessionId>,
    /// Not to be mounted again before this.
    retry_at: Time,
    refusals: u32,
    /// Since when no mount is ready.
    unready_since: Time,
    /// Why it is not mounted, for people.
    problem: String,
    /// What a server said was trimmed, and the feed had not brought: the application may know more
    /// than its feed, as where instances share a database.
    trimmed: Option<Mark>,
    /// It can't be mounted at all.
    broken: Option<Failure>,
}

/// Whether it is known where the feed starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The application is asked.
    Asked,
    /// It is to be asked again.
    AskAt(Time),
    /// A server is to be asked for the newest mark.
    Newest,
    Known,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mount {
    conn: ConnectionId,
    node: NodeId,
    id: MountId,
    generation: Generation,
    session: Option<SessionId>,
    ready: bool,
    /// When the server last said anything about it before it was ready.
    heard: Time,
}

impl Mount {
    fn gate(&self) -> Option<Gate> {
        let session = self.session.filter(|_| self.ready)?;
        Some(Gate { conn: self.conn, mount: self.id, session, generation: self.generation })
    }
}

impl Partition {
    pub(super) fn new(base: &mut Base, attachment: Attachment, past: Past) -> Self {
        base.push(ClientEffect::Begin { attachment });
        Self {
            attachment,
            origin: Origin::Asked,
            feed: Feed::new(attachment, Mark::NONE),
            window: Window::new(attachment.partition, past.next_sequence),
            mount: None,
            mounts: past.mounts,
            session: past.session,
            retry_at: base.now,
            refusals: 0,
            unready_since: base.now,
            problem: "the application has not said where its database stands".to_owned(),
            trimmed: None,
            broken: None,
        }
    }

    fn id(&self) -> PartitionId {
        self.attachment.partition
    }

    pub(super) fn attachment(&self) -> Attachment {
        self.attachment
    }

    /// What the application has applied, once it is known where that starts.
    pub(super) fn applied(&self) -> Option<Mark> {
        (self.origin == Origin::Known).then_some(self.feed.applied)
    }

    /// Why it can't be mounted at all, if that is so.
    pub(super) fn broken(&self) -> Option<&Failure> {
        self.broken.as_ref()
    }

    pub(super) fn has_older(&self, before: CallId) -> bool {
        self.window.has_older(before)
    }

    /// Since when no mount is ready, if one is wanted.
    pub(super) fn unready_since(&self) -> Option<Time> {
        let ready = self.mount.is_some_and(|mount| mount.ready);
        (!ready && self.broken.is_none()).then_some(self.unready_since)
    }

    // Calls.

    pub(super) fn submit(&mut self, base: &mut Base, call: CallId, patience: Patience) {
        if let Some(failure) = self.broken.clone() {
            return base.end(call, Ending::Failed(failure));
        }
        self.window.submit(base, call, patience);
        self.pump(base);
    }

    pub(super) fn append(
        &mut self,
        base: &mut Base,
        call: CallId,
        draft: Draft,
        at: Option<Mark>,
        patience: Patience,
    ) {
        if let Some(failure) = self.broken.clone() {
            return base.end(call, Ending::Failed(failure));
        }
        self.window.append(base, call, draft, at, patience);
        self.pump(base);
    }

    pub(super) fn executed(&mut self, base: &mut Base, call: CallId, result: Executed) {
        let gate = self.mount.and_then(|mount| mount.gate());
        self.window.executed(base, gate.as_ref(), call, result);
        self.pump(base);
    }

    fn pump(&mut self, base: &mut Base) {
        let gate = self.mount.and_then(|mount| mount.gate());
        self.window.pump(base, gate.as_ref(), self.feed.applied);
    }

    // Where the feed starts.

    pub(super) fn began(&mut self, base: &mut Base, start: Result<Start, String>) {
        if self.origin != Origin::Asked {
            return;
        }
        if let (Ok(start), Some(trimmed)) = (&start, self.trimmed) {
            let knows = match start {
                Start::After(mark) => *mark,
                Start::Newest => self.feed.received,
            };
            if knows < trimmed {
                return self.fail(base, Failure::Trimmed { client: knows, start: trimmed });
            }
        }
        match start {
            Ok(Start::After(mark)) => self.start(base, mark),
            Ok(Start::Newest) => self.origin = Origin::Newest,
            Err(error) => {
                let pause = self.next_pause(base);
                self.origin = Origin::AskAt(base.now + pause);
                base.wake_by(base.now + pause);
                self.problem = format!("the application can't tell its high-water mark: {error}");
                base.report(Level::Warning, Some(self.id()), self.problem.clone());
            }
        }
    }

    /// Whether a server is to be asked for the newest mark.
    pub(super) fn wants_newest(&self) -> bool {
        self.origin == Origin::Newest
    }

    /// The answer to that.
    pub(super) fn newest(&mut self, base: &mut Base, mark: Mark) {
        if self.origin == Origin::Newest {
            self.start(base, mark);
        }
    }

    /// Asks the application again where its database stands. Of what is outstanding nobody can tell
    /// whether it is among what was trimmed.
    pub(super) fn begin_again(&mut self, base: &mut Base, attachment: Attachment) {
        self.window.doubt(base);
        self.feed.end(base);
        base.push(ClientEffect::Detach { attachment: self.attachment });
        base.push(ClientEffect::Begin { attachment });
        self.attachment = attachment;
        self.origin = Origin::Asked;
    }

    fn start(&mut self, base: &mut Base, mark: Mark) {
        self.origin = Origin::Known;
        self.trimmed = None;
        self.feed = Feed::new(self.attachment, mark);
        self.window.start(mark);
        "no server has been reached yet".clone_into(&mut self.problem);
        base.push(ClientEffect::Attached { attachment: self.attachment, mark });
    }

    // The mount.

    /// Mounts, or goes with a changed assignment. `owner`: who serves it and its open connection.
    pub(super) fn follow(
        &mut self,
        base: &mut Base,
        owner: Option<(NodeId, Generation)>,
        conn: Option<ConnectionId>,
    ) {
        if let Some(mount) = self.mount
            && owner.is_some_and(|owner| owner != (mount.node, mount.generation))
        {
            let (partition, id) = (self.id(), mount.id);
            base.ask(mount.conn, ClientRequest::Unmount { partition, mount: id });
            self.unmount(base, "the partition's assignment changed".to_owned());
            self.retry_at = base.now;
        }
        if self.mount.is_some() || self.origin != Origin::Known || self.broken.is_some() {
            return;
        }
        if self.retry_at > base.now {
            return base.wake_by(self.retry_at);
        }
        match (owner, conn) {
            (Some((node, generation)), Some(conn)) => self.mount_at(base, node, generation, conn),
            (Some((node, _)), None) => self.problem = format!("its server {node} is not reached"),
            (None, _) => "no server is assigned to it".clone_into(&mut self.problem),
        }
    }

    fn mount_at(
        &mut self,
        base: &mut Base,
        node: NodeId,
        generation: Generation,
        conn: ConnectionId,
    ) {
        self.mounts += 1;
        let id = MountId(self.mounts);
        base.ask(
            conn,
            ClientRequest::Mount {
                partition: self.id(),
                generation,
                mount: id,
                after: self.feed.received,
                mode: base.config.feed,
                credit: self.feed.mounted(base),
            },
        );
        self.problem = format!("its server {node} does not answer");
        base.wake_by(base.now + base.config.nudge_interval);
        let heard = base.now;
        let mount = Mount { conn, node, id, generation, session: None, ready: false, heard };
        self.mount = Some(mount);
    }

    fn unmount(&mut self, base: &mut Base, why: String) {
        if self.mount.take().is_some_and(|mount| mount.ready) {
            self.unready_since = base.now;
        }
        self.problem = why;
        self.window.closed(base);
        self.pump(base);
    }

    /// A connection is gone.
    pub(super) fn lost(&mut self, base: &mut Base, conn: ConnectionId) {
        if self.mount.is_some_and(|mount| mount.conn == conn) {
            self.unmount(base, "the connection to its server was lost".to_owned());
        }
    }

    fn next_pause(&mut self, base: &mut Base) -> Duration {
        let longest = (FIRST_PAUSE * (1 << self.refusals.min(6))).min(LONGEST_PAUSE);
        self.refusals += 1;
        base.random.between(longest / 2, longest)
    }

    /// The current mount, if it is this one.
    fn mounted(&mut self, base: &Base, conn: ConnectionId, id: MountId) -> Option<&mut Mount> {
        let mount = self.mount.as_mut().filter(|mount| mount.conn == conn && mount.id == id)?;
        mount.heard = base.now;
        Some(mount)
    }

    // What the server says.

    pub(super) fn on_mounted(
        &mut self,
        base: &Base,
        conn: ConnectionId,
        id: MountId,
        session: SessionId,
    ) -> Result<(), Violation> {
        let highest = self.session;
        let Some(mount) = self.mounted(base, conn, id) else { return Ok(()) };
        if highest.is_some_and(|highest| session < highest) {
            return Err(Violation(format!("session {session} is over: a later one was seen")));
        }
        if mount.session.is_some_and(|before| before != session) {
            return Err(Violation("one mount was given two sessions".to_owned()));
        }
        mount.session = Some(session);
        self.session = Some(session);
        Ok(())
    }

    /// Whether the application is to be asked again where its database stands.
    pub(super) fn on_unmounted(
        &mut self,
        base: &mut Base,
        conn: ConnectionId,
        id: MountId,
        reason: &MountRefusal,
    ) -> bool {
        if self.mounted(base, conn, id).is_none() {
            return false;
        }
        self.unmount(base, reason.to_string());
        match *reason {
            MountRefusal::AheadOfLog { client, log } => {
                self.fail(base, Failure::AheadOfLog { client, log });
            }
            MountRefusal::Trimmed { start } => self.trimmed = Some(start),
            _ => self.retry_at = base.now + self.next_pause(base),
        }
        self.trimmed.is_some()
    }

    fn fail(&mut self, base: &mut Base, failure: Failure) {
        base.report(Level::Error, Some(self.id()), failure.to_string());
        self.window.end_all(base, &failure);
        self.broken = Some(failure);
    }

    pub(super) fn on_feed(
        &mut self,
        base: &mut Base,
        conn: ConnectionId,
        id: MountId,
        first: TransactionId,
        count: u32,
        payload: bytes::Bytes,
    ) -> Result<(), Violation> {
        let Some(mount) = self.mounted(base, conn, id) else { return Ok(()) };
        let Some(session) = mount.session else {
            return Err(Violation("a feed before its mount was made".to_owned()));
        };
        let limits = base.config.limits;
        let run = Run::verify(session, first, count, payload, &limits)
            .map_err(|error| Violation(format!("a feed can't be read: {error}")))?;
        let Some(new) = self.feed.receive(base, &run).map_err(Violation)? else { return Ok(()) };
        for record in new.records() {
            let req_id = record.req_id();
            if req_id.partition != self.attachment.partition {
                return Err(Violation("a feed brings another partition's record".to_owned()));
            }
            if req_id.client == base.id
                && let Some(call) = self.window.committed(base, req_id.sequence)
            {
                self.feed.own(record.id(), call);
            }
        }
        Ok(())
    }

    pub(super) fn on_ready(
        &mut self,
        base: &mut Base,
        conn: ConnectionId,
        id: MountId,
        session: SessionId,
        mark: Mark,
    ) -> Result<(), Violation> {
        let received = self.feed.received;
        let Some(mount) = self.mounted(base, conn, id) else { return Ok(()) };
        if mount.session != Some(session) {
            return Err(Violation("ready in another session than mounted".to_owned()));
        }
        if mark > received {
            return Err(Violation(format!("ready at {mark}, and fed only up to {received}")));
        }
        if mount.ready {
            return Ok(());
        }
        mount.ready = true;
        self.refusals = 0;
        self.window.settle(base);
        Ok(())
    }

    pub(super) fn on_conflict(&mut self, base: &mut Base, sequence: u64, conflict: Conflict) {
        self.window.conflict(base, sequence, conflict, self.feed.applied);
    }

    pub(super) fn on_refused(
        &mut self,
        base: &mut Base,
        conn: ConnectionId,
        id: MountId,
        (first, last): (u64, u64),
        reason: &AppendRefusal,
    ) {
        self.window.refused(base, first, last, reason);
        // The server does not know this mount: a newer one will do.
        if *reason == AppendRefusal::Stale && self.mounted(base, conn, id).is_some() {
            self.unmount(base, reason.to_string());
            self.retry_at = base.now + self.next_pause(base);
        }
    }

    // Time, and the end of a turn.

    pub(super) fn on_applied(&mut self, base: &mut Base, mark: Mark, failed: bool) {
        self.feed.on_applied(base, mark, failed);
        self.window.applied(base, mark);
    }

    pub(super) fn on_timer(&mut self, base: &mut Base) {
        if let Origin::AskAt(time) = self.origin {
            if time <= base.now {
                self.origin = Origin::Asked;
                base.push(ClientEffect::Begin { attachment: self.attachment });
            } else {
                base.wake_by(time);
            }
        }
        self.nudge(base);
        let unready = self.unready_since().map(|since| (since, self.problem.as_str()));
        self.window.on_timer(base, unready);
    }

    /// Mounts again when nothing is heard: what got lost is found by that, and by nothing else.
    fn nudge(&mut self, base: &mut Base) {
        let Some(mount) = &self.mount else { return };
        let quiet_since = if mount.ready { self.window.stuck_since() } else { Some(mount.heard) };
        let Some(due) = quiet_since.map(|since| since + base.config.nudge_interval) else { return };
        if due > base.now {
            return base.wake_by(due);
        }
        self.unmount(base, "its server has gone quiet".to_owned());
        self.retry_at = base.now;
    }

    /// Sends what this turn brought together, and lets the application work.
    pub(super) fn end_of_turn(&mut self, base: &mut Base) {
        self.pump(base);
        if let Some(mount) = self.mount {
            if let Some(gate) = mount.gate() {
                self.window.send(base, &gate);
            }
            self.feed.grant(base, mount.conn, mount.id);
        }
        self.feed.pump(base);
    }

    /// Ends every call; the partition is no longer wanted.
    pub(super) fn detach(mut self, base: &mut Base, failure: &Failure) -> Past {
        if let Some(mount) = self.mount.take() {
            let (partition, id) = (self.id(), mount.id);
            base.ask(mount.conn, ClientRequest::Unmount { partition, mount: id });
        }
        self.window.end_all(base, failure);
        self.feed.end(base);
        base.push(ClientEffect::Detach { attachment: self.attachment });
        let next_sequence = self.window.next_sequence();
        Past { mounts: self.mounts, next_sequence, session: self.session }
    }
}
