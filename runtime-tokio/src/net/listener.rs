//! The task that accepts connections.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use waltz_core::io::ConnectionId;

use super::NetConfig;
use super::inbox::{Arrival, Inbox};
use super::reader::receive;

/// How long to leave the listener alone when the system has no file descriptor or memory for
/// another connection. The next attempt would fail at once, and so on.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections for ever, numbered from 0.
pub(super) async fn accept(listener: TcpListener, inbox: Arc<Inbox>, config: NetConfig) {
    let mut accepted = 0;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                admit(ConnectionId::accepted(accepted), stream, &inbox, config);
                accepted += 1;
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

fn admit(conn: ConnectionId, stream: TcpStream, inbox: &Arc<Inbox>, config: NetConfig) {
    if stream.set_nodelay(true).is_err() {
        return; // It is gone already.
    }
    let (read, write) = stream.into_split();
    let (stop, stopped) = oneshot::channel();
    inbox.leave(Arrival::Accepted { conn, write, stop });
    tokio::spawn(receive(conn, read, stopped, inbox.clone(), config));
}

fn is_about_one_connection(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}
