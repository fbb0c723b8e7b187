//! One direction of a connection: bytes cut into numbered segments, and put in order again.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use waltz_core::time::Random;
use waltz_core::wire::Frame;

use crate::fault::below;

/// A packet's worth of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its first byte's place in the stream.
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
    /// The stream ends after it.
    pub(super) last: bool,
}

/// The sending end: how much was cut into segments.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    next: u64,
    queued: BytesMut,
}

impl Outgoing {
    pub(super) fn queue(&mut self, frame: &Frame) {
        frame.encode(&mut self.queued);
    }

    /// Everything queued as a few segments of random lengths, so that frames start and end
    /// anywhere in them.
    pub(super) fn cut(&mut self, random: &mut Random) -> Vec<Segment> {
        const MOST_SEGMENTS: usize = 3;
        let mut rest = self.queued.split().freeze();
        let mut segments = Vec::new();
        while !rest.is_empty() {
            let last = segments.len() + 1 == MOST_SEGMENTS || random.bits().is_multiple_of(2);
            let length = if last { rest.len() } else { 1 + below(random, rest.len()) };
            let bytes = rest.split_to(length);
            segments.push(Segment { offset: self.next, bytes, last: false });
            self.next += length as u64;
        }
        segments
    }

    /// Bytes of the stream so far.
    pub(super) fn sent(&self) -> u64 {
        self.next + self.queued.len() as u64
    }

    /// The segment that ends the stream.
    pub(super) fn end(&self) -> Segment {
        Segment { offset: self.next, bytes: Bytes::new(), last: true }
    }
}

/// The receiving end: what came early waits for what is missing; what came twice is dropped.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    next: u64,
    early: BTreeMap<u64, Segment>,
    /// In order, and not yet taken off as frames.
    pub(super) buffer: BytesMut,
    /// Whether the end of the stream is reached.
    pub(super) ended: bool,
}

impl Incoming {
    /// Bytes of the stream that came in order.
    pub(super) fn taken(&self) -> u64 {
        self.next
    }

    /// Drops what it holds; how much came is still known.
    pub(super) fn forget(&mut self) {
        *self = Self { next: self.next, ..Self::default() };
    }

    pub(super) fn take_in(&mut self, segment: Segment) {
        if segment.offset >= self.next && !self.ended {
            self.early.insert(segment.offset, segment);
        }
        while let Some(segment) = self.early.remove(&self.next) {
            self.buffer.extend_from_slice(&segment.bytes);
            self.next += segment.bytes.len() as u64;
            self.ended = segment.last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_in_any_order_and_any_number_make_the_same_stream() {
        for seed in 0..200 {
            let random = &mut Random::new(seed);
            let (mut outgoing, mut sent, mut segments) =
                (Outgoing::default(), BytesMut::new(), vec![]);
            for length in 0..5 {
                let payload = vec![length as u8; length * 10].into();
                let frame = Frame { head: Bytes::from_static(b"head"), payload };
                frame.encode(&mut sent);
                outgoing.queue(&frame);
                segments.extend(outgoing.cut(random));
            }
            segments.push(outgoing.end());
            segments.extend(segments.clone());
            let mut incoming = Incoming::default();
            while !segments.is_empty() {
                incoming.take_in(segments.swap_remove(below(random, segments.len())));
            }
            assert!(incoming.ended, "seed {seed}");
            assert_eq!(incoming.buffer, sent, "seed {seed}");
        }
    }

    #[test]
    fn nothing_passes_a_gap() {
        let mut incoming = Incoming::default();
        let late = Segment { offset: 1, bytes: Bytes::from_static(b"b"), last: true };
        incoming.take_in(late);
        assert!(incoming.buffer.is_empty() && !incoming.ended);
        incoming.take_in(Segment { offset: 0, bytes: Bytes::from_static(b"a"), last: false });
        assert!(incoming.ended);
        assert_eq!(&incoming.buffer[..], b"ab");
    }
}
