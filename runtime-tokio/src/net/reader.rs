//! The task of one connection: makes it if need be, then reads until it ends.

use std::io;
use std::mem::size_of;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use waltz_core::io::{Address, ConnectionId};
use waltz_core::limits::Limits;
use waltz_core::wire::{Frame, FrameError, announced_frame_bytes, split_frame};

use super::NetConfig;
use super::bounds::{ALLOWANCE_BYTES, Bounds};
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
            return receive(Reader::free(conn, read, &inbox, &config), stop).await;
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
pub(super) async fn receive(mut reader: Reader<'_>, mut stop: oneshot::Receiver<()>) {
    tokio::select! {
        biased;
        _ = &mut stop => {}
        reason = reader.receive_frames() => {
            return reader.inbox.leave(Arrival::Closed { conn: reader.conn, reason });
        }
    }
    // Closing a socket that holds unread bytes resets the connection, and a reset may overtake
    // the last frames sent on it.
    let close_timeout = reader.config.close_timeout;
    let mut read = reader.into_read_half();
    let _ = tokio::time::timeout(close_timeout, discard(&mut read)).await;
}

/// What is read of one connection.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    conn: ConnectionId,
    read: ReadHalf,
    inbox: &'a Inbox,
    config: &'a NetConfig,
    /// What it is bound by, if it is.
    bounds: Option<Bounds>,
    /// What came and is no whole frame yet.
    buffer: BytesMut,
    /// Where [`SMALLEST_READ_BYTES`] and [`LARGEST_READ_BYTES`] have got it.
    read_bytes: usize,
    untaken: Untaken,
}

impl<'a> Reader<'a> {
    /// One that is not bound: this end has dialled.
    pub(super) fn free(
        conn: ConnectionId,
        read: ReadHalf,
        inbox: &'a Inbox,
        config: &'a NetConfig,
    ) -> Self {
        let (bounds, buffer, untaken) = (None, BytesMut::new(), Untaken::default());
        let read_bytes = SMALLEST_READ_BYTES;
        Self { conn, read, inbox, config, bounds, buffer, read_bytes, untaken }
    }

    /// One that is bound until that is lifted.
    pub(super) fn bound(
        conn: ConnectionId,
        read: ReadHalf,
        inbox: &'a Inbox,
        config: &'a NetConfig,
        bounds: Bounds,
    ) -> Self {
        Self { bounds: Some(bounds), ..Self::free(conn, read, inbox, config) }
    }

    /// What is left to be read; it holds nothing any more.
    fn into_read_half(self) -> ReadHalf {
        self.read
    }

    /// Hands over frames until there can be no more; tells why.
    async fn receive_frames(&mut self) -> String {
        let mut is_first = true;
        loop {
            let room = self.make_room().await;
            let count = match self.read.read_buf(&mut (&mut self.buffer).limit(room)).await {
                Ok(count) if count > 0 => count,
                end => return ended(&end, &self.buffer),
            };
            if is_first && is_tls(&self.buffer) {
                return OTHER_SPEAKS_TLS.into();
            }
            if count == room {
                self.read_bytes = (self.read_bytes * 2).min(LARGEST_READ_BYTES);
            } else if count < self.read_bytes / 8 {
                self.read_bytes = (self.read_bytes / 2).max(SMALLEST_READ_BYTES);
            }
            let (frames, outcome) = split_frames(&mut self.buffer, &self.config.limits);
            if !frames.is_empty() {
                self.hand_over(frames).await;
                is_first = false;
            }
            if let Err(error) = outcome {
                return error.to_string();
            }
        }
    }

    /// Makes room in the buffer once more may be read, and tells how much may be.
    async fn make_room(&mut self) -> usize {
        let announced = announced_frame_bytes(&self.buffer).unwrap_or(0);
        let missing = announced.saturating_sub(self.buffer.len());
        if let Some(bounds) = &mut self.bounds {
            bounds.due().await;
            if announced > ALLOWANCE_BYTES {
                bounds.make_room(announced).await;
            }
            if bounds.are_lifted() {
                self.bounds = None;
            }
        }
        if missing > 0 {
            self.buffer.reserve(missing);
        }
        if self.bounds.is_none() {
            if self.buffer.capacity() - self.buffer.len() < self.read_bytes / 2 {
                self.buffer.reserve(self.read_bytes);
            }
            return self.buffer.capacity() - self.buffer.len();
        }
        // No more than the frame that there is room for, or than the allowance.
        let room = match announced > ALLOWANCE_BYTES {
            true => missing,
            false => self.read_bytes.min(ALLOWANCE_BYTES - self.buffer.len()),
        };
        self.buffer.reserve(room);
        room
    }

    /// Leaves frames for the loop, as fast as the connection may bring them.
    async fn hand_over(&mut self, frames: Vec<Frame>) {
        let mut due = Vec::with_capacity(frames.len());
        for frame in frames {
            if self.bounds.as_ref().is_some_and(|bounds| !bounds.wait().is_zero()) {
                self.leave(std::mem::take(&mut due)).await;
            }
            if let Some(bounds) = &mut self.bounds {
                bounds.due().await;
                bounds.on_frame(frame.encoded_bytes());
            }
            due.push(frame);
        }
        self.leave(due).await;
        if let Some(bounds) = &mut self.bounds {
            bounds.release_room();
        }
    }

    async fn leave(&mut self, frames: Vec<Frame>) {
        if frames.is_empty() {
            return;
        }
        let bytes = frames.iter().map(|f| f.encoded_bytes() + size_of::<Frame>()).sum();
        self.inbox.leave_frames(self.conn, frames, bytes, &mut self.untaken).await;
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
