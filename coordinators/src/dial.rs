//! Connections that TLS secures.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

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
    tls.secure(member, stream, protocols).await.map(|stream| Explained { stream, failure })
}

/// A connection whose failure to be written to is explained by what the other end said last.
///
/// Who presents no certificate, or the wrong one, has spoken already when the other end says so, and
/// finds the connection closed.
#[derive(Debug)]
struct Explained<S> {
    stream: S,
    failure: Failure,
}

impl<S> Explained<S> {
    fn noted<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &outcome {
            self.failure.note(Some(error.to_string()));
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> Explained<S> {
    fn explain<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Poll::Ready(Err(error)) = written else { return written };
        // What is read is of no use any more.
        let mut bytes = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Err(reason)) => return self.noted(Poll::Ready(Err(reason))),
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(Ok(())) | Poll::Pending => return self.noted(Poll::Ready(Err(error))),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.noted(read)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.explain(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.explain(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Closed, with a reason to be read.
    struct Closed(Option<&'static str>);

    impl AsyncRead for Closed {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.0.take() {
                Some("") => Poll::Ready(Ok(())),
                Some(reason) => Poll::Ready(Err(io::Error::other(reason))),
                None => {
                    self.0 = Some("");
                    buffer.put_slice(b"an answer");
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

    #[tokio::test]
    async fn a_broken_connection_is_explained_by_what_was_said_last() {
        let (stream, failure) = (Closed(Some("bad certificate")), Failure::default());
        let mut stream = Explained { stream, failure: failure.clone() };
        let alert = stream.write_all(b"x").await;
        assert_eq!(alert.unwrap_err().to_string(), "bad certificate");
        assert_eq!(failure.told().as_deref(), Some("bad certificate"));
        let mut stream = Explained { stream: Closed(None), failure };
        let silent = stream.write_all(b"x").await;
        assert_eq!(silent.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn what_is_read_of_a_failure_is_noted() {
        let failure = Failure::default();
        let stream = Closed(Some("certificate required"));
        let mut stream = Explained { stream, failure: failure.clone() };
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 8]).await;
        assert!(read.is_err());
        assert_eq!(failure.told().as_deref(), Some("certificate required"));
    }
}
