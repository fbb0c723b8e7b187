//! The loop's end of one connection: what is to be written, and writing it.

use std::io::ErrorKind;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::oneshot;
use waltz_core::wire::Frame;

use super::outgoing::Outgoing;

/// One connection. Dropping it ends the connection's task and its sending direction.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    outgoing: Outgoing,
    /// The socket took no more: only its becoming writable is worth another attempt.
    blocked: bool,
    /// Dropped to tell the task that nothing it reads is wanted any more.
    stop: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
enum Socket {
    /// Being dialled.
    Dialing,
    /// Made.
    Open(OwnedWriteHalf),
    /// Writing failed. What the peer sent before it left may still be read, so the connection
    /// is over only when its task says so.
    Failed,
}

impl Connection {
    pub(super) fn dialing(stop: oneshot::Sender<()>) -> Self {
        let outgoing = Outgoing::default();
        Self { socket: Socket::Dialing, outgoing, blocked: false, stop: Some(stop) }
    }

    pub(super) fn accepted(write: OwnedWriteHalf, stop: oneshot::Sender<()>) -> Self {
        Self { socket: Socket::Open(write), ..Self::dialing(stop) }
    }

    pub(super) fn opened(&mut self, write: OwnedWriteHalf) {
        assert!(matches!(self.socket, Socket::Dialing), "a dial succeeds once");
        self.socket = Socket::Open(write);
    }

    /// How much is yet to be written.
    pub(super) fn queued_bytes(&self) -> usize {
        self.outgoing.bytes()
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    pub(super) fn queue(&mut self, frame: &Frame) {
        if !matches!(self.socket, Socket::Failed) {
            self.outgoing.push(frame);
        }
    }

    /// Writes all that the socket takes now.
    pub(super) fn write(&mut self) {
        let Socket::Open(socket) = &self.socket else { return };
        self.blocked = false;
        while !self.outgoing.is_empty() {
            match socket.try_write_vectored(&self.outgoing.next_write()) {
                Ok(0) => return self.fail(),
                Ok(written) => self.outgoing.advance(written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return;
                }
                Err(_) => return self.fail(),
            }
        }
    }

    /// Goes on writing when the socket has room again. Ready once nothing is left to be written.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.blocked {
            let Socket::Open(socket) = &self.socket else { break };
            match ready!(socket.as_ref().poll_write_ready(cx)) {
                Ok(()) => self.write(),
                Err(_) => self.fail(),
            }
        }
        Poll::Ready(())
    }

    /// Ends the connection once what was queued is written, or after `timeout`.
    pub(super) fn close(mut self, timeout: Duration) {
        if !self.blocked {
            self.write();
        }
        if !self.blocked {
            return;
        }
        self.stop = None;
        tokio::spawn(async move {
            let written = std::future::poll_fn(|cx| self.poll_write(cx));
            let _ = tokio::time::timeout(timeout, written).await;
        });
    }

    fn fail(&mut self) {
        self.socket = Socket::Failed;
        self.outgoing = Outgoing::default();
        self.blocked = false;
    }
}
