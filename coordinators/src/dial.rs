//! Connections that TLS secures.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use waltz_runtime_tokio::Tls;

/// Connects to a member, `HOST:PORT`, and makes sure that it is who it should be.
pub(crate) async fn dial(
    member: &str,
    tls: &Tls,
    protocols: &[&[u8]],
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static + use<>, String> {
    let stream = TcpStream::connect(member).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    tls.secure(member, stream, protocols).await.map(Explained)
}

/// A connection whose failure to be written to is explained by what the other end said last.
///
/// Who presents no certificate, or the wrong one, has spoken already when the other end says so, and
/// finds the connection closed.
#[derive(Debug)]
struct Explained<S>(S);

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
            match Pin::new(&mut self.0).poll_read(cx, &mut buffer) {
                Poll::Ready(Err(reason)) => return Poll::Ready(Err(reason)),
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(Ok(())) | Poll::Pending => return Poll::Ready(Err(error)),
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
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write(cx, bytes);
        self.explain(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.0).poll_flush(cx);
        self.explain(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
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
        let alert = Explained(Closed(Some("bad certificate"))).write_all(b"x").await;
        assert_eq!(alert.unwrap_err().to_string(), "bad certificate");
        let silent = Explained(Closed(None)).write_all(b"x").await;
        assert_eq!(silent.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
