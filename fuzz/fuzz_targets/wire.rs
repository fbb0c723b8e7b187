//! What a peer may send, in pieces as the fuzzer tells: `cargo +nightly fuzz run wire`.

#![no_main]

use bytes::{BufMut, Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use waltz_core::limits::Limits;
use waltz_core::wire::{Frame, Message, announced_frame_bytes, split_frame, Version};

fuzz_target!(|input: &[u8]| {
    let Some((piece, bytes)) = input.split_first() else { return };
    frames(bytes, usize::from(*piece).max(1));
    // A frame's checksum keeps the fuzzer from messages; so it also writes heads itself.
    message(bytes);
});

/// Takes frames off a stream that comes in pieces, as a connection does.
fn frames(bytes: &[u8], piece: usize) {
    let limits = Limits { frame_head: 1 << 10, frame_payload: 1 << 12, ..Limits::default() };
    let mut buffer = BytesMut::new();
    for piece in bytes.chunks(piece) {
        buffer.put_slice(piece);
        loop {
            let announced = announced_frame_bytes(&buffer);
            match split_frame(&mut buffer, &limits) {
                Ok(Some(frame)) => {
                    assert_eq!(announced, Some(frame.encoded_bytes()), "it is as long as it said");
                    message(&frame.head);
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// What is a message comes through a frame as it was.
fn message(head: &[u8]) {
    let Ok(message) = Message::decode(head) else { return };
    let frame = message.with(Bytes::from_static(b"payload"));
    let mut wire = BytesMut::new();
    frame.encode(&mut wire);
    let split: Option<Frame> = split_frame(&mut wire, &Limits::default()).expect("it is a frame");
    let Some(split) = split else { panic!("all of it came") };
    assert_eq!(split, frame);
    assert_eq!(Message::decode(&split.head).expect("it is a message"), message);
    let _ = message.since();
    if let Ok(frame) = message.framed(Bytes::new(), Version::NEWEST) {
        let head = Message::decode(&frame.head).expect("it is a head");
        let (opened, _) = head.open(frame.payload).expect("it is a message");
        assert!(opened == message || matches!(message, Message::Long { .. }));
    }
}
