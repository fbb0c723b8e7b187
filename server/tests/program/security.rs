//! Nodes and clients that have to prove who they are: what each may do, and who is turned away.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use waltz_server::cluster::{ClusterPlan, LocalCluster};

use crate::support::{Node, WALTZ, assert_fails, json_lines, stdout, waltz};

/// Signs certificates for loopback, and keeps them in a directory.
pub(crate) struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { directory, issuer }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Flags for whoever trusts this authority and has a certificate of it with this name.
    pub(crate) fn flags(&self, name: &str) -> Vec<String> {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let at = |extension| self.path().join(format!("{name}.{extension}"));
        std::fs::write(at("pem"), certificate.pem()).unwrap();
        std::fs::write(at("key"), key.serialize_pem()).unwrap();
        let (certificate, key) = (at("pem"), at("key"));
        let mut flags = vec![self.trust()];
        flags.push(format!("--tls-cert={}", certificate.display()));
        flags.push(format!("--tls-key={}", key.display()));
        flags
    }

    fn trust(&self) -> String {
        format!("--tls-ca={}", self.path().join("ca.pem").display())
    }
}

/// Runs a command with these flags against a node.
fn run(address: &str, flags: &[String], args: &[&str]) -> Output {
    Command::new(WALTZ)
        .args(args)
        .args(flags)
        .args([format!("--server={address}"), "--timeout=20s".to_owned()])
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

#[track_caller]
fn assert_succeeds(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const APPEND: [&str; 3] = ["append", "--partition=0", "--data=text"];
const READ: [&str; 3] = ["feed", "--partition=0", "--count=1"];
const CONSUME: [&str; 5] = ["consumer", "set", "--partition=0", "--name=c", "--applied=none"];
const TRIM: [&str; 6] = ["admin", "partition", "trim", "--partition=0", "--to=0", "--yes"];

#[tokio::test]
async fn everyone_may_do_what_their_role_allows_and_no_more() {
    let (ours, directory) = (Authority::new("ours"), tempfile::tempdir().unwrap());
    let mut arguments = ours.flags("node");
    for role in ["node", "admin", "writer", "reader"] {
        arguments.push(format!("--allow-{role}={role}"));
    }
    let plan =
        ClusterPlan { partitions: 1, arguments, ..ClusterPlan::new(WALTZ, directory.path()) };
    let mut cluster = LocalCluster::start(&plan).await.unwrap();
    let address = cluster.addresses().remove(1);
    let (reader, writer, admin) = (ours.flags("reader"), ours.flags("writer"), ours.flags("admin"));

    let denied = run(&address, &reader, &APPEND);
    assert_eq!(denied.status.code(), Some(5));
    assert!(stdout(&denied).contains("this takes the role writer"), "{}", stdout(&denied));
    assert_fails(&run(&address, &reader, &CONSUME), 5, "this takes the role writer");
    assert_succeeds(&run(&address, &writer, &APPEND));
    assert_succeeds(&run(&address, &writer, &CONSUME));
    assert_succeeds(&run(&address, &reader, &READ));
    assert_fails(&run(&address, &writer, &TRIM), 5, "this takes the role admin");
    assert_succeeds(&run(&address, &admin, &TRIM));
    assert_succeeds(&run(&address, &admin, &APPEND));

    // Nobody that no rule is about, and a node is no client.
    for name in ["stranger", "node"] {
        assert_fails(&run(&address, &ours.flags(name), &APPEND), 5, "gives no role");
    }
    cluster.stop(std::time::Duration::from_secs(10)).await.unwrap();
}

#[test]
fn who_is_not_of_the_authority_is_turned_away_with_a_reason() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let directory = tempfile::tempdir().unwrap();
    let mut flags = ours.flags("node");
    flags.push("--allow-writer=writer".to_owned());
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let node = Node::start(directory.path(), &flags);
    let fails = |flags: &[String], reason| {
        let timeout = ["append", "--partition=0", "--data=text"];
        let output = Command::new(WALTZ)
            .args(timeout)
            .args(flags)
            .args([format!("--server={}", node.address), "--timeout=2s".to_owned()])
            .output()
            .unwrap();
        assert_fails(&output, 1, reason);
    };
    fails(&[], "the peer speaks TLS and this end does not");
    fails(&[ours.trust()], "CertificateRequired");
    fails(&other.flags("writer"), "UnknownIssuer");
    // It takes our node for what it is, and is not taken itself.
    let mut mixed = other.flags("writer");
    mixed[0] = ours.trust();
    fails(&mixed, "alert");
    assert_succeeds(&run(&node.address, &ours.flags("writer"), &APPEND));
}

#[test]
fn a_token_stands_for_a_certificate() {
    let ours = Authority::new("ours");
    let made = json_lines(&waltz(["token", "writer", "--json"])).remove(0);
    let (token, line) = (made["token"].as_str().unwrap(), made["line"].as_str().unwrap());
    let at = |name: &str| ours.path().join(name);
    std::fs::write(at("tokens"), format!("{line} # of a test\n")).unwrap();
    std::fs::write(at("good"), format!("{token}\n")).unwrap();
    std::fs::write(at("bad"), "a guess").unwrap();

    let mut flags = ours.flags("node");
    flags.push("--tls-clients=optional".to_owned());
    flags.push(format!("--tokens={}", at("tokens").display()));
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path(), &flags);
    let with = |name| vec![ours.trust(), format!("--token-file={}", at(name).display())];
    assert_succeeds(&run(&node.address, &with("good"), &APPEND));
    assert_fails(&run(&node.address, &with("good"), &TRIM), 5, "this takes the role admin");
    assert_fails(&run(&node.address, &with("bad"), &APPEND), 5, "gives no role to this token");
    assert_fails(&run(&node.address, &[ours.trust()], &APPEND), 5, "gives no role");
}

#[test]
fn certificates_change_while_appends_run() {
    let (ours, next) = (Authority::new("ours"), Authority::new("next"));
    let mut flags = ours.flags("node");
    flags.push("--allow-writer=writer".to_owned());
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path(), &flags);
    let mut appending = Command::new(WALTZ)
        .args(["append", "--partition=0", "--json", "-", &format!("--server={}", node.address)])
        .args(ours.flags("writer"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = appending.stdin.take().unwrap();
    let mut answers = BufReader::new(appending.stdout.take().unwrap()).lines();
    let mut append = |data: &str| {
        writeln!(input, "{data}").unwrap();
        let answer = answers.next().unwrap().unwrap();
        assert!(answer.contains("\"id\""), "{answer}");
    };
    append("before");
    next.flags("node");
    for file in ["node.key", "node.pem", "ca.pem"] {
        std::fs::copy(next.path().join(file), ours.path().join(file)).unwrap();
    }
    append("meanwhile");
    // It waits until it is taken, which only the new certificates make happen.
    assert_succeeds(&run(&node.address, &next.flags("writer"), &APPEND));
    append("after");
    drop(input);
    assert!(appending.wait().unwrap().success());
}

#[test]
fn nothing_is_open_beyond_loopback_by_accident() {
    let directory = tempfile::tempdir().unwrap();
    let data = format!("--data={}", directory.path().display());
    let serve = |flags: &[&str]| {
        let output = Command::new(WALTZ).arg("serve").arg(&data).args(flags).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let open = serve(&["--listen=0.0.0.0:0", "--advertise=localhost:7400"]);
    assert!(open.contains("is not on loopback") && open.contains("--insecure"), "{open}");
    let partly = serve(&["--tls-cert=a.pem"]);
    assert!(
        partly.contains("--tls-cert, --tls-key and --tls-ca (section tls) go together"),
        "{partly}"
    );
    let names = serve(&["--allow-admin=a"]);
    assert!(names.contains("which takes TLS"), "{names}");
    let missing = serve(&["--tls-cert=/no/a", "--tls-key=/no/b", "--tls-ca=/no/c"]);
    assert!(missing.contains("could not read /no/c"), "{missing}");
}
