//! Whatever comes from outside and is wrong gets a clear answer, and harms nobody else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::load;
use super::support::{Node, assert_fails, json_lines, stdout, waltz};
use bytes::BytesMut;
use waltz_core::id::{ClientId, Epoch, MountId, NodeId, PartitionId, SessionId};
use waltz_core::limits::Limits;
use waltz_core::wire::{ClientRequest, Hello, Message, Refusal, Version, Who, split_frame};

#[test]
fn wrong_usage_ends_with_2() {
    assert_fails(&waltz(["serve", "--bogus"]), 2, "--bogus");
    assert_fails(&waltz(["append", "--partition=0"]), 2, "required");
    assert_fails(&waltz(["append", "--partition=0", "--data=a", "-"]), 2, "cannot be used with");
    let lock = waltz(["append", "--partition=0", "--data=a", "--write-lock=account"]);
    assert_fails(&lock, 2, "write a lock as NAME:ID");
    assert_fails(&waltz(["status", "--server=localhost"]), 2, "write an address as HOST:PORT");
    assert_fails(&waltz(["serve", "--coordinator=node-1"]), 2, "write an address as HOST:PORT");
    assert_fails(&waltz(["feed", "--partition=0", "--after=-1"]), 2, "write a transaction id");
    let newest = Version::NEWEST;
    let spoken = format!("does not speak version 900 of the protocol, only 1 to {newest}");
    assert_fails(&waltz(["serve", "--protocol-version=900"]), 2, &spoken);
}

#[test]
fn a_broken_row_is_named_by_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.csv");
    let rows = "date,transaction,account,amount_cents,balance_cents\n\
        1993-01-01,1,7,100,100\n1993-01-02,2,7,ten,110\n";
    std::fs::write(&path, rows).unwrap();
    let output = waltz(["demo", "bank", "--input", path.to_str().unwrap()]);
    assert_fails(&output, 1, "ledger.csv is no ledger: line 3: amount_cents is \"ten\"");
    let missing = waltz(["demo", "bank", "--input", "/nowhere/ledger.csv"]);
    assert_fails(&missing, 1, "could not open /nowhere/ledger.csv");
}

#[test]
fn a_data_directory_belongs_to_one_cluster_one_node_and_one_process() {
    let data = tempfile::tempdir().unwrap();
    let directory = format!("--data={}", data.path().display());
    let mut node = Node::start(data.path(), &["--cluster=one"]);
    let second = waltz(["serve", "--listen=127.0.0.1:0", &directory, "--cluster=one"]);
    assert_fails(&second, 1, "is in use by another process");
    assert_eq!(node.stop(), Some(0));
    let other = waltz(["serve", "--listen=127.0.0.1:0", &directory, "--cluster=two"]);
    assert_fails(&other, 1, "it is of cluster");
    let other = waltz(["serve", "--listen=127.0.0.1:0", &directory, "--cluster=one", "--node=2"]);
    assert_fails(&other, 1, "it is of node");

    let segment = first_segment(data.path());
    let mut bytes = std::fs::read(&segment).unwrap();
    for header in [0, bytes.len() - 4096] {
        bytes[header + 8..header + 12].copy_from_slice(&99_u32.to_le_bytes());
    }
    std::fs::write(&segment, &bytes).unwrap();
    let future = waltz(["serve", "--listen=127.0.0.1:0", &directory, "--cluster=one"]);
    assert_fails(&future, 1, "its format version is 99 and this program reads versions 2 and 3");
}

fn first_segment(data: &Path) -> PathBuf {
    let files = std::fs::read_dir(data.join("journal")).unwrap().map(|file| file.unwrap().path());
    let mut segments: Vec<_> = files
        .filter(|path| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"WALTZSEG")))
        .collect();
    segments.sort();
    segments.swap_remove(0)
}

#[test]
fn ports_that_are_taken_or_silent_are_named() {
    let data = tempfile::tempdir().unwrap();
    let directory = format!("--data={}", data.path().join("node").display());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = waltz(["serve", &directory, "--listen", &address]);
    assert_fails(&output, 1, &format!("could not listen on {address}"));
    assert!(!data.path().join("node").exists(), "no data is touched for nothing");

    let output = waltz(["status", "--timeout=300ms", "--server=127.0.0.1:1"]);
    assert_fails(&output, 1, "no node answered at 127.0.0.1:1");
}

#[test]
fn roles_and_coordinator_must_agree() {
    let data = tempfile::tempdir().unwrap();
    let directory = format!("--data={}", data.path().display());
    let alone = waltz(["serve", "--listen=127.0.0.1:0", &directory, "--roles=storage"]);
    assert_fails(&alone, 2, "name it with --coordinator");
    let both = ["serve", "--roles=coordinator", "--coordinator=127.0.0.1:1", &directory];
    assert_fails(&waltz(both), 2, "leave --coordinator out, or that role");
    let many = waltz(["serve", "--listen=127.0.0.1:0", &directory, "--partitions=0"]);
    assert_fails(&many, 2, "0 partitions");
    let nowhere = waltz(["serve", "--listen=0.0.0.0:0", &directory]);
    assert_fails(&nowhere, 2, "say with --advertise");
    assert!(std::fs::read_dir(data.path()).unwrap().next().is_none(), "no data is touched");
}

#[test]
fn another_cluster_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), &["--cluster=one"]);
    assert_eq!(node.run(["status", "--cluster=one"]).status.code(), Some(0));
    assert_fails(&node.run(["status", "--cluster=two"]), 1, "this node belongs to cluster");
}

#[test]
fn oversized_records_are_refused_at_both_ends() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(&data.path().join("node"), &["--max-record=1000"]);
    let file = data.path().join("large");
    std::fs::write(&file, [b'x'; 2_000]).unwrap();
    let file = format!("--file={}", file.display());
    let at_server = node.run(["append", "--json", "--partition=0", &file]);
    assert_eq!(at_server.status.code(), Some(1));
    let error = json_lines(&at_server)[0]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("2064 bytes; the server takes 1000"), "{error}");
    let at_client = node.run(["append", "--partition=0", "--max-record=1500", &file]);
    assert_eq!(at_client.status.code(), Some(1));
    let text = stdout(&at_client);
    assert!(text.contains("record of 2064 bytes is over the limit of 1500"), "{text}");
    let small = node.run(["append", "--json", "--partition=0", "--data=small"]);
    assert_eq!(json_lines(&small), [serde_json::json!({"partition": 0, "id": 0})]);
}

/// Sends bytes to a node and returns what it answers before it closes the connection.
fn send(node: &Node, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(&node.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => answer,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => answer,
        Err(error) => panic!("the connection was not closed: {error}"),
    }
}

/// A client's, that speaks from one version to another.
fn hello((oldest, newest): (u16, u16)) -> Vec<u8> {
    let (oldest, newest) = (Version(oldest), Version(newest));
    let hello = Hello { oldest, newest, cluster: None, who: Who::Client(ClientId(1)) };
    let mut bytes = BytesMut::new();
    Message::Hello(hello).frame().encode(&mut bytes);
    bytes.to_vec()
}

/// A frame that asks for an append to partition 0 and holds no records.
fn append_of_garbage() -> Vec<u8> {
    let session = SessionId { epoch: Epoch(1), server: NodeId(1), nonce: 1 };
    let (partition, mount) = (PartitionId(0), MountId(1));
    let append = ClientRequest::Append { partition, mount, session, count: 1 };
    let mut bytes = BytesMut::new();
    Message::Client(append).with(vec![7; 100].into()).encode(&mut bytes);
    bytes.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_frame_ends_its_connection_only() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), &["--partitions=1"]);
    let oversized = [&u32::MAX.to_le_bytes()[..], &[0; 40]].concat();
    let mut damaged = hello((1, 1));
    damaged[14] ^= 1;
    let truncated = hello((1, 1))[..10].to_vec();
    let garbage = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    let (partition, addresses) = (PartitionId(0), || vec![node.address.clone()]);
    let failed = load::check(addresses(), partition, async || {
        for bytes in [garbage, oversized, damaged, truncated] {
            load::grow(addresses(), partition, 100).await;
            assert_eq!(send(&node, &bytes), [0; 0], "nobody said hello");
            send(&node, &[hello((1, 1)), bytes].concat());
            send(&node, &hello((900, 900)));
        }
        send(&node, &[hello((1, 1)), append_of_garbage()].concat());
        load::grow(addresses(), partition, 100).await;
    })
    .await;
    assert_eq!(failed, 0, "the client that appended meanwhile noticed nothing");
}

/// What a node says to a client's hello.
fn greeted(node: &Node, versions: (u16, u16)) -> Message {
    let mut stream = TcpStream::connect(&node.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&hello(versions)).unwrap();
    let (mut answer, mut part) = (BytesMut::new(), [0; 1024]);
    loop {
        if let Some(frame) = split_frame(&mut answer, &Limits::default()).unwrap() {
            return Message::decode(&frame.head).unwrap();
        }
        let length = stream.read(&mut part).unwrap();
        assert!(length > 0, "it said nothing");
        answer.extend_from_slice(&part[..length]);
    }
}

#[test]
fn a_client_of_a_future_version_is_told_which_are_spoken() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), &[]);
    let refused = Refusal::Version { oldest: Version::OLDEST, newest: Version::NEWEST };
    assert_eq!(greeted(&node, (900, 900)), Message::Refused(refused));
}

#[test]
fn a_node_that_is_held_back_speaks_no_newer_version() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), &["--protocol-version=1"]);
    let welcome = |versions| match greeted(&node, versions) {
        Message::Welcome(welcome) => Ok(welcome.version),
        Message::Refused(refusal) => Err(refusal),
        other => panic!("{other:?}"),
    };
    assert_eq!(welcome((1, 2)), Ok(Version::FIRST));
    let refused = Refusal::Version { oldest: Version::OLDEST, newest: Version::FIRST };
    assert_eq!(welcome((2, 2)), Err(refused));
}
