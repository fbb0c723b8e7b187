//! etcd, one member alone.

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::account::Account;
use crate::error::ServerError;
use crate::port::Port;
use crate::process::ServerProcess;
use crate::programs::find_or_install;

/// No lease of etcd is shorter than one and a half times this: short ones are wanted here.
const ELECTION_TIMEOUT_MS: u32 = 500;
const HEARTBEAT_MS: u32 = 50;

#[derive(Debug)]
pub(crate) struct Etcd {
    server: PathBuf,
    clients: Port,
    /// etcd has to listen for other members as well; there are none.
    peers: Port,
}

impl Etcd {
    pub(crate) fn make() -> Result<Self, ServerError> {
        let server = find_or_install("etcd", "etcd-server")?;
        Ok(Self { server, clients: Port::hold()?, peers: Port::hold()? })
    }

    pub(crate) fn port(&self) -> u16 {
        self.clients.number()
    }

    pub(crate) fn start(&self, directory: &Path) -> Result<ServerProcess, ServerError> {
        let url = |port: &Port| format!("http://127.0.0.1:{}", port.number());
        let (clients, peers) = (url(&self.clients), url(&self.peers));
        let arguments = [
            "--name=alone".to_owned(),
            format!("--data-dir={}", directory.join("data").display()),
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=alone={peers}"),
            format!("--election-timeout={ELECTION_TIMEOUT_MS}"),
            format!("--heartbeat-interval={HEARTBEAT_MS}"),
            "--logger=zap".to_owned(),
            "--log-outputs=stderr".to_owned(),
        ];
        let (account, ready) = (Account::own_account(), "serving client traffic");
        ServerProcess::start(&self.server, &arguments, account, ready, Signal::KILL)
    }
}
