//! Two ends over TLS on the loopback interface, or one end and a peer that does it wrong.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use waltz_core::tls::TlsFiles;

use super::tests::{End, close_with_frames_queued, encoded, exchange_frames_of_all_sizes, frame};
use super::*;
use crate::tls::testing::{Authority, load};
use crate::tls::{ClientCertificates, Tls};

fn with(tls: Tls) -> NetConfig {
    NetConfig { tls: Some(tls), ..NetConfig::default() }
}

fn secured(files: TlsFiles) -> NetConfig {
    with(load(files))
}

/// Where an end listens, by the name that its certificate has.
fn by_name(address: &Address) -> Address {
    Address(address.0.replace("127.0.0.1", "localhost"))
}

/// An end of this authority that listens, and one that has dialled it.
async fn pair(authority: &Authority) -> (End, ConnectionId, End, ConnectionId) {
    let node = authority.certificate("node-1", "localhost");
    let (mut server, address) = End::listening(secured(node));
    let mut client = End::dialing(secured(authority.certificate("service", "service.example")));
    let dialed = ConnectionId::dialed(1);
    client.net.connect(dialed, &by_name(&address));
    let theirs = server.while_polled(client.next()).await;
    let ours = client.while_polled(server.next()).await;
    let (
        NetEvent::Opened { identity: Some(theirs), .. },
        NetEvent::Opened { conn, identity: Some(ours) },
    ) = (theirs, ours)
    else {
        panic!("both ends are known");
    };
    assert!(theirs.is("node-1") && theirs.is("localhost"), "{theirs}");
    assert!(ours.is("service") && ours.is("spiffe://waltz.example/service"), "{ours}");
    (client, dialed, server, conn)
}

/// What becomes of a dial from one end to another that accepts nobody.
async fn refused(server: NetConfig, client: NetConfig) -> String {
    let (mut server, address) = End::listening(server);
    let mut client = End::dialing(client);
    client.net.connect(ConnectionId::dialed(1), &by_name(&address));
    let reason = loop {
        match server.while_polled(client.next()).await {
            // With TLS 1.3 a client is done before the server has seen its certificate.
            NetEvent::Opened { .. } => {}
            NetEvent::Closed { reason, .. } => break reason,
            NetEvent::Received { .. } => panic!("nobody sends anything"),
        }
    };
    assert!(server.events.is_empty(), "the loop has nothing to do with it: {:?}", server.events);
    reason
}

#[tokio::test]
async fn frames_of_all_sizes_go_both_ways_in_order() {
    let authority = Authority::new("ours");
    let (mut client, to_server, mut server, to_client) = pair(&authority).await;
    exchange_frames_of_all_sizes((&mut client, to_server), (&mut server, to_client)).await;
}

#[tokio::test]
async fn closing_writes_what_was_queued_and_says_goodbye() {
    let authority = Authority::new("ours");
    let (mut client, to_server, mut server, to_client) = pair(&authority).await;
    let (conn, reason) =
        close_with_frames_queued((&mut client, to_server), (&mut server, to_client)).await;
    assert_eq!((conn, reason.as_str()), (to_server, "the peer closed the connection"));
}

#[tokio::test]
async fn a_dropped_end_closes_its_connections() {
    let authority = Authority::new("ours");
    let (mut client, to_server, server, _) = pair(&authority).await;
    drop(server);
    assert_eq!(client.closed().await.0, to_server);
}

#[tokio::test]
async fn a_node_of_another_authority_with_another_name_or_out_of_date_is_not_taken() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let client = || secured(ours.certificate("service", "service.example"));
    let of_other = secured(other.certificate("node", "localhost"));
    let reason = refused(of_other, client()).await;
    assert!(reason.contains("UnknownIssuer"), "{reason}");
    let reason = refused(secured(ours.certificate("node", "elsewhere")), client()).await;
    assert!(reason.contains("localhost") && reason.contains("elsewhere"), "{reason}");
    let reason = refused(secured(ours.expired("node", "localhost")), client()).await;
    assert!(reason.contains("expired"), "{reason}");
}

#[tokio::test]
async fn who_connects_needs_a_certificate_of_the_authority_unless_it_is_optional() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let node = || ours.certificate("node", "localhost");
    let reason = refused(secured(node()), secured(ours.anonymous())).await;
    assert!(reason.contains("CertificateRequired"), "{reason}");
    // It trusts this authority, and has a certificate of the other.
    let stranger = other.certificate("service", "service.example").certificate.unwrap();
    let stranger = ours.anonymous().certificate(stranger.chain, stranger.key);
    let reason = refused(secured(node()), secured(stranger)).await;
    assert!(reason.contains("alert"), "{reason}");
    let reason = refused(secured(node()), secured(ours.expired("service", "a"))).await;
    assert!(reason.contains("CertificateExpired"), "{reason}");

    let optional = Tls::load(node(), ClientCertificates::Optional).unwrap();
    let (mut server, address) = End::listening(with(optional));
    let mut client = End::dialing(secured(ours.anonymous()));
    client.net.connect(ConnectionId::dialed(1), &by_name(&address));
    let opened = client.while_polled(server.next()).await;
    assert!(matches!(opened, NetEvent::Opened { identity: None, .. }), "{opened:?}");
}

#[tokio::test]
async fn an_end_without_tls_is_told_from_one_with_it() {
    let authority = Authority::new("ours");
    let node = || secured(authority.certificate("node", "localhost"));
    let (mut server, address) = End::listening(node());
    let mut client = End::dialing(NetConfig::default());
    client.net.connect(ConnectionId::dialed(1), &address);
    client.net.send(ConnectionId::dialed(1), frame(1, 100));
    client.opened().await;
    let (_, reason) = server.while_polled(client.closed()).await;
    assert!(reason.contains("the peer speaks TLS"), "{reason}");
    assert!(server.events.is_empty());

    let (mut server, address) = End::listening(NetConfig::default());
    let mut client = End::dialing(node());
    client.net.connect(ConnectionId::dialed(1), &by_name(&address));
    client.while_polled(server.opened()).await;
    let (_, reason) = client.while_polled(server.closed()).await;
    assert!(reason.contains("the peer speaks TLS"), "{reason}");
    let (_, reason) = server.while_polled(client.closed()).await;
    assert!(reason.contains("does it speak TLS?"), "{reason}");
}

#[tokio::test]
async fn a_peer_that_says_nothing_or_nonsense_ends_alone() {
    let authority = Authority::new("ours");
    let node = authority.certificate("node", "localhost");
    let config = NetConfig { handshake_timeout: Duration::from_millis(50), ..secured(node) };
    let (mut server, address) = End::listening(config);
    let mut silent = TcpStream::connect(&address.0).await.unwrap();
    let mut garbled = TcpStream::connect(&address.0).await.unwrap();
    garbled.write_all(&[0x16; 4000]).await.unwrap();
    let mut rest = Vec::new();
    let left = async {
        garbled.read_to_end(&mut rest).await.unwrap();
        silent.read_to_end(&mut rest).await.unwrap();
    };
    server.while_polled(left).await;
    assert!(server.events.is_empty(), "{:?}", server.events);
    let mut client = End::dialing(secured(authority.certificate("service", "a")));
    client.net.connect(ConnectionId::dialed(1), &by_name(&address));
    client.while_polled(server.opened()).await;
}

#[tokio::test]
async fn what_is_secured_is_not_sent_in_the_clear() {
    let authority = Authority::new("ours");
    let node = authority.certificate("node", "localhost");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address(listener.local_addr().unwrap().to_string());
    let mut client = End::dialing(secured(node));
    client.net.connect(ConnectionId::dialed(1), &by_name(&address));
    client.net.send(ConnectionId::dialed(1), frame(1, 100));
    client.net.flush();
    let (mut peer, _) = client.while_polled(listener.accept()).await.unwrap();
    let mut bytes = vec![0; 5];
    client.while_polled(peer.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(bytes[..2], [0x16, 3], "a record of a handshake");
    assert_ne!(bytes[..], encoded(&frame(1, 100))[..5]);
}

#[tokio::test]
async fn new_certificates_are_used_without_a_restart_and_old_connections_stay() {
    let (authority, next) = (Authority::new("ours"), Authority::new("other"));
    let tls = load(authority.certificate("node-1", "localhost"));
    let (mut server, address) = End::listening(with(tls.clone()));
    let mut early = End::dialing(secured(authority.certificate("early", "a")));
    early.net.connect(ConnectionId::dialed(1), &by_name(&address));
    let to_early = early.while_polled(server.opened()).await;

    // Both the certificate and the authority change.
    next.certificate("node-1", "localhost");
    for file in ["ca.pem", "node-1.pem", "node-1.key"] {
        std::fs::copy(next.path().join(file), authority.path().join(file)).unwrap();
    }
    assert!(tls.reload().unwrap());
    let mut late = End::dialing(secured(next.certificate("late", "a")));
    late.net.connect(ConnectionId::dialed(1), &by_name(&address));
    late.while_polled(server.opened()).await;
    server.net.send(to_early, frame(1, 100));
    server.net.flush();
    early.opened().await;
    assert_eq!(server.while_polled(early.received()).await.1, frame(1, 100));
}
