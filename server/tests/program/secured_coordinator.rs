//! Nodes whose coordinator asks who they are.

use std::path::PathBuf;

use waltz_databases::{CoordinatorKind, CoordinatorServer, ServerTls};

use crate::security::Authority;
use crate::support::{Node, stdout};

fn a_node_serves_on_a_coordinator_that_asks_for_everything(kind: CoordinatorKind) {
    let (ours, directory) = (Authority::new("ours"), tempfile::tempdir().unwrap());
    let at = |name: &str| -> PathBuf { ours.path().join(name) };
    for name in ["server", "node"] {
        // Where the files are is known.
        let _ = ours.flags(name);
    }
    let tls = ServerTls {
        authorities: at("ca.pem"),
        certificate: at("server.pem"),
        key: at("server.key"),
    };
    let server = CoordinatorServer::start_secured(kind, tls).unwrap();
    server.require_login("waltz", "sesame", "/waltz/waltz/").unwrap();
    std::fs::write(at("password"), "sesame\n").unwrap();
    let arguments = [
        format!("--coordinator={}", server.address()),
        "--partitions=1".to_owned(),
        format!("--coordinator-tls-ca={}", at("ca.pem").display()),
        format!("--coordinator-tls-cert={}", at("node.pem").display()),
        format!("--coordinator-tls-key={}", at("node.key").display()),
        "--coordinator-user=waltz".to_owned(),
        format!("--coordinator-password-file={}", at("password").display()),
    ];
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let node = Node::start(&directory.path().join("data"), &arguments);
    let appended = node.run(["append", "--partition=0", "--data=text", "--timeout=60s"]);
    assert!(appended.status.success(), "{}{:?}", stdout(&appended), appended.stderr);
}

#[test]
fn a_node_serves_on_a_secured_etcd() {
    a_node_serves_on_a_coordinator_that_asks_for_everything(CoordinatorKind::Etcd);
}

#[test]
fn a_node_serves_on_a_secured_zookeeper() {
    a_node_serves_on_a_coordinator_that_asks_for_everything(CoordinatorKind::ZooKeeper);
}
