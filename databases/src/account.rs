//! Whom a server runs as: PostgreSQL refuses to be run by root.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::error::ServerError;

/// An unprivileged user of this machine; none if the tests run as one themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account(Option<Ids>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ids {
    user: u32,
    group: u32,
}

impl Account {
    /// The first of these users that there is, when the tests run as root.
    pub(crate) fn unprivileged(names: &[&str]) -> Result<Self, ServerError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self(None));
        }
        let users = fs::read_to_string("/etc/passwd")
            .map_err(ServerError::system("read the users of this machine"))?;
        let ids = names.iter().find_map(|name| ids_of(&users, name));
        let missing = || std::io::Error::other(format!("none of the users {names:?} is there"));
        ids.map(|ids| Self(Some(ids)))
            .ok_or_else(|| ServerError::system("find an unprivileged user")(missing()))
    }

    /// Whoever runs the tests.
    pub(crate) fn own_account() -> Self {
        Self(None)
    }

    /// Gives a directory to the user.
    pub(crate) fn own(self, path: &Path) -> Result<(), ServerError> {
        let Some(Ids { user, group }) = self.0 else { return Ok(()) };
        let action = format!("give {} to user {user}", path.display());
        chown(path, Some(user), Some(group)).map_err(ServerError::system(action))
    }

    /// Has a program run as the user.
    pub(crate) fn run(self, command: &mut Command) {
        if let Some(Ids { user, group }) = self.0 {
            command.uid(user).gid(group);
        }
    }
}

/// The ids in a line such as `postgres:x:104:109:...`.
fn ids_of(users: &str, name: &str) -> Option<Ids> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    let user = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(Ids { user, group })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_name() {
        let users = "root:x:0:0::/:/bin/sh\npostgresql:x:1:2::/:\npostgres:x:104:109::/:\nbad:x:\n";
        assert_eq!(ids_of(users, "postgres"), Some(Ids { user: 104, group: 109 }));
        assert_eq!(ids_of(users, "bad"), None);
        assert_eq!(ids_of(users, "nobody"), None);
    }
}
