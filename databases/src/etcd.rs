//! etcd: a member, alone or with others.

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::account::Account;
use crate::error::ServerError;
use crate::place::Place;
use crate::port::Port;
use crate::process::ServerProcess;
use crate::programs::find_or_install;

/// No lease of etcd is shorter than one and a half times this: short ones are wanted here.
const ELECTION_TIMEOUT_MS: u32 = 500;
const HEARTBEAT_MS: u32 = 50;

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
}

impl Etcd {
    /// Members of one cluster, each at its place.
    pub(crate) fn make(places: &[Place]) -> Result<Vec<Self>, ServerError> {
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
        let (clients, peers) = (url(&self.place, &self.clients), url(&self.place, &self.peers));
        let arguments = [
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
        // One of several serves only when the others do.
        let ready = self.is_alone.then_some("serving client traffic");
        let account = Account::own_account();
        let (server, end) = (&self.server, Signal::KILL);
        ServerProcess::start_at(&self.place, server, &arguments, account, ready, end)
    }
}

fn name(index: usize) -> String {
    format!("member-{}", index + 1)
}

fn url(place: &Place, port: &Port) -> String {
    format!("http://{}:{}", place.host, port.number())
}
