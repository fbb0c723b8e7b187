//! What is to be written on one connection.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use waltz_core::wire::Frame;

/// The most slices the operating system takes in one write (`IOV_MAX`).
const SLICES_PER_WRITE: usize = 1024;

/// A shorter payload is cheaper to copy than to hand over as a slice of its own.
const COPIED_PAYLOAD_BYTES: usize = 512;

/// Frames in order, as slices ready for one vectored write. Headers and heads of successive
/// frames share one slice; a payload of some size is a slice by itself and never copied.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    slices: VecDeque<Bytes>,
    /// What follows `slices`, still growing.
    tail: BytesMut,
    bytes: usize,
}

impl Outgoing {
    pub(super) fn push(&mut self, frame: &Frame) {
        self.bytes += frame.encoded_bytes();
        self.tail.put_slice(&frame.header());
        self.tail.put_slice(&frame.head);
        if frame.payload.len() < COPIED_PAYLOAD_BYTES {
            self.tail.put_slice(&frame.payload);
        } else {
            self.end_tail();
            self.slices.push_back(frame.payload.clone());
        }
    }

    /// How much is yet to be written.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// What to write next.
    pub(super) fn next_write(&mut self) -> Vec<IoSlice<'_>> {
        self.end_tail();
        self.slices.iter().take(SLICES_PER_WRITE).map(|slice| IoSlice::new(slice)).collect()
    }

    /// Forgets what was written.
    pub(super) fn advance(&mut self, written: usize) {
        assert!(written <= self.bytes, "no more can be written than there is");
        self.bytes -= written;
        let mut left = written;
        while left > 0 {
            let first = &mut self.slices[0];
            if left < first.len() {
                first.advance(left);
                return;
            }
            left -= first.len();
            self.slices.pop_front();
        }
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.slices.push_back(self.tail.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(head: usize, payload: usize) -> Frame {
        Frame { head: vec![b'h'; head].into(), payload: vec![b'p'; payload].into() }
    }

    #[test]
    fn any_way_of_writing_yields_the_frames_in_order() {
        let frames = [frame(3, 0), frame(0, 511), frame(9, 512), frame(1, 5000), frame(2, 2)];
        let mut expected = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(&mut expected));
        for step in [1, 7, 512, 513, 4096, usize::MAX] {
            let mut outgoing = Outgoing::default();
            frames.iter().for_each(|frame| outgoing.push(frame));
            assert_eq!(outgoing.bytes(), expected.len());
            let mut written = Vec::new();
            while !outgoing.is_empty() {
                let all: Vec<u8> =
                    outgoing.next_write().iter().flat_map(|s| s.iter().copied()).collect();
                let taken = step.min(all.len());
                written.extend_from_slice(&all[..taken]);
                outgoing.advance(taken);
            }
            assert_eq!(written, expected, "in steps of {step}");
        }
    }

    #[test]
    fn small_frames_share_a_slice_and_a_large_payload_is_not_copied() {
        let mut outgoing = Outgoing::default();
        (0..100).for_each(|_| outgoing.push(&frame(20, 100)));
        assert_eq!(outgoing.next_write().len(), 1);
        let large = frame(20, 4096);
        outgoing.push(&large);
        assert_eq!(outgoing.next_write().last().unwrap().as_ptr(), large.payload.as_ptr());
    }

    #[test]
    fn one_write_has_no_more_slices_than_the_system_takes() {
        let mut outgoing = Outgoing::default();
        (0..SLICES_PER_WRITE).for_each(|_| outgoing.push(&frame(1, COPIED_PAYLOAD_BYTES)));
        assert_eq!(outgoing.next_write().len(), SLICES_PER_WRITE);
    }
}
