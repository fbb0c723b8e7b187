//! ZooKeeper: a server, alone or in an ensemble.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::account::Account;
use crate::error::ServerError;
use crate::place::Place;
use crate::port::Port;
use crate::process::ServerProcess;
use crate::programs::find_or_install;
use crate::tls::ServerTls;

const MAIN_CLASS: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

/// How exactly sessions expire, in milliseconds.
const TICK_MS: u32 = 200;

#[derive(Debug)]
pub(crate) struct ZooKeeper {
    java: PathBuf,
    classes: String,
    place: Place,
    ports: Ports,
    /// Its number in the ensemble, and the lines that name all of it; none when it is alone.
    ensemble: Option<(usize, String)>,
    /// What secures the port for clients.
    tls: Option<ServerTls>,
}

#[derive(Debug)]
struct Ports {
    clients: Port,
    followers: Port,
    elections: Port,
}

impl Ports {
    fn at(place: &Place) -> Result<Self, ServerError> {
        let [clients, followers, elections] =
            [2181, 2888, 3888].map(|usual| Port::at(place, usual));
        Ok(Self { clients: clients?, followers: followers?, elections: elections? })
    }
}

impl ZooKeeper {
    /// Servers of one ensemble, each at its place.
    pub(crate) fn make(
        places: &[Place],
        tls: Option<&ServerTls>,
    ) -> Result<Vec<Self>, ServerError> {
        const PACKAGE: &str = "libzookeeper-java";
        let java = find_or_install("java", "default-jre-headless")?;
        let server = find_or_install("zookeeper.jar", PACKAGE)?;
        // Without it there is no log.
        let log = find_or_install("slf4j-simple.jar", PACKAGE)?;
        let mut classes = format!("{}:{}", log.display(), server.display());
        if tls.is_some() {
            // What TLS takes, and the server does not name itself.
            for part in ["netty-codec.jar", "netty-resolver.jar"] {
                classes =
                    format!("{classes}:{}", find_or_install(part, "libnetty-java")?.display());
            }
        }
        let ports = places.iter().map(Ports::at).collect::<Result<Vec<_>, _>>()?;
        let line = |(index, (place, ports)): (usize, (&Place, &Ports))| {
            let Ports { followers, elections, .. } = ports;
            let (host, number) = (place.host, index + 1);
            format!("server.{number}={host}:{}:{}", followers.number(), elections.number())
        };
        let lines: Vec<_> = places.iter().zip(&ports).enumerate().map(line).collect();
        let lines = (places.len() > 1).then(|| lines.join("\n"));
        let make = |(index, (place, ports))| Self {
            java: java.clone(),
            classes: classes.clone(),
            place: Place::clone(place),
            ports,
            ensemble: lines.clone().map(|lines| (index + 1, lines)),
            tls: tls.cloned(),
        };
        Ok(places.iter().zip(ports).enumerate().map(make).collect())
    }

    pub(crate) fn port(&self) -> u16 {
        self.ports.clients.number()
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn start(&self, directory: &Path) -> Result<ServerProcess, ServerError> {
        self.configure(directory)
            .map_err(ServerError::system("write the configuration of ZooKeeper"))?;
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
        // What it says once it serves; one of several serves only when the others do.
        let ready = self.ensemble.is_none().then_some("Using checkIntervalMs");
        let (account, end) = (Account::own_account(), Signal::KILL);
        ServerProcess::start_at(&self.place, &self.java, &arguments, account, ready, end)
    }

    fn configuration(directory: &Path) -> PathBuf {
        directory.join("zookeeper.properties")
    }

    fn configure(&self, directory: &Path) -> std::io::Result<()> {
        let data = directory.join("data");
        let mut settings = vec![
            format!("dataDir={}", data.display()),
            format!("tickTime={TICK_MS}"),
            "minSessionTimeout=500".to_owned(),
            "maxSessionTimeout=60000".to_owned(),
            // Every node and every lease has connections, all from this machine.
            "maxClientCnxns=0".to_owned(),
            "admin.enableServer=false".to_owned(),
        ];
        let clients = match &self.tls {
            None => "clientPort",
            Some(tls) => {
                settings.extend(Self::secured(directory, tls)?);
                "secureClientPort"
            }
        };
        settings.push(format!("{clients}Address={}", self.place.host));
        settings.push(format!("{clients}={}", self.port()));
        if let Some((number, lines)) = &self.ensemble {
            settings.extend([lines.clone(), "initLimit=50".to_owned(), "syncLimit=25".to_owned()]);
            fs::create_dir_all(&data)?;
            fs::write(data.join("myid"), number.to_string())?;
        }
        fs::write(Self::configuration(directory), settings.join("\n"))
    }

    /// The settings of a port that TLS secures.
    fn secured(directory: &Path, tls: &ServerTls) -> std::io::Result<[String; 3]> {
        // The key and the certificate have to be in one file.
        let both = fs::read_to_string(&tls.key)? + &fs::read_to_string(&tls.certificate)?;
        let path = directory.join("server.pem");
        fs::write(&path, both)?;
        Ok([
            "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory".to_owned(),
            format!("ssl.keyStore.location={}", path.display()),
            format!("ssl.trustStore.location={}", tls.authorities.display()),
        ])
    }
}
