//! A client's mount of a partition: made where the partition is served, ready once the feed has
//! come up to what was committed, and made again when it is refused, lost, quiet or elsewhere.

use std::time::Duration;

use super::origin::Origin;
use super::window::Gate;
use super::{Partition, Violation};
use crate::client::base::Base;
use crate::client::call::Failure;
use crate::id::{Generation, Mark, MountId, NodeId, SessionId};
use crate::io::{ConnectionId, Level};
use crate::time::Time;
use crate::wire::{ClientRequest, MountRefusal};

/// The first pause before mounting again after a refusal; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How often it is reported at most that others mount under the same id.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// One attachment to the server of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) conn: ConnectionId,
    node: NodeId,
    pub(super) id: MountId,
    generation: Generation,
    /// The one that it was made in, once its server has said so.
    pub(super) session: Option<SessionId>,
    pub(super) ready: bool,
    /// When the server last said anything about it before it was ready.
    heard: Time,
}

impl Mount {
    /// What appends go through, once it is ready.
    pub(super) fn gate(&self) -> Option<Gate> {
        let session = self.session.filter(|_| self.ready)?;
        Some(Gate { conn: self.conn, mount: self.id, session, generation: self.generation })
    }
}

impl Partition {
    /// Mounts, or goes with a changed assignment. `owner`: who serves it and its open connection.
    pub(in crate::client) fn follow(
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

    /// The mount is no more, and a newer one will do.
    pub(super) fn unmount(&mut self, base: &mut Base, why: String) {
        if self.mount.take().is_some_and(|mount| mount.ready) {
            self.unready_since = base.now;
        }
        self.problem = why;
        self.window.closed(base);
        self.pump(base);
    }

    /// A connection is gone.
    pub(in crate::client) fn lost(&mut self, base: &mut Base, conn: ConnectionId) {
        if self.mount.is_some_and(|mount| mount.conn == conn) {
            self.unmount(base, "the connection to its server was lost".to_owned());
        }
    }

    /// How long to wait after one more refusal.
    pub(super) fn next_pause(&mut self, base: &mut Base) -> Duration {
        let pause = base.pause_after(self.refusals, FIRST_PAUSE, LONGEST_PAUSE);
        self.refusals += 1;
        pause
    }

    /// The current mount, if it is this one.
    pub(super) fn mounted(
        &mut self,
        base: &Base,
        conn: ConnectionId,
        id: MountId,
    ) -> Option<&mut Mount> {
        let mount = self.mount.as_mut().filter(|mount| mount.conn == conn && mount.id == id)?;
        mount.heard = base.now;
        Some(mount)
    }

    pub(in crate::client) fn on_mounted(
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

    pub(in crate::client) fn on_ready(
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

    /// Whether the application is to be asked again where its database stands.
    pub(in crate::client) fn on_unmounted(
        &mut self,
        base: &mut Base,
        conn: ConnectionId,
        id: MountId,
        reason: &MountRefusal,
    ) -> bool {
        let Some(mount) = self.mounted(base, conn, id) else { return false };
        if *reason == MountRefusal::Replaced && mount.session.is_some() {
            self.warn_of_others(base);
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

    /// Says that others mount under this client's id, which is harmless and slow, now and then.
    fn warn_of_others(&mut self, base: &mut Base) {
        if self.warned.is_some_and(|warned| base.now < warned + WARN_EVERY) {
            return;
        }
        self.warned = Some(base.now);
        let text = "its mount was replaced: somebody asks what became of this client's attempts, \
                    or another client has the same id";
        base.report(Level::Warning, Some(self.id()), text.to_owned());
    }

    /// Mounts again when nothing is heard: what got lost is found by that, and by nothing else.
    pub(super) fn nudge(&mut self, base: &mut Base) {
        let Some(mount) = &self.mount else { return };
        let quiet_since = if mount.ready { self.window.stuck_since() } else { Some(mount.heard) };
        let Some(due) = quiet_since.map(|since| since + base.config.nudge_interval) else { return };
        if due > base.now {
            return base.wake_by(due);
        }
        self.unmount(base, "its server has gone quiet".to_owned());
        self.retry_at = base.now;
    }
}
