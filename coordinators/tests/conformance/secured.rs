//! Coordinators that ask who is there: over TLS, with certificates on both ends, users and passwords.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use waltz_coordinators::conformance::Subject;
use waltz_coordinators::{CoordinatorAddress, Engine, Login, Port, Security};
use waltz_core::tls::TlsFiles;
use waltz_databases::{CoordinatorKind, CoordinatorServer, ServerTls};
use waltz_runtime::CoordinatorPort;
use waltz_runtime_tokio::{ClientCertificates, Tls, TokioTimer};

use crate::node::Node;
use crate::proxy::Proxy;

const CLUSTER: &str = "secured";
const USER: &str = "waltz";
const PASSWORD: &str = "open: sesame";

/// Signs certificates for loopback, and keeps them in a directory.
struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let directory = tempfile::tempdir().expect("a directory");
        write(&directory.path().join("ca.pem"), &issuer.pem());
        Self { directory, issuer }
    }

    /// The files of a certificate with this name.
    fn certificate(&self, name: &str) -> ServerTls {
        let hosts = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = CertificateParams::new(hosts).expect("hosts");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let at = |extension| self.directory.path().join(format!("{name}.{extension}"));
        write(&at("pem"), &certificate.pem());
        write(&at("key"), &key.serialize_pem());
        let authorities = self.directory.path().join("ca.pem");
        ServerTls { authorities, certificate: at("pem"), key: at("key") }
    }

    fn anonymous(&self) -> TlsFiles {
        TlsFiles::new(self.directory.path().join("ca.pem"))
    }

    fn named(&self, name: &str) -> TlsFiles {
        let ServerTls { authorities, certificate, key } = self.certificate(name);
        TlsFiles::new(authorities).certificate(certificate, key)
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("it can be written");
}

fn tls(files: TlsFiles) -> Security {
    let tls = Tls::load(files, ClientCertificates::Required).expect("the files are good");
    Security::default().with_tls(tls)
}

fn login(password: &str) -> Login {
    Login::new(USER, password).expect("a user")
}

/// A coordinator that takes what it should of `ours`.
async fn start(kind: CoordinatorKind, ours: &Authority) -> CoordinatorServer {
    let tls = ours.certificate("server");
    let start = move || {
        let server = CoordinatorServer::start_secured(kind, tls).expect("a server");
        server.require_login(USER, PASSWORD, "/waltz/").expect("it has users");
        server
    };
    spawn_blocking(start).await.expect("it starts")
}

struct Secured {
    engine: Engine,
    proxy: Proxy,
    security: Security,
}

impl Subject for Secured {
    type Timer = TokioTimer;

    fn open(&mut self) -> Box<dyn CoordinatorPort> {
        let address = CoordinatorAddress::new(self.engine, [self.proxy.address()]);
        let address = address.expect("a proxy is a member");
        Box::new(Port::connect_secured(&address, CLUSTER, self.security.clone()))
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer::new()
    }

    async fn cut(&mut self, is_cut: bool) {
        self.proxy.cut(is_cut);
    }
}

/// Everything that a coordinator has to pass, with certificates on both ends and a password.
async fn conforms(kind: CoordinatorKind, engine: Engine) {
    let ours = Authority::new("ours");
    let server = start(kind, &ours).await;
    let proxy = Proxy::start(format!("127.0.0.1:{}", server.port())).await;
    let security = tls(ours.named("node")).with_login(login(PASSWORD));
    super::pass(&mut Secured { engine, proxy, security }).await;
}

/// What who is refused is told.
async fn refusal(address: &CoordinatorAddress, security: Security) -> String {
    Node::new(Port::connect_secured(address, CLUSTER, security)).refused("key").await
}

async fn refuses(
    kind: CoordinatorKind,
    without_certificate: &[&str],
    wrong_password: &str,
    nobody: &[&str],
) {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let server = start(kind, &ours).await;
    let address: CoordinatorAddress = server.address().parse().expect("it has an address");
    let right = tls(ours.named("node")).with_login(login(PASSWORD));
    let mut node = Node::new(Port::connect_secured(&address, CLUSTER, right));
    node.connected().await;
    node.set("key", None, None).await.expect("there is none");

    let has = |told: String, expected: &[&str]| {
        assert!(expected.iter().any(|text| told.contains(text)), "{told}");
    };
    let stranger = tls(other.named("node")).with_login(login(PASSWORD));
    has(refusal(&address, stranger).await, &["UnknownIssuer"]);
    let anonymous = tls(ours.anonymous()).with_login(login(PASSWORD));
    has(refusal(&address, anonymous).await, without_certificate);
    // Another name: what ZooKeeper has was made in the name of the certificate, too.
    let wrong = tls(ours.named("other")).with_login(login("wrong"));
    has(refusal(&address, wrong).await, &[wrong_password]);
    has(refusal(&address, tls(ours.named("nobody"))).await, nobody);
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_conforms_over_tls_with_a_password() {
    conforms(CoordinatorKind::Etcd, Engine::Etcd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zookeeper_conforms_over_tls_with_a_password() {
    conforms(CoordinatorKind::ZooKeeper, Engine::ZooKeeper).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_refuses_others_with_a_reason() {
    let certificate = ["CertificateRequired", "BadCertificate"];
    let nobody = ["user name is empty", "permission denied"];
    refuses(CoordinatorKind::Etcd, &certificate, "authentication failed", &nobody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zookeeper_refuses_others_with_a_reason() {
    refuses(
        CoordinatorKind::ZooKeeper,
        &["Certificate", "certificate"],
        "not authorized",
        &["not authorized"],
    )
    .await;
}

/// A token that etcd has forgotten is taken anew, within the session.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_valid_any_more_is_replaced() {
    let ours = Authority::new("ours");
    let server = start(CoordinatorKind::Etcd, &ours).await;
    let proxy = Proxy::start(format!("127.0.0.1:{}", server.port())).await;
    let address = CoordinatorAddress::new(Engine::Etcd, [proxy.address()]).expect("it is one");
    let security = tls(ours.named("node")).with_login(login(PASSWORD));
    let mut node = Node::new(Port::connect_secured(&address, CLUSTER, security));
    node.connected().await;
    let first = node.set("key", None, None).await.expect("there is none");
    let replaced = spawn_blocking(move || {
        server.replace_user(USER, PASSWORD).expect("it is another one");
        server
    });
    let _server = replaced.await.expect("it is done");
    node.set("key", Some(first), None).await.expect("as expected, in the same session");
}
