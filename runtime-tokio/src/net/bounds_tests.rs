//! Clients that send too fast, or hold much of what is not whole, and nodes, who may.

use std::num::NonZeroU64;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::tests::{End, encoded, frame, idle};
use super::*;

fn rate(per_second: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(per_second)
}

/// An end with these rates, and a peer that has sent it frames of this size, as many as said.
async fn flooded(rates: Rates, frames: u32, payload: usize) -> (End, ConnectionId) {
    let (mut server, address) = End::listening(NetConfig { rates, ..NetConfig::default() });
    let mut bytes = BytesMut::new();
    (0..frames).for_each(|number| frame(number, payload).encode(&mut bytes));
    let conn = sends(&mut server, &address, bytes).await;
    (server, conn)
}

/// Connects to an end that nobody else sends anything to, and sends these bytes for as long as the
/// socket takes them.
async fn sends(server: &mut End, address: &Address, bytes: BytesMut) -> ConnectionId {
    let peer = TcpStream::connect(&address.0).await.unwrap();
    let conn = server.opened().await;
    send_on(peer, bytes);
    conn
}

fn send_on(mut peer: TcpStream, bytes: BytesMut) {
    tokio::spawn(async move {
        let _ = peer.write_all(&bytes).await;
        std::future::pending::<()>().await
    });
}

#[tokio::test(start_paused = true)]
async fn frames_beyond_the_rate_wait_and_all_of_them_come() {
    let started = Instant::now();
    let rates = Rates { frames_per_second: rate(10), ..Rates::default() };
    let (mut server, conn) = flooded(rates, 100, 100).await;
    for number in 0..100 {
        assert_eq!(server.received().await, (conn, frame(number, 100)));
        let wait = Duration::from_millis(100) * number.saturating_sub(9);
        assert!(started.elapsed() >= wait, "{number} came after {:?}", started.elapsed());
    }
    // Alarms have milliseconds.
    assert!(started.elapsed() < Duration::from_millis(9_100), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn bytes_beyond_the_rate_wait_and_all_of_them_come() {
    let started = Instant::now();
    let rates = Rates { bytes_per_second: rate(1 << 20), ..Rates::default() };
    let (mut server, conn) = flooded(rates, 8, 1 << 20).await;
    for number in 0..8 {
        assert_eq!(server.received().await, (conn, frame(number, 1 << 20)));
        let wait = Duration::from_secs(1) * number.saturating_sub(1);
        assert!(started.elapsed() >= wait, "{number} came after {:?}", started.elapsed());
    }
    assert!(started.elapsed() < Duration::from_millis(6_100), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_node_is_slowed_down_no_longer_once_it_is_known() {
    let started = Instant::now();
    let rates = Rates { bytes_per_second: rate(1), frames_per_second: rate(1) };
    let (mut server, conn) = flooded(rates, 1000, 1000).await;
    assert_eq!(server.received().await, (conn, frame(0, 1000)));
    server.net.lift_bounds(conn);
    for number in 1..1000 {
        assert_eq!(server.received().await, (conn, frame(number, 1000)));
    }
    assert_eq!(started.elapsed(), Duration::ZERO, "nobody waits for the clock");
}

#[tokio::test(start_paused = true)]
async fn who_dials_bounds_nobody() {
    let rates = Rates { bytes_per_second: rate(1), frames_per_second: rate(1) };
    let (mut server, address) = End::listening(NetConfig::default());
    let mut client = End::dialing(NetConfig { rates, ..NetConfig::default() });
    client.net.connect(ConnectionId::dialed(1), &address);
    client.opened().await;
    let conn = server.opened().await;
    let started = Instant::now();
    (0..100).for_each(|number| server.net.send(conn, frame(number, 1000)));
    server.net.flush();
    for number in 0..100 {
        assert_eq!(server.while_polled(client.received()).await.1, frame(number, 1000));
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
}

/// A frame of a MiB in all.
fn long_frame(number: u32) -> Frame {
    frame(number, (1 << 20) - 16)
}

#[tokio::test]
async fn many_unfinished_frames_take_no_more_than_their_room_and_hold_up_nobody_else() {
    let (incoming_bytes_in_all, room) = (8 << 20, 4 << 20);
    // Whoever is closed is read for longer than this test takes: room comes back before.
    let close_timeout = Duration::from_secs(3600);
    let config = NetConfig { incoming_bytes_in_all, close_timeout, ..NetConfig::default() };
    let (mut server, address) = End::listening(config);
    let mut unfinished = Vec::new();
    for _ in 0..50 {
        let mut bytes = encoded(&long_frame(0));
        bytes.truncate(bytes.len() - 1);
        unfinished.push(sends(&mut server, &address, bytes).await);
    }
    server.while_polled(idle()).await;
    assert_eq!(server.net.room.taken_bytes(), room, "all of it, and no more");

    // Clients with shorter frames go on, and so do nodes.
    for number in 0..20 {
        let mut bytes = BytesMut::new();
        (0..20).for_each(|_| frame(number, 30_000).encode(&mut bytes));
        let conn = sends(&mut server, &address, bytes).await;
        for _ in 0..20 {
            assert_eq!(server.received().await, (conn, frame(number, 30_000)));
        }
    }
    let mut peer = TcpStream::connect(&address.0).await.unwrap();
    let node = server.opened().await;
    server.net.lift_bounds(node);
    let sent = encoded(&long_frame(7));
    server.while_polled(peer.write_all(&sent)).await.unwrap();
    assert_eq!(server.received().await, (node, long_frame(7)));

    // A client with a long frame waits for its turn, which comes as silent ones are closed.
    let waiting = sends(&mut server, &address, encoded(&long_frame(8))).await;
    server.while_polled(idle()).await;
    assert!(server.events.is_empty(), "{:?}", server.events);
    assert_eq!(server.net.room.taken_bytes(), room);
    unfinished.into_iter().for_each(|conn| server.net.close(conn));
    assert_eq!(server.received().await, (waiting, long_frame(8)));
    server.while_polled(idle()).await;
    assert_eq!(server.net.room.taken_bytes(), 0);
}

#[tokio::test]
async fn a_frame_longer_than_the_whole_room_takes_it_alone() {
    let config = NetConfig { incoming_bytes_in_all: 100_000, ..NetConfig::default() };
    let (mut server, address) = End::listening(config);
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(TcpStream::connect(&address.0).await.unwrap());
        server.opened().await;
    }
    for (number, peer) in (0..).zip(peers) {
        let mut bytes = encoded(&long_frame(number));
        long_frame(number + 10).encode(&mut bytes);
        send_on(peer, bytes);
    }
    let mut numbers = Vec::new();
    for _ in 0..6 {
        let (_, frame) = server.received().await;
        numbers.push(u32::from_le_bytes(frame.head[..].try_into().unwrap()));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 10, 11, 12]);
}
