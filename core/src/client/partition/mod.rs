//! One partition of a client: its mount, its feed, and the appends that go through it.
//!
//! The rules that tie the three together live here and in `origin` (where the feed starts) and
//! `mount` (where it comes from); `feed` and `window` (the appends) do not know each other:
//!
//! - the own ReqId in the feed is the commit, and the loss of everything earlier of the mount; one
//!   of the own id that is not outstanding is somebody else's;
//! - `Ready` of a newer mount is the loss of everything outstanding;
//! - appends go only through a mount that is ready, and name it and its session;
//! - a session lower than one seen is not listened to.

mod feed;
mod mount;
mod origin;
mod window;

use crate::id::{Mark, MountId, PartitionId, SessionId, TransactionId};
use crate::io::{ConnectionId, Level};
use crate::record::Run;
use crate::time::Time;
use crate::wire::{AppendRefusal, ClientRequest};

use super::base::Base;
use super::call::{
    CallId, Conflict, Draft, Ending, Executed, Failure, InDoubt, Patience, Unanswered,
};
use super::io::{Attachment, ClientEffect};
use feed::Feed;
use mount::Mount;
use origin::Origin;
use window::Window;

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

impl Past {
    /// Mounts are numbered above those of an earlier client of the same id.
    pub(super) fn succeeding() -> Self {
        Self { mounts: 1 << 63, ..Self::default() }
    }
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
    /// When it was last reported that others mount under this client's id.
    warned: Option<Time>,
    /// It can't be mounted at all.
    broken: Option<Failure>,
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
            warned: None,
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

    pub(super) fn cancel(&mut self, base: &mut Base, call: CallId) {
        self.window.give_up(base, call, Failure::Cancelled);
        self.pump(base);
    }

    /// Tells what became of an attempt, now or once that is decided.
    pub(super) fn resolve(&mut self, base: &mut Base, call: CallId, in_doubt: &InDoubt) {
        if let Some(failure) = self.broken.clone() {
            return base.answer(call, Err(Unanswered::Broken(self.id(), failure)));
        }
        let ready = self.mount.is_some_and(|mount| mount.ready);
        self.window.resolve(base, call, in_doubt, ready);
    }

    fn pump(&mut self, base: &mut Base) {
        let gate = self.mount.and_then(|mount| mount.gate());
        self.window.pump(base, gate.as_ref(), self.feed.applied);
    }

    fn fail(&mut self, base: &mut Base, failure: Failure) {
        base.report(Level::Error, Some(self.id()), failure.to_string());
        self.window.end_all(base, &failure);
        let attachment = self.attachment;
        base.push(ClientEffect::Broken { attachment, failure: failure.clone() });
        self.broken = Some(failure);
    }

    // What the server says about transactions.

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
                && let Some(call) = self.window.committed(base, req_id.sequence, record.id())
            {
                self.feed.own(record.id(), call);
            }
        }
        self.window.seen(new.last());
        Ok(())
    }

    pub(super) fn on_conflict(&mut self, base: &mut Base, sequence: u64, conflict: Conflict) {
        self.window.conflict(base, sequence, conflict, self.feed.applied);
    }

    /// Appends of these sequences were refused.
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
        self.ask_when_due(base);
        self.nudge(base);
        let unready = self.unready_since().map(|since| (since, self.problem.as_str()));
        self.window.on_timer(base, unready);
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
