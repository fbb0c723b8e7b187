//! What a loop needs of the world around a machine. Everything is polled, so a loop is `Send`
//! exactly when its parts are.

use std::fmt;
use std::future::Future;
use std::task::{Context, Poll};

use bytes::Bytes;
use waltz_core::access::Identity;
use waltz_core::io::{
    Address, ArchiveFailure, ArchiveRead, ArchiveTicket, ConnectionId, CoordinatorEvent, Ticket,
};
use waltz_core::journal::{Entry, Place};
use waltz_core::measure::Measurements;
use waltz_core::time::Time;
use waltz_core::tls::TlsFiles;
use waltz_core::wire::{Frame, ToCoordinator};

/// Something that happened on the network.
#[derive(Debug)]
pub enum NetEvent {
    /// A dial succeeded, or another process connected.
    Opened {
        /// The connection.
        conn: ConnectionId,
        /// Whom the other end has proved to be.
        identity: Option<Identity>,
    },
    /// A whole frame came. Within one connection frames come in the order they were sent.
    Received {
        /// The connection.
        conn: ConnectionId,
        /// The frame, split by [`waltz_core::wire::split_frame`].
        frame: Frame,
    },
    /// The connection ended, could not be made, or sent what is no frame. Its last event.
    Closed {
        /// The connection.
        conn: ConnectionId,
        /// Why, for people.
        reason: String,
    },
}

/// Connections of one process. Bounded: a transport stops reading a connection whose frames the
/// loop has not taken yet.
pub trait Net: Send + 'static {
    /// Starts dialling; `Opened` or `Closed` follows.
    fn connect(&mut self, conn: ConnectionId, address: &Address);
    /// Queues a frame; nothing is written before `flush`.
    fn send(&mut self, conn: ConnectionId, frame: Frame);
    /// Closes after what was queued is written. No `Closed` event follows.
    fn close(&mut self, conn: ConnectionId);
    /// Bounds a connection no longer in what it may bring: a node of the cluster is at its other
    /// end. A transport that bounds nobody has nothing to do.
    fn lift_bounds(&mut self, _conn: ConnectionId) {}
    /// Writes what was queued: one vectored write a connection, the rest when it is writable.
    fn flush(&mut self);
    /// Ready as soon as at least one event was pushed to `events`.
    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<NetEvent>) -> Poll<()>;
}

/// Something the journal did.
#[derive(Debug)]
pub enum JournalEvent {
    /// See [`waltz_core::io::Input::Durable`].
    Durable {
        /// The highest durable ticket.
        up_to: Ticket,
        /// Places of the bodies among the newly durable entries.
        places: Vec<(Ticket, Place)>,
    },
    /// See [`waltz_core::io::Input::JournalFailed`].
    Failed {
        /// What failed.
        error: String,
    },
    /// See [`waltz_core::io::Input::Read`].
    Read {
        /// The read.
        ticket: Ticket,
        /// The bodies, unverified.
        result: Result<Vec<Bytes>, String>,
    },
    /// See [`waltz_core::io::Input::Space`].
    Space {
        /// There is no room.
        is_full: bool,
    },
}

/// The loop's end of the way to the journal.
pub trait JournalPort: Send + 'static {
    /// Queues an entry; it goes out with `flush`.
    fn append(&mut self, entry: Entry, ticket: Ticket);
    /// Says that no segment below this number is needed any more: neither its entries nor its
    /// bodies. It goes out with `flush`. The segment being written stays in any case.
    fn release(&mut self, below: u32);
    /// Says that a later recovery may begin with this segment, as a checkpoint begins in it that is
    /// durable and was read back. It goes out with `flush`.
    fn replay_from(&mut self, segment: u32);
    /// Asks for bodies.
    fn read(&mut self, ticket: Ticket, places: Vec<Place>);
    /// Hands what was queued to the journal as one batch.
    fn flush(&mut self);
    /// Ready as soon as at least one event was pushed to `events`.
    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<JournalEvent>) -> Poll<()>;
}

/// The loop's end of the way to a coordinator that is no node of the cluster.
///
/// It asks and answers as the embedded coordinator does, which is its specification: one conformance
/// suite runs against all of them. It bounds what it holds: who does not take answers is told that the
/// coordinator is lost.
pub trait CoordinatorPort: fmt::Debug + Send + 'static {
    /// Asks; in order after what was asked before.
    fn ask(&mut self, request: ToCoordinator);
    /// Ready as soon as at least one event was pushed to `events`. The first is that it is connected.
    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<CoordinatorEvent>) -> Poll<()>;
    /// Ready once everything that was asked has ended. Its node stops, and waits for that a while.
    fn poll_finished(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A read of the archive that ended; see [`waltz_core::io::Input::ArchiveRead`].
#[derive(Debug)]
pub struct ArchiveEvent {
    /// The read.
    pub ticket: ArchiveTicket,
    /// Records, unverified.
    pub result: Result<Bytes, ArchiveFailure>,
}

/// The loop's end of the way to the archive of trimmed records. It bounds what it holds: reads that
/// are too many fail.
pub trait ArchivePort: fmt::Debug + Send + 'static {
    /// Asks for records; exactly one event follows.
    fn read(&mut self, ticket: ArchiveTicket, read: ArchiveRead);
    /// Ready as soon as at least one event was pushed to `events`.
    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<ArchiveEvent>) -> Poll<()>;
}

/// The loop's end of the way to whoever watches the node from outside.
pub trait Observer: fmt::Debug + Send + 'static {
    /// Answers everyone who has asked, with what the node says of itself now, and wakes the loop when
    /// somebody asks. No input comes of it: a node that is watched does what one that is not does.
    fn poll(&mut self, cx: &mut Context<'_>, measure: &dyn Fn() -> Measurements);
}

/// A clock and one alarm.
pub trait Timer: Send + 'static {
    /// This process' monotonic time.
    fn now(&self) -> Time;
    /// Ready once `deadline` has come. A new deadline replaces the one before; `None`: never.
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Option<Time>) -> Poll<()>;
}

/// What the client needs of a runtime; users never see it as a generic.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// Its connections.
    type Net: Net;
    /// Its clock and alarm.
    type Timer: Timer;

    /// The same, with connections that are secured by what these files hold.
    ///
    /// # Errors
    /// When the files can't be used. Runtimes without TLS say so.
    fn secured(self, files: &TlsFiles) -> Result<Self, String> {
        let path = files.authorities.display();
        Err(format!("this runtime has no TLS, and {path} was to be used for it"))
    }

    /// Runs a task until it ends.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
    /// New connections, of a process that only dials.
    fn net(&self) -> Self::Net;
    /// A new alarm.
    fn timer(&self) -> Self::Timer;
    /// 64 random bits.
    fn random(&self) -> u64;
    /// Runs work that may block: on another thread, or in place in the simulator.
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send;
}
