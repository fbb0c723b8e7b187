//! A connection's bytes, plain or secured, and its two directions.
//!
//! The plain ones are the socket's own halves, so that TLS costs nothing where it is not used.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::TlsStream;
use waltz_core::access::Identity;

use super::outgoing::Outgoing;
use crate::tls::identity_of;

/// A connection that was made, secured if it is to be.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Secured(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whom the other end has proved to be.
    pub(super) fn identity(&self) -> Option<Identity> {
        match self {
            Self::Plain(_) => None,
            Self::Secured(stream) => identity_of(stream.get_ref().1.peer_certificates()),
        }
    }

    pub(super) fn split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Plain(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Plain(read), WriteHalf::Plain(write))
            }
            Self::Secured(stream) => {
                let (read, write) = tokio::io::split(stream);
                (ReadHalf::Secured(read), WriteHalf::Secured(SecuredWrite(write)))
            }
        }
    }
}

/// What comes in.
#[derive(Debug)]
pub(super) enum ReadHalf {
    Plain(OwnedReadHalf),
    Secured(tokio::io::ReadHalf<Box<TlsStream<TcpStream>>>),
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(read) => Pin::new(read).poll_read(cx, buffer),
            Self::Secured(read) => Pin::new(read).poll_read(cx, buffer),
        }
    }
}

/// What goes out. Dropping it ends this direction.
#[derive(Debug)]
pub(super) enum WriteHalf {
    Plain(OwnedWriteHalf),
    Secured(SecuredWrite),
}

/// The writing half of a secured connection.
#[derive(Debug)]
pub(super) struct SecuredWrite(tokio::io::WriteHalf<Box<TlsStream<TcpStream>>>);

impl SecuredWrite {
    /// Writes all that is there. Ready once the socket has it, too: what is encrypted and not
    /// written counts as not written.
    pub(super) fn poll_write_all(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &mut Outgoing,
    ) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut self.0);
        while !outgoing.is_empty() {
            match stream.as_mut().poll_write_vectored(cx, &outgoing.next_write()) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => outgoing.advance(written),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        stream.poll_flush(cx)
    }
}

impl Drop for SecuredWrite {
    /// Says goodbye, if the socket takes it: unlike the plain half this one does not do so by
    /// itself. Where it does not, the peer finds out when the whole connection is dropped.
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut self.0).poll_shutdown(&mut cx);
    }
}
