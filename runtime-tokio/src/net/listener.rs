//! The task that accepts connections.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use waltz_core::io::ConnectionId;

use super::NetConfig;
use super::admission::{Admission, Place};
use super::bounds::{Bounds, FrameRoom};
use super::inbox::{Arrival, Inbox};
use super::reader::{Reader, receive};
use super::stream::Stream;
use crate::tls::Tls;

/// How long to leave the listener alone when the system has no file descriptor or memory for
/// another connection. The next attempt would fail at once, and so on.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections for ever, numbered from 0.
pub(super) async fn accept(listener: TcpListener, accepting: Accepting) {
    let config = &accepting.config;
    let admission = Admission::new(config.connections, config.connections_per_address);
    let handshakes = Arc::new(Semaphore::new(config.handshakes));
    let mut accepted = 0;
    loop {
        let permit = handshakes.clone().acquire_owned().await;
        let permit = permit.expect("nobody closes the semaphore");
        match listener.accept().await {
            Ok((stream, from)) => {
                let conn = ConnectionId::accepted(accepted);
                accepted += 1;
                match admission.admit(from.ip()) {
                    Ok(place) => {
                        let admitted = Admitted { conn, stream, from, place, permit };
                        admit(admitted, accepting.clone());
                    }
                    Err(reason) => tracing::debug!(%from, "closed a connection: {reason}"),
                }
            }
            // That connection was gone before it was accepted; others are not concerned.
            Err(error) if is_about_one_connection(error.kind()) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted for now");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// What all accepted connections have to do with.
#[derive(Debug, Clone)]
pub(super) struct Accepting {
    pub(super) inbox: Arc<Inbox>,
    pub(super) config: Arc<NetConfig>,
    pub(super) room: Arc<FrameRoom>,
}

/// A connection that may go on, and what it takes up of what there may be.
struct Admitted {
    conn: ConnectionId,
    stream: TcpStream,
    from: SocketAddr,
    place: Place,
    /// Until its handshake is over.
    permit: OwnedSemaphorePermit,
}

fn admit(admitted: Admitted, accepting: Accepting) {
    let Admitted { conn, stream, from, place, permit } = admitted;
    if stream.set_nodelay(true).is_err() {
        return; // It is gone already.
    }
    match accepting.config.tls.clone() {
        None => {
            let reading = take_in(conn, Stream::Plain(stream), accepting);
            tokio::spawn(keeping(place, reading))
        }
        Some(tls) => tokio::spawn(async move {
            let secured = secure(stream, &tls, accepting.config.handshake_timeout).await;
            drop(permit);
            match secured {
                Ok(stream) => keeping(place, take_in(conn, stream, accepting)).await,
                Err(reason) => tracing::warn!(%from, "refused a connection: {reason}"),
            }
        }),
    };
}

/// Keeps a connection's place for as long as it is read.
async fn keeping(place: Place, reading: impl Future<Output = ()>) {
    reading.await;
    drop(place);
}

async fn secure(stream: TcpStream, tls: &Tls, timeout: Duration) -> Result<Stream, String> {
    match tokio::time::timeout(timeout, tls.accept(stream)).await {
        Ok(secured) => Ok(Stream::Secured(Box::new(secured?.into()))),
        Err(_) => Err(format!("no TLS handshake within {timeout:?}")),
    }
}

/// Tells the loop of a connection, and reads it. Only now does the loop have to do with it.
fn take_in(conn: ConnectionId, stream: Stream, accepting: Accepting) -> impl Future<Output = ()> {
    let Accepting { inbox, config, room } = accepting;
    let identity = stream.identity();
    let (read, write) = stream.split();
    let (stop, stopped) = oneshot::channel();
    let (lifted, is_lifted) = watch::channel(false);
    let bounds = Bounds::new(config.rates, room, is_lifted);
    inbox.leave(Arrival::Accepted { conn, write, identity, stop, lifted });
    async move { receive(Reader::bound(conn, read, &inbox, &config, bounds), stopped).await }
}

fn is_about_one_connection(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}
