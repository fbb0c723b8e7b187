//! Connections that TLS secures.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use waltz_runtime_tokio::Tls;

/// Why connections failed last. Clones share it.
///
/// Whoever speaks through a connection may hear only that it is gone, after its end was read by
/// somebody else.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failure(Arc<Mutex<Option<String>>>);

impl Failure {
    pub(crate) fn note(&self, reason: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    pub(crate) fn told(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Connects to a member, `HOST:PORT`, and makes sure that it is who it should be. Why the connection
/// fails later is noted.
pub(crate) async fn dial(
    member: &str,
    tls: &Tls,
    protocols: &[&[u8]],
    failure: Failure,
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static + use<>, String> {
    let stream = TcpStream::connect(member).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    tls.secure(member, stream, protocols).await.map(|stream| Explained {
        stream,
        failure,
        broken: None,
    })
}

/// A connection whose failure to be written to is explained by what the other end said last.
///
/// Who presents no certificate, or the wrong one, has spoken already when the other end says so, and
/// finds the connection closed.
#[derive(Debug)]
struct Explained<S> {
    stream: S,
    failure: Failure,
    /// Why writing failed, while it is not known what the other end has to say.
    broken: Option<io::Error>,
}

impl<S: AsyncRead + Unpin> Explained<S> {
    /// What came of writing; if that failed, what the other end said before it was gone.
    fn explain<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(Err(error)) => {
                self.broken = Some(error);
                self.poll_reason(cx).map(Err)
            }
            written => written,
        }
    }

    /// Reads on to the end, which is near: nothing more can be written. What is read is of no use any
    /// more.
    fn poll_reason(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let mut bytes = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let reason = match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Err(reason) => reason,
                Ok(()) if !buffer.filled().is_empty() => continue,
                Ok(()) => self.broken.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()),
            };
            self.failure.note(Some(reason.to_string()));
            return Poll::Ready(reason);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        if let Err(error) = &read {
            self.failure.note(Some(error.to_string()));
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.broken.is_some() {
            return self.poll_reason(cx).map(Err);
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.explain(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken.is_some() {
            return self.poll_reason(cx).map(Err);
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.explain(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Closed, with a reason to be read, of which nobody may have been told yet.
    #[derive(Default)]
    struct Closed {
        reason: Option<&'static str>,
        is_late: bool,
        is_read: bool,
    }

    impl AsyncRead for Closed {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if std::mem::take(&mut self.is_late) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.reason {
                Some(reason) => Poll::Ready(Err(io::Error::other(reason))),
                None => {
                    if !std::mem::replace(&mut self.is_read, true) {
                        buffer.put_slice(b"an answer");
                    }
                    Poll::Ready(Ok(()))
                }
            }
        }
    }

    impl AsyncWrite for Closed {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn explained(stream: Closed) -> Explained<Closed> {
        Explained { stream, failure: Failure::default(), broken: None }
    }

    #[tokio::test]
    async fn a_broken_connection_is_explained_by_what_was_said_last() {
        for is_late in [false, true] {
            let reason = Some("bad certificate");
            let mut stream = explained(Closed { reason, is_late, ..Closed::default() });
            let alert = stream.write_all(b"x").await;
            assert_eq!(alert.unwrap_err().to_string(), "bad certificate", "late: {is_late}");
            assert_eq!(stream.failure.told().as_deref(), reason);
        }
        let silent = explained(Closed::default()).write_all(b"x").await;
        assert_eq!(silent.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn what_is_read_of_a_failure_is_noted() {
        let reason = Some("certificate required");
        let mut stream = explained(Closed { reason, ..Closed::default() });
        assert!(stream.read(&mut [0; 8]).await.is_err());
        assert_eq!(stream.failure.told().as_deref(), reason);
    }
}
