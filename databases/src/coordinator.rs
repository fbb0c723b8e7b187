//! A coordinator on a directory and a port of its own.

use std::net::Ipv4Addr;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::error::ServerError;
use crate::etcd::Etcd;
use crate::place::Place;
use crate::process::ServerProcess;
use crate::running::{Running, directory};
use crate::tls::ServerTls;
use crate::zookeeper::ZooKeeper;

/// Which coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoordinatorKind {
    /// etcd.
    Etcd,
    /// ZooKeeper.
    ZooKeeper,
}

/// A coordinator that runs until it is dropped. Its data is deleted with it.
///
/// ```no_run
/// use waltz_databases::{CoordinatorKind, CoordinatorServer};
///
/// # fn main() -> Result<(), waltz_databases::ServerError> {
/// let server = CoordinatorServer::start(CoordinatorKind::Etcd)?;
/// assert!(server.address().starts_with("etcd://127.0.0.1:"));
/// server.pause()?; // it hangs
/// server.resume()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CoordinatorServer {
    // Dropped first: the directory goes when nothing writes to it any more.
    running: Running,
    engine: Engine,
    directory: TempDir,
}

#[derive(Debug)]
enum Engine {
    Etcd(Etcd),
    ZooKeeper(ZooKeeper),
}

impl CoordinatorServer {
    /// Starts a coordinator that holds nothing. It may take seconds, and minutes when it has to be
    /// installed.
    ///
    /// # Errors
    /// When there is no such server on this machine, or it does not start.
    pub fn start(kind: CoordinatorKind) -> Result<Self, ServerError> {
        let mut members = Self::start_ensemble(kind, &[Place::default()])?;
        Ok(members.remove(0))
    }

    /// Starts a coordinator whose clients have to speak TLS.
    ///
    /// # Errors
    /// When there is no such server on this machine, or it does not start.
    pub fn start_secured(kind: CoordinatorKind, tls: ServerTls) -> Result<Self, ServerError> {
        let mut members = Self::start_all(kind, &[Place::default()], Some(&tls))?;
        Ok(members.remove(0))
    }

    /// Starts a coordinator of several members, each at its place. Nobody waits until they are
    /// ready, neither now nor when one of them is restarted: what one waits for the others may not
    /// be there to give.
    ///
    /// # Errors
    /// When there is no such server on this machine, or a member can't be started.
    pub fn start_ensemble(
        kind: CoordinatorKind,
        places: &[Place],
    ) -> Result<Vec<Self>, ServerError> {
        Self::start_all(kind, places, None)
    }

    fn start_all(
        kind: CoordinatorKind,
        places: &[Place],
        tls: Option<&ServerTls>,
    ) -> Result<Vec<Self>, ServerError> {
        let engines: Vec<Engine> = match kind {
            CoordinatorKind::Etcd => {
                Etcd::make(places, tls)?.into_iter().map(Engine::Etcd).collect()
            }
            CoordinatorKind::ZooKeeper => {
                ZooKeeper::make(places, tls)?.into_iter().map(Engine::ZooKeeper).collect()
            }
        };
        let start = |engine| {
            let server = Self { running: Running::default(), engine, directory: directory()? };
            server.restart()?;
            Ok(server)
        };
        engines.into_iter().map(start).collect()
    }

    /// Where all of these members are, as one coordinator.
    pub fn address_of(members: &[Self]) -> String {
        let hosts = members.iter().map(|member| format!("{}:{}", member.host(), member.port()));
        let hosts = hosts.collect::<Vec<_>>().join(",");
        match members.first().map(|member| &member.engine) {
            Some(Engine::ZooKeeper(_)) => format!("zookeeper://{hosts}"),
            Some(Engine::Etcd(_)) | None => format!("etcd://{hosts}"),
        }
    }

    /// Where it is, such as `etcd://127.0.0.1:40001`; the same as long as it exists.
    pub fn address(&self) -> String {
        Self::address_of(std::slice::from_ref(self))
    }

    /// Makes a user who may read and write everything below a prefix. From then on nobody is
    /// answered who has not logged in, except by ZooKeeper, which knows no users: what a client makes
    /// there in somebody's name is that one's alone.
    ///
    /// # Errors
    /// When etcd does not do it.
    pub fn require_login(
        &self,
        user: &str,
        password: &str,
        prefix: &str,
    ) -> Result<(), ServerError> {
        match &self.engine {
            Engine::Etcd(etcd) => etcd.require_login(user, password, prefix),
            Engine::ZooKeeper(_) => Ok(()),
        }
    }

    /// Makes a user of [`require_login`](Self::require_login) anew: whoever has logged in has to do
    /// so again. In ZooKeeper nobody has.
    ///
    /// # Errors
    /// When etcd does not do it.
    pub fn replace_user(&self, user: &str, password: &str) -> Result<(), ServerError> {
        match &self.engine {
            Engine::Etcd(etcd) => etcd.replace_user(user, password),
            Engine::ZooKeeper(_) => Ok(()),
        }
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        match &self.engine {
            Engine::Etcd(etcd) => etcd.port(),
            Engine::ZooKeeper(zookeeper) => zookeeper.port(),
        }
    }

    fn host(&self) -> Ipv4Addr {
        match &self.engine {
            Engine::Etcd(etcd) => etcd.place().host,
            Engine::ZooKeeper(zookeeper) => zookeeper.place().host,
        }
    }

    /// Kills it at once, as a crash would. What it had promised to keep is on its disk.
    ///
    /// # Errors
    /// When the process can't be killed.
    pub fn kill(&self) -> Result<(), ServerError> {
        self.running.kill()
    }

    /// Starts it again on its data and its port, and waits until it is ready if it is alone.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart(&self) -> Result<(), ServerError> {
        self.running.restart(|| self.run())
    }

    /// Forgets all that it keeps, as a lost disk would. It must not be running.
    ///
    /// # Errors
    /// When its data can't be removed.
    pub fn wipe(&self) -> Result<(), ServerError> {
        match std::fs::remove_dir_all(self.directory.path().join("data")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(ServerError::system("remove the data of a coordinator")(error))
            }
            _ => Ok(()),
        }
    }

    /// Halts its process where it is: it answers nothing, and its connections stay.
    ///
    /// # Errors
    /// When the process can't be halted.
    pub fn pause(&self) -> Result<(), ServerError> {
        self.running.signal(Signal::STOP)
    }

    /// Lets a halted process go on.
    ///
    /// # Errors
    /// When the process can't be continued.
    pub fn resume(&self) -> Result<(), ServerError> {
        self.running.signal(Signal::CONT)
    }

    fn run(&self) -> Result<ServerProcess, ServerError> {
        match &self.engine {
            Engine::Etcd(etcd) => etcd.start(self.directory.path()),
            Engine::ZooKeeper(zookeeper) => zookeeper.start(self.directory.path()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    /// Asks for the server's health over its port.
    fn ask(server: &CoordinatorServer) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port()))?;
        stream.write_all(match &server.engine {
            Engine::Etcd(_) => b"GET /health HTTP/1.0\r\n\r\n",
            Engine::ZooKeeper(_) => b"srvr",
        })?;
        Ok(stream)
    }

    fn answer(server: &CoordinatorServer) -> io::Result<String> {
        io::read_to_string(ask(server)?)
    }

    fn check(kind: CoordinatorKind, healthy: &str) {
        let server = CoordinatorServer::start(kind).expect("a server");
        let address = server.address();
        assert!(address.ends_with(&format!("://127.0.0.1:{}", server.port())));
        let said = answer(&server).expect("it serves");
        assert!(said.contains(healthy), "{said}");
        server.kill().expect("it dies");
        assert!(answer(&server).is_err(), "nobody listens");
        server.restart().expect("it comes back");
        assert_eq!(server.address(), address);
        assert!(answer(&server).expect("it serves").contains(healthy));
        let directory = server.directory.path().to_owned();
        server.pause().expect("it halts");
        drop(server);
        assert!(!directory.exists(), "nothing is left");
    }

    #[test]
    fn etcd_survives_a_crash_and_ends_with_its_test() {
        check(CoordinatorKind::Etcd, "\"health\":\"true\"");
    }

    #[test]
    fn zookeeper_survives_a_crash_and_ends_with_its_test() {
        check(CoordinatorKind::ZooKeeper, "Zookeeper version");
    }

    #[test]
    fn a_halted_server_answers_once_it_goes_on() {
        let server = CoordinatorServer::start(CoordinatorKind::Etcd).expect("a server");
        server.pause().expect("it halts");
        let mut asked = ask(&server).expect("its connections stay");
        asked.set_read_timeout(Some(Duration::from_millis(200))).expect("it can be set");
        assert!(asked.read(&mut [0]).is_err(), "it answers nothing");
        server.resume().expect("it goes on");
        asked.set_read_timeout(None).expect("it can be set");
        assert!(io::read_to_string(asked).expect("an answer").starts_with("HTTP/1.0 200"));
    }
}
