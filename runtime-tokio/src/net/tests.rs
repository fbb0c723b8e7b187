//! Two ends over the loopback interface, or one end and a bare socket.

use std::collections::VecDeque;
use std::future::poll_fn;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// An end, and events polled of it but not yet looked at.
pub(super) struct End {
    pub(super) net: TcpNet,
    pub(super) events: VecDeque<NetEvent>,
}

impl End {
    pub(super) fn dialing(config: NetConfig) -> Self {
        Self { net: TcpNet::dialing(config), events: VecDeque::new() }
    }

    pub(super) fn listening(config: NetConfig) -> (Self, Address) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address(listener.local_addr().unwrap().to_string());
        let net = TcpNet::listening(listener, config).unwrap();
        (Self { net, events: VecDeque::new() }, address)
    }

    pub(super) async fn next(&mut self) -> NetEvent {
        while self.events.is_empty() {
            let mut events = Vec::new();
            poll_fn(|cx| self.net.poll(cx, &mut events)).await;
            assert!(!events.is_empty(), "ready means that something happened");
            self.events.extend(events);
        }
        self.events.pop_front().unwrap()
    }

    pub(super) async fn opened(&mut self) -> ConnectionId {
        match self.next().await {
            NetEvent::Opened { conn, .. } => conn,
            other => panic!("expected an opened connection, got {other:?}"),
        }
    }

    pub(super) async fn received(&mut self) -> (ConnectionId, Frame) {
        match self.next().await {
            NetEvent::Received { conn, frame } => (conn, frame),
            other => panic!("expected a frame, got {other:?}"),
        }
    }

    pub(super) async fn closed(&mut self) -> (ConnectionId, String) {
        match self.next().await {
            NetEvent::Closed { conn, reason } => (conn, reason),
            other => panic!("expected a closed connection, got {other:?}"),
        }
    }

    /// Polls it for as long as something else takes, as a loop would.
    pub(super) async fn while_polled<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = std::pin::pin!(other);
        poll_fn(|cx| {
            let mut events = Vec::new();
            while self.net.poll(cx, &mut events).is_ready() {}
            self.events.extend(events);
            other.as_mut().poll(cx)
        })
        .await
    }
}

async fn pair(config: NetConfig) -> (End, ConnectionId, End, ConnectionId) {
    let (mut server, address) = End::listening(config.clone());
    let mut client = End::dialing(config);
    let dialed = ConnectionId::dialed(1);
    client.net.connect(dialed, &address);
    assert_eq!(client.opened().await, dialed);
    let accepted = server.opened().await;
    assert!(!accepted.is_dialed());
    (client, dialed, server, accepted)
}

pub(super) fn frame(number: u32, payload: usize) -> Frame {
    let payload: Vec<u8> = (0..payload).map(|at| (at as u32 ^ number) as u8).collect();
    Frame { head: Bytes::copy_from_slice(&number.to_le_bytes()), payload: payload.into() }
}

pub(super) fn encoded(frame: &Frame) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes
}

/// Sends frames of all sizes both ways at once, more than sockets hold, and checks what comes.
pub(super) async fn exchange_frames_of_all_sizes(
    (client, to_server): (&mut End, ConnectionId),
    (server, to_client): (&mut End, ConnectionId),
) {
    let sizes = [0, 1, 100, 511, 512, 70_000, 8 << 20, 3, 4096, 16_384, 5 << 20, 0];
    for (number, size) in sizes.into_iter().enumerate() {
        client.net.send(to_server, frame(number as u32, size));
        server.net.send(to_client, frame(number as u32, size));
    }
    client.net.flush();
    server.net.flush();
    for (number, size) in sizes.into_iter().enumerate() {
        let expected = frame(number as u32, size);
        assert_eq!(client.while_polled(server.received()).await, (to_client, expected.clone()));
        assert_eq!(server.while_polled(client.received()).await, (to_server, expected));
    }
}

/// Has the server close a connection with much queued; all of it comes. Says how the client was told
/// of the end.
pub(super) async fn close_with_frames_queued(
    (client, to_server): (&mut End, ConnectionId),
    (server, to_client): (&mut End, ConnectionId),
) -> (ConnectionId, String) {
    // Unread bytes at the closing end must not turn the close into a reset.
    client.net.send(to_server, frame(7, 100));
    client.net.flush();
    for number in 0..20 {
        server.net.send(to_client, frame(number, 1 << 20));
    }
    server.net.close(to_client);
    for number in 0..20 {
        let received = server.while_polled(client.received()).await;
        assert_eq!(received, (to_server, frame(number, 1 << 20)));
    }
    server.while_polled(client.closed()).await
}

#[tokio::test]
async fn frames_of_all_sizes_go_both_ways_in_order_while_sockets_fill_up() {
    let (mut client, to_server, mut server, to_client) = pair(NetConfig::default()).await;
    exchange_frames_of_all_sizes((&mut client, to_server), (&mut server, to_client)).await;
}

#[tokio::test]
async fn many_small_frames_over_many_turns_keep_their_order() {
    let (mut client, to_server, mut server, to_client) = pair(NetConfig::default()).await;
    let mut expected = 0;
    for turn in 0..100 {
        for number in 0..200 {
            client.net.send(to_server, frame(turn * 200 + number, 100));
        }
        client.net.flush();
        for _ in 0..150 {
            let (_, received) = client.while_polled(server.received()).await;
            assert_eq!(received, frame(expected, 100));
            expected += 1;
        }
    }
    while expected < 20_000 {
        let received = client.while_polled(server.received()).await;
        assert_eq!(received, (to_client, frame(expected, 100)));
        expected += 1;
    }
}

#[tokio::test]
async fn nothing_is_written_before_flush() {
    let (mut server, address) = End::listening(NetConfig::default());
    let mut peer = TcpStream::connect(&address.0).await.unwrap();
    let conn = server.opened().await;
    server.net.send(conn, frame(1, 10));
    assert_eq!(server.net.connections[&conn].queued_bytes(), frame(1, 10).encoded_bytes());
    server.net.flush();
    let mut bytes = vec![0; frame(1, 10).encoded_bytes()];
    server.while_polled(peer.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(bytes, encoded(&frame(1, 10)));
}

#[tokio::test]
async fn a_frame_sent_while_dialling_goes_out_once_connected() {
    let (mut server, address) = End::listening(NetConfig::default());
    let mut client = End::dialing(NetConfig::default());
    let conn = ConnectionId::dialed(1);
    client.net.connect(conn, &address);
    client.net.send(conn, frame(1, 10));
    client.net.flush();
    client.while_polled(server.opened()).await;
    assert_eq!(client.while_polled(server.received()).await.1, frame(1, 10));
}

#[tokio::test]
async fn garbage_closes_its_connection_and_no_other() {
    let (mut server, address) = End::listening(NetConfig::default());
    let mut sound = TcpStream::connect(&address.0).await.unwrap();
    let sound_conn = server.opened().await;
    let mut garbled = TcpStream::connect(&address.0).await.unwrap();
    let garbled_conn = server.opened().await;
    garbled.write_all(&encoded(&frame(1, 1))).await.unwrap();
    garbled.write_all(&[0; 100]).await.unwrap();
    assert_eq!(server.received().await, (garbled_conn, frame(1, 1)));
    let (closed, reason) = server.closed().await;
    assert_eq!(closed, garbled_conn);
    assert!(reason.contains("checksum"), "{reason}");
    sound.write_all(&encoded(&frame(2, 2))).await.unwrap();
    assert_eq!(server.received().await, (sound_conn, frame(2, 2)));
}

#[tokio::test]
async fn an_oversized_frame_closes_with_its_length_and_the_limit() {
    let limits = Limits { frame_payload: 10, ..Limits::default() };
    let (mut server, address) = End::listening(limits.into());
    let mut peer = TcpStream::connect(&address.0).await.unwrap();
    server.opened().await;
    peer.write_all(&encoded(&frame(1, 11))).await.unwrap();
    let (_, reason) = server.closed().await;
    assert!(reason.contains("11") && reason.contains("limit of 10"), "{reason}");
}

#[tokio::test]
async fn the_end_of_a_stream_is_told_apart_from_a_truncated_frame() {
    let (mut server, address) = End::listening(NetConfig::default());
    let peer = TcpStream::connect(&address.0).await.unwrap();
    server.opened().await;
    drop(peer);
    assert!(!server.closed().await.1.contains("middle"));
    let mut peer = TcpStream::connect(&address.0).await.unwrap();
    server.opened().await;
    peer.write_all(&encoded(&frame(1, 100))[..50]).await.unwrap();
    drop(peer);
    assert!(server.closed().await.1.contains("middle of a frame"));
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_closed_at_the_bound() {
    let config = NetConfig { outgoing_bytes: 1 << 20, ..NetConfig::default() };
    let (mut server, address) = End::listening(config);
    let _peer = TcpStream::connect(&address.0).await.unwrap();
    let conn = server.opened().await;
    let mut sent = 0;
    while server.net.connections.contains_key(&conn) {
        server.net.send(conn, frame(1, 64 << 10));
        server.net.flush();
        sent += 1;
        assert!(sent < 10_000, "the bound has no effect");
        tokio::task::yield_now().await;
    }
    let (closed, reason) = server.closed().await;
    assert_eq!(closed, conn);
    assert!(reason.contains("does not read"), "{reason}");
    server.net.send(conn, frame(1, 1)); // Swallowed.
    server.net.flush();
}

#[tokio::test]
async fn a_connection_whose_frames_are_not_taken_is_not_read() {
    let config = NetConfig { incoming_bytes: 64 << 10, ..NetConfig::default() };
    let (mut server, address) = End::listening(config);
    let mut peer = TcpStream::connect(&address.0).await.unwrap();
    let conn = server.opened().await;
    let bytes = encoded(&frame(1, 64 << 10));
    // The peer's writes stop when the buffers between are full: nobody polls the server.
    let mut sent = 0_usize;
    loop {
        let filled = tokio::select! {
            biased;
            written = peer.write_all(&bytes) => { written.unwrap(); false }
            () = idle() => true,
        };
        if filled {
            break;
        }
        sent += 1;
        assert!(sent < 10_000, "the bound has no effect");
    }
    // What was sent arrives once the server takes it.
    for _ in 0..sent {
        assert_eq!(server.received().await, (conn, frame(1, 64 << 10)));
    }
}

/// Ready once all other tasks of this thread, and the sockets, have had many turns.
pub(super) async fn idle() {
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn closing_writes_what_was_queued_and_tells_only_the_peer() {
    let (mut client, to_server, mut server, to_client) = pair(NetConfig::default()).await;
    let closed = close_with_frames_queued((&mut client, to_server), (&mut server, to_client)).await;
    assert_eq!(closed.0, to_server);
    assert!(server.events.is_empty(), "{:?}", server.events);
    assert!(server.net.connections.is_empty());
}

#[tokio::test]
async fn an_address_where_no_one_listens_gives_closed() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address(listener.local_addr().unwrap().to_string());
    drop(listener);
    let mut client = End::dialing(NetConfig::default());
    client.net.connect(ConnectionId::dialed(1), &address);
    let (conn, reason) = client.closed().await;
    assert_eq!(conn, ConnectionId::dialed(1));
    assert!(reason.contains(&address.0) && reason.contains("refused"), "{reason}");
    client.net.connect(ConnectionId::dialed(2), &Address("no port".into()));
    assert_eq!(client.closed().await.0, ConnectionId::dialed(2));
}

#[tokio::test]
async fn closing_while_dialling_is_silent() {
    let (mut server, address) = End::listening(NetConfig::default());
    let mut client = End::dialing(NetConfig::default());
    client.net.connect(ConnectionId::dialed(1), &address);
    client.net.close(ConnectionId::dialed(1));
    client.net.connect(ConnectionId::dialed(2), &address);
    assert_eq!(client.opened().await, ConnectionId::dialed(2));
    client.while_polled(server.opened()).await;
}

#[tokio::test]
async fn a_peer_that_resets_gives_exactly_one_closed() {
    let (mut server, address) = End::listening(NetConfig::default());
    let mut peer = TcpStream::connect(&address.0).await.unwrap();
    let conn = server.opened().await;
    server.net.send(conn, frame(1, 100));
    server.net.flush();
    // One byte is read, the rest makes the close a reset.
    server.while_polled(peer.read_exact(&mut [0])).await.unwrap();
    drop(peer);
    assert_eq!(server.closed().await.0, conn);
    server.net.send(conn, frame(2, 100));
    server.net.flush();
    server.while_polled(idle()).await;
    assert!(server.events.is_empty(), "{:?}", server.events);
}

#[tokio::test]
async fn a_dropped_end_closes_its_connections_and_its_port() {
    let (mut client, to_server, server, _) = pair(NetConfig::default()).await;
    drop(server);
    assert_eq!(client.closed().await.0, to_server);
}
