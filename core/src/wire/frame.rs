//! Frames: `length of head u32 | length of payload u32 | CRC32C u32 | head | payload`.
//!
//! The checksum covers both lengths and the head; records in the payload carry their own.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::Limits;

/// Bytes before the head.
pub const FRAME_HEADER_BYTES: usize = 12;

/// One message on a connection; written vectored, so that the payload is never copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// The encoded message.
    pub head: Bytes,
    /// Records, or nothing.
    pub payload: Bytes,
}

impl Frame {
    /// The bytes that go before head and payload.
    pub fn header(&self) -> [u8; FRAME_HEADER_BYTES] {
        let (head, payload) = (self.head.len() as u32, self.payload.len() as u32);
        let mut header = [0; FRAME_HEADER_BYTES];
        let mut out = &mut header[..];
        out.put_u32_le(head);
        out.put_u32_le(payload);
        out.put_u32_le(checksum(head, payload, &self.head));
        header
    }

    /// Its length on the wire, in bytes.
    pub fn encoded_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.head.len() + self.payload.len()
    }

    /// Appends the whole frame to `out`, for transports that can't write vectored.
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(self.encoded_bytes());
        out.put_slice(&self.header());
        out.put_slice(&self.head);
        out.put_slice(&self.payload);
    }
}

/// Why a peer's bytes are not a frame. The connection can't go on after any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The head is longer than allowed.
    #[error("frame head of {length} bytes is over the limit of {limit}")]
    Head {
        /// What it says.
        length: u32,
        /// The limit.
        limit: u32,
    },
    /// The payload is longer than allowed.
    #[error("frame payload of {length} bytes is over the limit of {limit}")]
    Payload {
        /// What it says.
        length: u32,
        /// The limit.
        limit: u32,
    },
    /// The checksum does not match: not this protocol, or damaged on the way.
    #[error("frame checksum is {found:08x}, computed {computed:08x}: not a Waltz peer, or damaged")]
    Checksum {
        /// As sent.
        found: u32,
        /// As computed.
        computed: u32,
    },
}

/// Takes the first whole frame off `buffer`, without copying it. `None`: more bytes are needed.
///
/// # Errors
/// When the bytes can't be a frame. No space is reserved for what is missing.
pub fn split_frame(buffer: &mut BytesMut, limits: &Limits) -> Result<Option<Frame>, FrameError> {
    if buffer.len() < FRAME_HEADER_BYTES {
        return Ok(None);
    }
    let mut header = &buffer[..FRAME_HEADER_BYTES];
    let (head, payload, found) = (header.get_u32_le(), header.get_u32_le(), header.get_u32_le());
    if head > limits.frame_head {
        return Err(FrameError::Head { length: head, limit: limits.frame_head });
    }
    if payload > limits.frame_payload {
        return Err(FrameError::Payload { length: payload, limit: limits.frame_payload });
    }
    let head_end = FRAME_HEADER_BYTES + head as usize;
    if buffer.len() >= head_end {
        let computed = checksum(head, payload, &buffer[FRAME_HEADER_BYTES..head_end]);
        if found != computed {
            return Err(FrameError::Checksum { found, computed });
        }
    }
    let whole = head_end + payload as usize;
    if buffer.len() < whole {
        return Ok(None);
    }
    let mut frame = buffer.split_to(whole).freeze();
    frame.advance(FRAME_HEADER_BYTES);
    let head = frame.split_to(head as usize);
    Ok(Some(Frame { head, payload: frame }))
}

/// How long the frame that begins here says it is on the wire, once that much of it has come. Nothing
/// was verified: [`split_frame`] does that.
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use waltz_core::wire::{Frame, announced_frame_bytes};
///
/// let frame = Frame { head: Bytes::from_static(b"head"), payload: Bytes::new() };
/// let mut bytes = BytesMut::new();
/// frame.encode(&mut bytes);
/// assert_eq!(announced_frame_bytes(&bytes[..12]), Some(frame.encoded_bytes()));
/// assert_eq!(announced_frame_bytes(&bytes[..11]), None);
/// ```
pub fn announced_frame_bytes(bytes: &[u8]) -> Option<usize> {
    let mut header = bytes.get(..FRAME_HEADER_BYTES)?;
    let (head, payload) = (header.get_u32_le() as usize, header.get_u32_le() as usize);
    Some(FRAME_HEADER_BYTES.saturating_add(head).saturating_add(payload))
}

fn checksum(head_length: u32, payload_length: u32, head: &[u8]) -> u32 {
    let mut lengths = [0; 8];
    lengths[..4].copy_from_slice(&head_length.to_le_bytes());
    lengths[4..].copy_from_slice(&payload_length.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&lengths), head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Frame {
        Frame { head: Bytes::from_static(b"head"), payload: Bytes::from_static(b"payload") }
    }

    #[test]
    fn a_frame_survives_arriving_byte_by_byte() {
        let mut wire = BytesMut::new();
        sample().encode(&mut wire);
        let mut buffer = BytesMut::new();
        for (index, byte) in wire.iter().enumerate() {
            buffer.put_u8(*byte);
            let frame = split_frame(&mut buffer, &Limits::default()).unwrap();
            assert_eq!(frame, (index + 1 == wire.len()).then(sample));
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_any_space_is_reserved() {
        let mut buffer = BytesMut::from(&[0xff; FRAME_HEADER_BYTES][..]);
        let error = split_frame(&mut buffer, &Limits::default()).unwrap_err();
        assert!(matches!(error, FrameError::Head { length: u32::MAX, .. }));
        assert!(buffer.capacity() < 1 << 20);
    }

    #[test]
    fn every_flipped_bit_of_lengths_and_head_is_noticed() {
        let mut wire = BytesMut::new();
        sample().encode(&mut wire);
        for bit in 0..(FRAME_HEADER_BYTES + 4) * 8 {
            let mut damaged = wire.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let outcome = split_frame(&mut damaged, &Limits::default());
            assert!(!matches!(outcome, Ok(Some(_))), "bit {bit} went unnoticed: {outcome:?}");
        }
    }
}
