//! The task of one connection: makes it if need be, then reads until it ends.

use std::io;
use std::mem::size_of;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use waltz_core::io::{Address, ConnectionId};
use waltz_core::limits::Limits;
use waltz_core::wire::{Frame, FrameError, split_frame};

use super::NetConfig;
use super::inbox::{Arrival, Inbox, Untaken};
use super::stream::{ReadHalf, Stream};

/// The room for a read grows and shrinks between these with what the connection brings, so that
/// an idle one costs little and a busy one few system calls.
const SMALLEST_READ_BYTES: usize = 8 << 10;
const LARGEST_READ_BYTES: usize = 256 << 10;

const OTHER_SPEAKS_TLS: &str =
    "the peer speaks TLS and this end does not; name the certificates of its authorities";

/// Dials, then reads.
pub(super) async fn dial(
    conn: ConnectionId,
    address: Address,
    mut stop: oneshot::Receiver<()>,
    inbox: Arc<Inbox>,
    config: Arc<NetConfig>,
) {
    let connecting = tokio::time::timeout(config.connect_timeout, connect(&address, &config));
    let outcome = tokio::select! {
        biased;
        _ = &mut stop => return,
        outcome = connecting => outcome,
    };
    let failure = match outcome {
        Ok(Ok(stream)) => {
            let identity = stream.identity();
            let (read, write) = stream.split();
            inbox.leave(Arrival::Dialed { conn, write, identity });
            return receive(conn, read, stop, inbox, config).await;
        }
        Ok(Err(reason)) => reason,
        Err(_) => format!("no answer within {:?}", config.connect_timeout),
    };
    let reason = format!("connecting to {address} failed: {failure}");
    inbox.leave(Arrival::Closed { conn, reason });
}

async fn connect(address: &Address, config: &NetConfig) -> Result<Stream, String> {
    let stream = TcpStream::connect(&address.0).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    match &config.tls {
        None => Ok(Stream::Plain(stream)),
        Some(tls) => {
            let secured = tls.connect(address, stream).await?;
            Ok(Stream::Secured(Box::new(secured.into())))
        }
    }
}

/// Reads until the connection ends or the loop has dropped its end of `stop`.
pub(super) async fn receive(
    conn: ConnectionId,
    mut read: ReadHalf,
    mut stop: oneshot::Receiver<()>,
    inbox: Arc<Inbox>,
    config: Arc<NetConfig>,
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
    read: &mut ReadHalf,
    inbox: &Inbox,
    config: &NetConfig,
) -> String {
    let mut buffer = BytesMut::new();
    let mut read_bytes = SMALLEST_READ_BYTES;
    let mut untaken = Untaken::default();
    let mut is_first = true;
    loop {
        if buffer.capacity() - buffer.len() < read_bytes / 2 {
            buffer.reserve(read_bytes);
        }
        let room = buffer.capacity() - buffer.len();
        let count = match read.read_buf(&mut buffer).await {
            Ok(count) if count > 0 => count,
            end => return ended(&end, &buffer),
        };
        if is_first && is_tls(&buffer) {
            return OTHER_SPEAKS_TLS.into();
        }
        if count == room {
            read_bytes = (read_bytes * 2).min(LARGEST_READ_BYTES);
        } else if count < read_bytes / 8 {
            read_bytes = (read_bytes / 2).max(SMALLEST_READ_BYTES);
        }
        let (frames, outcome) = split_frames(&mut buffer, &config.limits);
        if !frames.is_empty() {
            let bytes = frames.iter().map(|f| f.encoded_bytes() + size_of::<Frame>()).sum();
            inbox.leave_frames(conn, frames, bytes, &mut untaken).await;
            is_first = false;
        }
        if let Err(error) = outcome {
            return error.to_string();
        }
    }
}

/// Why nothing more can be read, in words. `rest` is what came and is no whole frame.
fn ended(end: &io::Result<usize>, rest: &[u8]) -> String {
    match end {
        // Without a farewell of TLS either: a frame's length tells whether it was cut.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            format!("reading failed: {error}")
        }
        _ if rest.is_empty() => "the peer closed the connection".into(),
        _ => "the peer closed the connection in the middle of a frame".into(),
    }
}

/// Whether what came first on a plain connection is a record of TLS: a greeting, or a complaint
/// about ours. Nobody's first frame begins like that: a hello is not so long.
fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 3, 0..=4, _, _, ..])
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

async fn discard(read: &mut ReadHalf) {
    let mut buffer = [0; 4096];
    while matches!(read.read(&mut buffer).await, Ok(1..)) {}
}
