//! The task of one connection: makes it if need be, then reads until it ends.

use std::mem::size_of;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::oneshot;
use waltz_core::io::{Address, ConnectionId};
use waltz_core::limits::Limits;
use waltz_core::wire::{Frame, FrameError, split_frame};

use super::NetConfig;
use super::inbox::{Arrival, Inbox, Untaken};

/// The room for a read grows and shrinks between these with what the connection brings, so that
/// an idle one costs little and a busy one few system calls.
const SMALLEST_READ_BYTES: usize = 8 << 10;
const LARGEST_READ_BYTES: usize = 256 << 10;

/// Dials, then reads.
pub(super) async fn dial(
    conn: ConnectionId,
    address: Address,
    mut stop: oneshot::Receiver<()>,
    inbox: Arc<Inbox>,
    config: NetConfig,
) {
    let connecting = tokio::time::timeout(config.connect_timeout, TcpStream::connect(&address.0));
    let outcome = tokio::select! {
        biased;
        _ = &mut stop => return,
        outcome = connecting => outcome,
    };
    let failure = match outcome {
        Ok(Ok(stream)) => match stream.set_nodelay(true) {
            Ok(()) => {
                let (read, write) = stream.into_split();
                inbox.leave(Arrival::Dialed { conn, write });
                return receive(conn, read, stop, inbox, config).await;
            }
            Err(error) => error.to_string(),
        },
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {:?}", config.connect_timeout),
    };
    let reason = format!("connecting to {address} failed: {failure}");
    inbox.leave(Arrival::Closed { conn, reason });
}

/// Reads until the connection ends or the loop has dropped its end of `stop`.
pub(super) async fn receive(
    conn: ConnectionId,
    mut read: OwnedReadHalf,
    mut stop: oneshot::Receiver<()>,
    inbox: Arc<Inbox>,
    config: NetConfig,
) {
    tokio::select! {
        biased;
        _ = &mut stop => {}
        reason = receive_frames(conn, &mut read, &inbox, &config) => {
            return inbox.leave(Arrival::Closed { conn, reason });
        }
    }
    // Closing a socket that holds unread bytes resets the connection, and a reset may overtake
    // the last frames sent on it.
    let _ = tokio::time::timeout(config.close_timeout, discard(&mut read)).await;
}

/// Hands over frames until there can be no more; tells why.
async fn receive_frames(
    conn: ConnectionId,
    read: &mut OwnedReadHalf,
    inbox: &Inbox,
    config: &NetConfig,
) -> String {
    let mut buffer = BytesMut::new();
    let mut read_bytes = SMALLEST_READ_BYTES;
    let mut untaken = Untaken::default();
    loop {
        if buffer.capacity() - buffer.len() < read_bytes / 2 {
            buffer.reserve(read_bytes);
        }
        let room = buffer.capacity() - buffer.len();
        let count = match read.read_buf(&mut buffer).await {
            Ok(0) if buffer.is_empty() => return "the peer closed the connection".into(),
            Ok(0) => return "the peer closed the connection in the middle of a frame".into(),
            Ok(count) => count,
            Err(error) => return format!("reading failed: {error}"),
        };
        if count == room {
            read_bytes = (read_bytes * 2).min(LARGEST_READ_BYTES);
        } else if count < read_bytes / 8 {
            read_bytes = (read_bytes / 2).max(SMALLEST_READ_BYTES);
        }
        let (frames, outcome) = split_frames(&mut buffer, &config.limits);
        if !frames.is_empty() {
            let bytes = frames.iter().map(|f| f.encoded_bytes() + size_of::<Frame>()).sum();
            inbox.leave_frames(conn, frames, bytes, &mut untaken).await;
        }
        if let Err(error) = outcome {
            return error.to_string();
        }
    }
}

/// All whole frames at hand, and whether what follows them can be one.
fn split_frames(buffer: &mut BytesMut, limits: &Limits) -> (Vec<Frame>, Result<(), FrameError>) {
    let mut frames = Vec::new();
    loop {
        match split_frame(buffer, limits) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, Ok(())),
            Err(error) => return (frames, Err(error)),
        }
    }
}

async fn discard(read: &mut OwnedReadHalf) {
    let mut buffer = [0; 4096];
    while matches!(read.read(&mut buffer).await, Ok(1..)) {}
}
