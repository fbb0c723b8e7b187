//! ZooKeeper, one server alone.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::account::Account;
use crate::error::ServerError;
use crate::port::Port;
use crate::process::ServerProcess;
use crate::programs::find_or_install;

const MAIN_CLASS: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

/// How exactly sessions expire, in milliseconds.
const TICK_MS: u32 = 200;

#[derive(Debug)]
pub(crate) struct ZooKeeper {
    java: PathBuf,
    classes: String,
    clients: Port,
}

impl ZooKeeper {
    pub(crate) fn make(directory: &Path) -> Result<Self, ServerError> {
        const PACKAGE: &str = "libzookeeper-java";
        let java = find_or_install("java", "default-jre-headless")?;
        let server = find_or_install("zookeeper.jar", PACKAGE)?;
        // Without it there is no log.
        let log = find_or_install("slf4j-simple.jar", PACKAGE)?;
        let zookeeper = Self {
            java,
            classes: format!("{}:{}", log.display(), server.display()),
            clients: Port::hold()?,
        };
        fs::write(Self::configuration(directory), zookeeper.settings(directory))
            .map_err(ServerError::system("write the configuration of ZooKeeper"))?;
        Ok(zookeeper)
    }

    pub(crate) fn port(&self) -> u16 {
        self.clients.number()
    }

    pub(crate) fn start(&self, directory: &Path) -> Result<ServerProcess, ServerError> {
        let configuration = Self::configuration(directory).display().to_string();
        let arguments = [
            "-Xmx128m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            &self.classes,
            MAIN_CLASS,
            &configuration,
        ];
        let arguments = arguments.map(str::to_owned);
        // What it says once it serves.
        let (account, ready) = (Account::own_account(), "Using checkIntervalMs");
        ServerProcess::start(&self.java, &arguments, account, ready, Signal::KILL)
    }

    fn configuration(directory: &Path) -> PathBuf {
        directory.join("zookeeper.properties")
    }

    fn settings(&self, directory: &Path) -> String {
        let settings = [
            format!("dataDir={}", directory.join("data").display()),
            "clientPortAddress=127.0.0.1".to_owned(),
            format!("clientPort={}", self.clients.number()),
            format!("tickTime={TICK_MS}"),
            "minSessionTimeout=500".to_owned(),
            "maxSessionTimeout=60000".to_owned(),
            // Every node and every lease has connections, all from this machine.
            "maxClientCnxns=0".to_owned(),
            "admin.enableServer=false".to_owned(),
        ];
        settings.join("\n")
    }
}
