//! The loop's end of one connection: what is to be written, and writing it.

use std::io::ErrorKind;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{oneshot, watch};
use waltz_core::wire::Frame;

use super::outgoing::Outgoing;
use super::stream::WriteHalf;

/// One connection. Dropping it ends the connection's task and its sending direction.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    outgoing: Outgoing,
    /// The socket took no more: only its becoming writable is worth another attempt.
    blocked: bool,
    /// Dropped to tell the task that nothing it reads is wanted any more.
    stop: Option<oneshot::Sender<()>>,
    /// Tells the task that it is bound no longer; one that was dialled never is.
    lifted: Option<watch::Sender<bool>>,
}

#[derive(Debug)]
enum Socket {
    /// Being dialled.
    Dialing,
    /// Made.
    Open(WriteHalf),
    /// Writing failed. What the peer sent before it left may still be read, so the connection
    /// is over only when its task says so.
    Failed,
}

impl Connection {
    pub(super) fn dialing(stop: oneshot::Sender<()>) -> Self {
        let outgoing = Outgoing::default();
        let socket = Socket::Dialing;
        Self { socket, outgoing, blocked: false, stop: Some(stop), lifted: None }
    }

    pub(super) fn accepted(
        write: WriteHalf,
        stop: oneshot::Sender<()>,
        lifted: watch::Sender<bool>,
    ) -> Self {
        Self { socket: Socket::Open(write), lifted: Some(lifted), ..Self::dialing(stop) }
    }

    pub(super) fn lift_bounds(&self) {
        if let Some(lifted) = &self.lifted {
            lifted.send_replace(true);
        }
    }

    pub(super) fn opened(&mut self, write: WriteHalf) {
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
        match &self.socket {
            Socket::Open(WriteHalf::Plain(_)) => self.write_plain(),
            // Who waits for the socket asks again with a waker of its own.
            Socket::Open(WriteHalf::Secured(_)) => {
                let _ = self.poll_write_secured(&mut Context::from_waker(Waker::noop()));
            }
            Socket::Dialing | Socket::Failed => {}
        }
    }

    /// Goes on writing when the socket has room again. Ready once nothing is left to be written.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.blocked {
            match &self.socket {
                Socket::Open(WriteHalf::Plain(socket)) => {
                    match ready!(socket.as_ref().poll_write_ready(cx)) {
                        Ok(()) => self.write_plain(),
                        Err(_) => self.fail(),
                    }
                }
                Socket::Open(WriteHalf::Secured(_)) => return self.poll_write_secured(cx),
                Socket::Dialing | Socket::Failed => break,
            }
        }
        Poll::Ready(())
    }

    fn write_plain(&mut self) {
        let Socket::Open(WriteHalf::Plain(socket)) = &self.socket else { return };
        self.blocked = false;
        while !self.outgoing.is_empty() {
            match write_once(socket, &mut self.outgoing) {
                Ok(()) => {}
                Err(ErrorKind::Interrupted) => {}
                Err(ErrorKind::WouldBlock) => {
                    self.blocked = true;
                    return;
                }
                Err(_) => return self.fail(),
            }
        }
    }

    fn poll_write_secured(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Socket::Open(WriteHalf::Secured(socket)) = &mut self.socket else {
            return Poll::Ready(());
        };
        self.blocked = true;
        match ready!(socket.poll_write_all(cx, &mut self.outgoing)) {
            Ok(()) => self.blocked = false,
            Err(_) => self.fail(),
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

fn write_once(socket: &OwnedWriteHalf, outgoing: &mut Outgoing) -> Result<(), ErrorKind> {
    match socket.try_write_vectored(&outgoing.next_write()) {
        Ok(0) => Err(ErrorKind::WriteZero),
        Ok(written) => {
            outgoing.advance(written);
            Ok(())
        }
        Err(error) => Err(error.kind()),
    }
}
