//! Peers that ask for too much.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::tests::{End, frame};
use super::*;
use crate::tls::testing::{Authority, load};

/// What a peer reads that was turned away: the end, or that it was reset.
async fn is_closed(peer: &mut TcpStream) -> bool {
    peer.read(&mut [0]).await.unwrap_or(0) == 0
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_until_others_leave() {
    let config = NetConfig { connections_per_address: 2, ..NetConfig::default() };
    let (mut server, address) = End::listening(config);
    let mut first = TcpStream::connect(&address.0).await.unwrap();
    let conn = server.opened().await;
    let _second = TcpStream::connect(&address.0).await.unwrap();
    server.opened().await;
    for _ in 0..10 {
        let mut flood = TcpStream::connect(&address.0).await.unwrap();
        assert!(server.while_polled(is_closed(&mut flood)).await);
    }
    assert!(server.events.is_empty(), "{:?}", server.events);
    server.net.close(conn);
    assert!(server.while_polled(is_closed(&mut first)).await);
    drop(first);
    // Its place is free once its task has seen that it is gone.
    loop {
        let mut third = TcpStream::connect(&address.0).await.unwrap();
        tokio::select! {
            biased;
            closed = is_closed(&mut third) => assert!(closed),
            _ = server.opened() => break,
        }
    }
}

#[tokio::test]
async fn peers_that_shake_no_hands_hold_up_others_only_for_their_time() {
    let authority = Authority::new("ours");
    let tls = Some(load(authority.certificate("node", "localhost")));
    let (handshakes, handshake_timeout) = (2, Duration::from_millis(100));
    let config = NetConfig { tls, handshakes, handshake_timeout, ..NetConfig::default() };
    let (mut server, address) = End::listening(config);
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(&address.0).await.unwrap());
    }
    let tls = Some(load(authority.certificate("service", "a")));
    let mut client = End::dialing(NetConfig { tls, ..NetConfig::default() });
    let conn = ConnectionId::dialed(1);
    client.net.connect(conn, &Address(address.0.replace("127.0.0.1", "localhost")));
    client.net.send(conn, frame(1, 1));
    client.while_polled(server.opened()).await;
    assert_eq!(client.while_polled(server.received()).await.1, frame(1, 1));
}
