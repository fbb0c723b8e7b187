//! MariaDB, with a root user that needs no password.

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::account::Account;
use crate::error::ServerError;
use crate::process::{ServerProcess, run};
use crate::programs::find_or_install;

const PACKAGE: &str = "mariadb-server";
const USER: &str = "root";

#[derive(Debug)]
pub(crate) struct MariaDb {
    server: PathBuf,
    admin: PathBuf,
}

impl MariaDb {
    pub(crate) fn make(directory: &Path, account: Account) -> Result<Self, ServerError> {
        let install = find_or_install("mariadb-install-db", PACKAGE)?;
        let arguments = [
            "--no-defaults".to_owned(),
            format!("--datadir={}", directory.join("data").display()),
            // A server that starts removes all temporary tables it finds, those of others too.
            format!("--tmpdir={}", directory.display()),
            "--auth-root-authentication-method=normal".to_owned(),
            "--skip-test-db".to_owned(),
        ];
        run(&install, &arguments, account)?;
        let server = find_or_install("mariadbd", PACKAGE)?;
        Ok(Self { server, admin: find_or_install("mariadb-admin", PACKAGE)? })
    }

    pub(crate) fn account() -> Result<Account, ServerError> {
        // The package makes the user.
        find_or_install("mariadbd", PACKAGE)?;
        Account::unprivileged(&["mysql", "nobody"])
    }

    pub(crate) fn start(
        &self,
        directory: &Path,
        account: Account,
    ) -> Result<ServerProcess, ServerError> {
        let arguments = [
            "--no-defaults".to_owned(),
            "--skip-networking".to_owned(),
            format!("--datadir={}", directory.join("data").display()),
            format!("--socket={}", Self::socket(directory).display()),
            format!("--pid-file={}", directory.join("pid").display()),
            format!("--tmpdir={}", directory.display()),
            "--max-connections=200".to_owned(),
            "--innodb-flush-log-at-trx-commit=1".to_owned(),
        ];
        let ready = "ready for connections";
        ServerProcess::start(&self.server, &arguments, account, ready, Signal::KILL)
    }

    pub(crate) fn create(&self, directory: &Path, name: &str) -> Result<(), ServerError> {
        let socket = format!("--socket={}", Self::socket(directory).display());
        let user = format!("--user={USER}");
        let arguments = ["--no-defaults", &socket, &user, "create", name].map(str::to_owned);
        run(&self.admin, &arguments, Account::own_account())
    }

    pub(crate) fn url(directory: &Path, name: &str) -> String {
        format!("mysql://{USER}@localhost/{name}?socket={}", Self::socket(directory).display())
    }

    pub(crate) fn socket(directory: &Path) -> PathBuf {
        directory.join("socket")
    }

    pub(crate) fn url_at(port: u16, name: &str) -> String {
        format!("mysql://{USER}@127.0.0.1:{port}/{name}?ssl-mode=disabled")
    }
}
