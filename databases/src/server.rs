//! A server on a directory of its own.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;

use crate::account::Account;
use crate::error::ServerError;
use crate::mariadb::MariaDb;
use crate::postgres::Postgres;
use crate::running::{Running, directory};

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    MariaDb,
}

/// A database server that runs until it is dropped. Its data is deleted with it.
#[derive(Debug)]
pub struct Server {
    // Dropped first: the directory goes when nothing writes to it any more.
    running: Running,
    programs: Programs,
    account: Account,
    directory: TempDir,
}

#[derive(Debug)]
enum Programs {
    Postgres(Postgres),
    MariaDb(MariaDb),
}

impl Server {
    /// Makes and starts a server. It may take seconds, and minutes when it has to be installed.
    ///
    /// # Errors
    /// When there is no such server on this machine, or it does not start.
    pub fn start(kind: Kind) -> Result<Self, ServerError> {
        let account = match kind {
            Kind::Postgres => Postgres::account()?,
            Kind::MariaDb => MariaDb::account()?,
        };
        let directory = directory()?;
        account.own(directory.path())?;
        let programs = match kind {
            Kind::Postgres => Programs::Postgres(Postgres::make(directory.path(), account)?),
            Kind::MariaDb => Programs::MariaDb(MariaDb::make(directory.path(), account)?),
        };
        let server = Self { running: Running::default(), programs, account, directory };
        server.restart()?;
        Ok(server)
    }

    /// The server of this kind that all tests of a process share, as long as one of them has it.
    ///
    /// # Errors
    /// When it has to be started and can't be.
    pub fn shared(kind: Kind) -> Result<Arc<Self>, ServerError> {
        static SHARED: [Mutex<Weak<Server>>; 2] = [const { Mutex::new(Weak::new()) }; 2];
        let shared = match kind {
            Kind::Postgres => &SHARED[0],
            Kind::MariaDb => &SHARED[1],
        };
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Ok(server);
        }
        let server = Arc::new(Self::start(kind)?);
        *shared = Arc::downgrade(&server);
        Ok(server)
    }

    /// Makes a database, and returns the URL that clients connect to.
    ///
    /// # Errors
    /// When the server fails, or has one of this name.
    pub fn create_database(&self, name: &str) -> Result<String, ServerError> {
        let directory = self.directory.path();
        match &self.programs {
            Programs::Postgres(postgres) => postgres.create(directory, name)?,
            Programs::MariaDb(mariadb) => mariadb.create(directory, name)?,
        }
        Ok(self.url(name))
    }

    /// The URL of a database.
    pub fn url(&self, name: &str) -> String {
        let directory = self.directory.path();
        match &self.programs {
            Programs::Postgres(_) => Postgres::url(directory, name),
            Programs::MariaDb(_) => MariaDb::url(directory, name),
        }
    }

    /// The URL of a database behind a proxy that listens on a port of this machine.
    pub fn url_at(&self, port: u16, name: &str) -> String {
        match &self.programs {
            Programs::Postgres(_) => Postgres::url_at(port, name),
            Programs::MariaDb(_) => MariaDb::url_at(port, name),
        }
    }

    /// The Unix socket that the server listens on.
    pub fn socket(&self) -> PathBuf {
        let directory = self.directory.path();
        match &self.programs {
            Programs::Postgres(_) => Postgres::socket(directory),
            Programs::MariaDb(_) => MariaDb::socket(directory),
        }
    }

    /// Kills the server at once, as a crash would. What it had promised to keep is on its disk.
    ///
    /// # Errors
    /// When the process can't be killed.
    pub fn kill(&self) -> Result<(), ServerError> {
        self.running.kill()
    }

    /// Starts a killed server again on its data, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart(&self) -> Result<(), ServerError> {
        let directory = self.directory.path();
        self.running.restart(|| match &self.programs {
            Programs::Postgres(postgres) => postgres.start(directory, self.account),
            Programs::MariaDb(mariadb) => mariadb.start(directory, self.account),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn check(kind: Kind) {
        let server = Server::start(kind).expect("a server");
        let url = server.create_database("one").expect("a database");
        assert_eq!(url, server.url("one"));
        assert!(server.create_database("one").is_err(), "it is there already");
        server.kill().expect("it dies");
        assert!(UnixStream::connect(server.socket()).is_err(), "nobody listens");
        server.restart().expect("it comes back");
        assert!(server.create_database("one").is_err(), "its data is still there");
        let (socket, directory) = (server.socket(), server.directory.path().to_owned());
        drop(server);
        assert!(UnixStream::connect(socket).is_err(), "it ended");
        assert!(!directory.exists(), "nothing is left");
    }

    #[test]
    fn postgres_survives_a_crash_and_ends_with_its_test() {
        check(Kind::Postgres);
    }

    #[test]
    fn mariadb_survives_a_crash_and_ends_with_its_test() {
        check(Kind::MariaDb);
    }

    #[test]
    fn tests_share_a_server_while_they_run() {
        let one = Server::shared(Kind::Postgres).expect("a server");
        let other = Server::shared(Kind::Postgres).expect("the same");
        assert!(Arc::ptr_eq(&one, &other));
    }
}
