//! Connections over TCP, secured by TLS where that is configured.
//!
//! Each connection has a task that reads and splits frames; the loop writes by itself, so that a
//! frame leaves without a detour. What one connection may hold is bounded both ways: one whose
//! frames are not taken is not read, one that does not read is closed. Clients are bound in how fast
//! they may send, and in what they may hold of frames that are not whole (`bounds.rs`).
//!
//! ```text
//!   socket ─▶ task of the connection ─▶ inbox ─▶ poll ─▶ loop
//!   socket ◀──────────── flush ◀── outgoing ◀── send ◀──┘
//! ```

mod admission;
mod bounds;
#[cfg(test)]
mod bounds_tests;
mod connection;
mod inbox;
#[cfg(test)]
mod limit_tests;
mod listener;
mod outgoing;
mod reader;
mod stream;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use waltz_core::io::{Address, ConnectionId};
use waltz_core::limits::Limits;
use waltz_core::rate::Rates;
use waltz_core::wire::Frame;
use waltz_runtime::{Net, NetEvent};

use bounds::FrameRoom;
use connection::Connection;
use inbox::{Arrival, Inbox};
use listener::Accepting;

use crate::tls::Tls;

/// How connections behave.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// What a frame may be at most; a longer one closes its connection.
    pub limits: Limits,
    /// The most bytes a connection may have waiting to be sent before it is closed.
    pub outgoing_bytes: usize,
    /// The most bytes of frames a connection may have waiting for the loop before it is no longer
    /// read; a single read may exceed it alone.
    pub incoming_bytes: usize,
    /// The most bytes that all connections together may have waiting for the loop. Where others
    /// dial, half of it is for frames: when they wait for the loop, no connection is read, though a
    /// single read may exceed it alone. The other half is for what accepted connections have of
    /// frames that are not whole, beyond 32 KiB each.
    pub incoming_bytes_in_all: usize,
    /// How fast an accepted connection is read, until its bounds are lifted.
    pub rates: Rates,
    /// How many connections may be accepted at the same time; more are closed at once.
    pub connections: usize,
    /// How many of them may come from one address.
    pub connections_per_address: usize,
    /// How many TLS handshakes of accepted connections may be under way; more wait to be accepted.
    pub handshakes: usize,
    /// What secures every connection; none: they are plain.
    pub tls: Option<Tls>,
    /// How long a dial may take, its TLS handshake included.
    pub connect_timeout: Duration,
    /// How long the TLS handshake of an accepted connection may take.
    pub handshake_timeout: Duration,
    /// How long the peer has to take what was queued when a connection is closed.
    pub close_timeout: Duration,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            outgoing_bytes: 64 << 20,
            incoming_bytes: 1 << 20,
            incoming_bytes_in_all: 256 << 20,
            rates: Rates::default(),
            connections: 10_000,
            connections_per_address: 2_000,
            handshakes: 128,
            tls: None,
            connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
        }
    }
}

impl From<Limits> for NetConfig {
    fn from(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }
}

/// All connections of one node or client. Must be used inside a tokio runtime that has I/O and
/// time enabled. Dropping it ends them all, without waiting for what was queued.
#[derive(Debug)]
pub struct TcpNet {
    config: Arc<NetConfig>,
    inbox: Arc<Inbox>,
    connections: HashMap<ConnectionId, Connection>,
    /// Those that were given something to write since the last flush.
    queued: Vec<ConnectionId>,
    /// Those whose socket took no more.
    blocked: Vec<ConnectionId>,
    /// Ended by this side, not yet told to the loop.
    ended: Vec<NetEvent>,
    /// What was taken from the inbox; empty between polls, kept for its memory.
    arrivals: Vec<Arrival>,
    accepting: Option<JoinHandle<()>>,
    /// What accepted connections share for long frames.
    room: Arc<FrameRoom>,
}

impl TcpNet {
    /// Connections of a process that only dials.
    pub fn dialing(config: impl Into<NetConfig>) -> Self {
        let config = config.into();
        Self::new(config.incoming_bytes_in_all, 0, config)
    }

    /// So many bytes may wait in whole frames, and so many in what is none yet.
    fn new(whole_bytes: usize, unfinished_bytes: usize, config: NetConfig) -> Self {
        Self {
            inbox: Arc::new(Inbox::new(config.incoming_bytes, whole_bytes)),
            room: Arc::new(FrameRoom::new(unfinished_bytes)),
            config: Arc::new(config),
            connections: HashMap::new(),
            queued: Vec::new(),
            blocked: Vec::new(),
            ended: Vec::new(),
            arrivals: Vec::new(),
            accepting: None,
        }
    }

    /// Connections of a process that others dial too. The listener is a plain one, so that a port
    /// in use is found out before any thread or runtime is started.
    ///
    /// # Errors
    /// When the listener can't be used without blocking, or registered with the runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O enabled.
    pub fn listening(
        listener: std::net::TcpListener,
        config: impl Into<NetConfig>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let config = config.into();
        let half = config.incoming_bytes_in_all / 2;
        let mut net = Self::new(config.incoming_bytes_in_all - half, half, config);
        let (inbox, config, room) = (net.inbox.clone(), net.config.clone(), net.room.clone());
        let accepting = Accepting { inbox, config, room };
        net.accepting = Some(tokio::spawn(listener::accept(listener, accepting)));
        Ok(net)
    }

    fn end_overflowing(&mut self, conn: ConnectionId, bytes: usize) {
        self.connections.remove(&conn);
        let limit = self.config.outgoing_bytes;
        let reason =
            format!("the peer does not read: {bytes} bytes wait to be sent, the limit is {limit}");
        self.ended.push(NetEvent::Closed { conn, reason });
    }

    fn take_in(&mut self, arrival: Arrival, events: &mut Vec<NetEvent>) {
        match arrival {
            Arrival::Accepted { conn, write, identity, stop, lifted } => {
                self.connections.insert(conn, Connection::accepted(write, stop, lifted));
                events.push(NetEvent::Opened { conn, identity });
            }
            Arrival::Dialed { conn, write, identity } => {
                let Some(connection) = self.connections.get_mut(&conn) else { return };
                connection.opened(write);
                if connection.queued_bytes() > 0 {
                    write_now(conn, connection, &mut self.blocked);
                }
                events.push(NetEvent::Opened { conn, identity });
            }
            Arrival::Received { conn, frames } => {
                if self.connections.contains_key(&conn) {
                    let received = |frame| NetEvent::Received { conn, frame };
                    events.extend(frames.into_iter().map(received));
                }
            }
            Arrival::Closed { conn, reason } => {
                if self.connections.remove(&conn).is_some() {
                    events.push(NetEvent::Closed { conn, reason });
                }
            }
        }
    }
}

impl Net for TcpNet {
    fn connect(&mut self, conn: ConnectionId, address: &Address) {
        let (stop, stopped) = oneshot::channel();
        let earlier = self.connections.insert(conn, Connection::dialing(stop));
        assert!(earlier.is_none(), "a connection is dialled once");
        let (inbox, config) = (self.inbox.clone(), self.config.clone());
        tokio::spawn(reader::dial(conn, address.clone(), stopped, inbox, config));
    }

    fn send(&mut self, conn: ConnectionId, frame: Frame) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if connection.queued_bytes() == 0 {
            self.queued.push(conn);
        }
        connection.queue(&frame);
        let bytes = connection.queued_bytes();
        if bytes > self.config.outgoing_bytes {
            self.end_overflowing(conn, bytes);
        }
    }

    fn close(&mut self, conn: ConnectionId) {
        if let Some(connection) = self.connections.remove(&conn) {
            connection.close(self.config.close_timeout);
        }
    }

    fn lift_bounds(&mut self, conn: ConnectionId) {
        if let Some(connection) = self.connections.get(&conn) {
            connection.lift_bounds();
        }
    }

    fn flush(&mut self) {
        for conn in self.queued.drain(..) {
            if let Some(connection) = self.connections.get_mut(&conn) {
                write_now(conn, connection, &mut self.blocked);
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<NetEvent>) -> Poll<()> {
        let connections = &mut self.connections;
        self.blocked.retain(|conn| {
            connections
                .get_mut(conn)
                .is_some_and(|connection| connection.poll_write(cx).is_pending())
        });
        let before = events.len();
        events.append(&mut self.ended);
        let mut arrivals = std::mem::take(&mut self.arrivals);
        while events.len() == before && self.inbox.poll_take(cx, &mut arrivals).is_ready() {
            arrivals.drain(..).for_each(|arrival| self.take_in(arrival, events));
        }
        self.arrivals = arrivals;
        if events.len() == before { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for TcpNet {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

fn write_now(conn: ConnectionId, connection: &mut Connection, blocked: &mut Vec<ConnectionId>) {
    if connection.is_blocked() {
        return; // It is among the blocked already.
    }
    connection.write();
    if connection.is_blocked() {
        blocked.push(conn);
    }
}
