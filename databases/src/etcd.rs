//! etcd: a member, alone or with others.

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::account::Account;
use crate::error::ServerError;
use crate::place::Place;
use crate::port::Port;
use crate::process::{ServerProcess, run};
use crate::programs::find_or_install;
use crate::tls::ServerTls;

/// No lease of etcd is shorter than one and a half times this: short ones are wanted here.
const ELECTION_TIMEOUT_MS: u32 = 500;
const HEARTBEAT_MS: u32 = 50;

/// What users are given who may use some keys.
const ROLE: &str = "keys";

#[derive(Debug)]
pub(crate) struct Etcd {
    server: PathBuf,
    place: Place,
    clients: Port,
    /// Where it listens for other members; it has to, even alone.
    peers: Port,
    name: String,
    /// All members with that address.
    members: String,
    is_alone: bool,
    /// What secures the port for clients.
    tls: Option<ServerTls>,
}

impl Etcd {
    /// Members of one cluster, each at its place.
    pub(crate) fn make(
        places: &[Place],
        tls: Option<&ServerTls>,
    ) -> Result<Vec<Self>, ServerError> {
        let server = find_or_install("etcd", "etcd-server")?;
        let mut held = Vec::new();
        for place in places {
            held.push((Port::at(place, 2379)?, Port::at(place, 2380)?));
        }
        let members = places.iter().zip(&held).enumerate();
        let members = members
            .map(|(index, (place, (_, peers)))| format!("{}={}", name(index), url(place, peers)));
        let members = members.collect::<Vec<_>>().join(",");
        let make = |(index, (place, (clients, peers)))| Self {
            server: server.clone(),
            place: Place::clone(place),
            clients,
            peers,
            name: name(index),
            members: members.clone(),
            is_alone: places.len() == 1,
            tls: tls.cloned(),
        };
        Ok(places.iter().zip(held).enumerate().map(make).collect())
    }

    pub(crate) fn port(&self) -> u16 {
        self.clients.number()
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn start(&self, directory: &Path) -> Result<ServerProcess, ServerError> {
        let Self { name, members, .. } = self;
        let (clients, peers) = (self.clients_url(), url(&self.place, &self.peers));
        let mut arguments = vec![
            format!("--name={name}"),
            format!("--data-dir={}", directory.join("data").display()),
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster={members}"),
            format!("--election-timeout={ELECTION_TIMEOUT_MS}"),
            format!("--heartbeat-interval={HEARTBEAT_MS}"),
            "--logger=zap".to_owned(),
            "--log-outputs=stderr".to_owned(),
        ];
        if let Some(tls) = &self.tls {
            arguments.extend([
                format!("--cert-file={}", tls.certificate.display()),
                format!("--key-file={}", tls.key.display()),
                format!("--trusted-ca-file={}", tls.authorities.display()),
                "--client-cert-auth".to_owned(),
            ]);
        }
        // One of several serves only when the others do.
        let ready = self.is_alone.then_some("serving client traffic");
        let account = Account::own_account();
        let (server, end) = (&self.server, Signal::KILL);
        ServerProcess::start_at(&self.place, server, &arguments, account, ready, end)
    }

    fn clients_url(&self) -> String {
        let url = url(&self.place, &self.clients);
        if self.tls.is_some() { url.replace("http:", "https:") } else { url }
    }

    /// Makes a user for keys below a prefix, and has everyone log in from then on.
    pub(crate) fn require_login(
        &self,
        user: &str,
        password: &str,
        prefix: &str,
    ) -> Result<(), ServerError> {
        // etcd wants somebody who may do everything.
        let [root, named] = ["root", user].map(|user| format!("{user}:{password}"));
        let steps: [&[&str]; 7] = [
            &["user", "add", &root],
            &["user", "grant-role", "root", "root"],
            &["user", "add", &named],
            &["role", "add", ROLE],
            &["role", "grant-permission", ROLE, "readwrite", "--prefix=true", prefix],
            &["user", "grant-role", user, ROLE],
            &["auth", "enable"],
        ];
        steps.iter().try_for_each(|step| self.control(step))
    }

    /// Makes a user anew.
    pub(crate) fn replace_user(&self, user: &str, password: &str) -> Result<(), ServerError> {
        let [root, named] = ["root", user].map(|user| format!("{user}:{password}"));
        let root = format!("--user={root}");
        let steps: [&[&str]; 3] = [
            &[&root, "user", "delete", user],
            &[&root, "user", "add", &named],
            &[&root, "user", "grant-role", user, ROLE],
        ];
        steps.iter().try_for_each(|step| self.control(step))
    }

    /// Has `etcdctl` do something.
    fn control(&self, words: &[&str]) -> Result<(), ServerError> {
        let control = find_or_install("etcdctl", "etcd-client")?;
        let mut arguments = vec![format!("--endpoints={}", self.clients_url())];
        if let Some(tls) = &self.tls {
            arguments.extend([
                format!("--cacert={}", tls.authorities.display()),
                format!("--cert={}", tls.certificate.display()),
                format!("--key={}", tls.key.display()),
            ]);
        }
        arguments.extend(words.iter().map(|&word| word.to_owned()));
        run(&control, &arguments, Account::own_account())
    }
}

fn name(index: usize) -> String {
    format!("member-{}", index + 1)
}

fn url(place: &Place, port: &Port) -> String {
    format!("http://{}:{}", place.host, port.number())
}
