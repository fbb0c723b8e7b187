//! PostgreSQL, everyone trusted.

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::account::Account;
use crate::error::ServerError;
use crate::process::{ServerProcess, run};
use crate::programs::find_or_install;

const PACKAGE: &str = "postgresql";
const USER: &str = "waltz";
/// The name of the socket has it; nothing listens there.
const PORT: u16 = 5432;

#[derive(Debug)]
pub(crate) struct Postgres {
    server: PathBuf,
    createdb: PathBuf,
}

impl Postgres {
    pub(crate) fn make(directory: &Path, account: Account) -> Result<Self, ServerError> {
        let initdb = find_or_install("initdb", PACKAGE)?;
        let data = directory.join("data").display().to_string();
        let arguments =
            ["-D", &data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
        run(&initdb, &arguments.map(str::to_owned), account)?;
        let server = find_or_install("postgres", PACKAGE)?;
        Ok(Self { server, createdb: find_or_install("createdb", PACKAGE)? })
    }

    pub(crate) fn account() -> Result<Account, ServerError> {
        // The package makes the user.
        find_or_install("initdb", PACKAGE)?;
        Account::unprivileged(&["postgres", "nobody"])
    }

    pub(crate) fn start(
        &self,
        directory: &Path,
        account: Account,
    ) -> Result<ServerProcess, ServerError> {
        let (data, sockets) = (directory.join("data"), directory.display());
        let settings = [
            "listen_addresses=".to_owned(),
            format!("unix_socket_directories={sockets}"),
            format!("port={PORT}"),
            "max_connections=200".to_owned(),
            "fsync=on".to_owned(),
        ];
        let mut arguments = vec!["-D".to_owned(), data.display().to_string()];
        arguments.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
        let ready = "database system is ready to accept connections";
        ServerProcess::start(&self.server, &arguments, account, ready, Signal::QUIT)
    }

    pub(crate) fn create(&self, directory: &Path, name: &str) -> Result<(), ServerError> {
        let (socket, port) = (directory.display().to_string(), PORT.to_string());
        let arguments = ["-h", &socket, "-p", &port, "-U", USER, name].map(str::to_owned);
        run(&self.createdb, &arguments, Account::own_account())
    }

    pub(crate) fn url(directory: &Path, name: &str) -> String {
        format!("postgres://{USER}@localhost:{PORT}/{name}?host={}", directory.display())
    }

    pub(crate) fn socket(directory: &Path) -> PathBuf {
        directory.join(format!(".s.PGSQL.{PORT}"))
    }

    pub(crate) fn url_at(port: u16, name: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{port}/{name}?sslmode=disable")
    }
}
