//! How a coordinator is reached: what secures connections to it, and as whom it is asked.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use thiserror::Error;
use waltz_runtime_tokio::Tls;

/// What secures the way to a coordinator; by default nothing.
///
/// ```no_run
/// use std::path::Path;
///
/// use waltz_coordinators::{Login, Security};
/// use waltz_core::tls::TlsFiles;
/// use waltz_runtime_tokio::{ClientCertificates, Tls};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::load(TlsFiles::new("etcd-ca.pem"), ClientCertificates::Required)?;
/// let login = Login::read("waltz", Path::new("/etc/waltz/etcd-password"))?;
/// let security = Security::default().with_tls(tls).with_login(login);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Security {
    pub(crate) tls: Option<Tls>,
    pub(crate) login: Option<Login>,
}

impl Security {
    /// Speaks TLS with the coordinator's members, which have to prove that they are the hosts that
    /// were dialled.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Asks in a user's name.
    #[must_use]
    pub fn with_login(self, login: Login) -> Self {
        Self { login: Some(login), ..self }
    }
}

/// A user of a coordinator, and the password. It is not shown by `Debug`.
///
/// ```
/// use waltz_coordinators::Login;
///
/// let login = Login::new("waltz", "open sesame").unwrap();
/// assert_eq!(format!("{login:?}"), "Login(\"waltz\")");
/// assert!(Login::new("waltz", "").is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    user: String,
    password: String,
}

/// Why nobody can log in like that.
#[derive(Debug, Error)]
pub enum LoginError {
    /// The name is none.
    #[error("{0:?} is no user of a coordinator: a name has no colon and is not empty")]
    User(String),
    /// There is no password.
    #[error("the password is empty")]
    NoPassword,
    /// The password is not one line of text.
    #[error("the password is more than one line")]
    Lines,
    /// The file that should have the password can't be used.
    #[error("{} has no usable password: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: Box<LoginError>,
    },
    /// The file that should have the password can't be read.
    #[error("could not read the password in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Login {
    /// A user with this password.
    ///
    /// # Errors
    /// When either is none.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Result<Self, LoginError> {
        let (user, password) = (user.into(), password.into());
        if user.is_empty() || user.contains(':') {
            return Err(LoginError::User(user));
        }
        match password.lines().count() {
            0 => Err(LoginError::NoPassword),
            1 => Ok(Self { user, password }),
            _ => Err(LoginError::Lines),
        }
    }

    /// A user whose password is the one line of a file.
    ///
    /// # Errors
    /// When the file can't be read or has none.
    pub fn read(user: impl Into<String>, path: &Path) -> Result<Self, LoginError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| LoginError::Read { path: path.to_owned(), source })?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        let password = password.strip_suffix('\r').unwrap_or(password);
        Self::new(user, password).map_err(|error| match error {
            LoginError::User(_) => error,
            reason => LoginError::Content { path: path.to_owned(), reason: Box::new(reason) },
        })
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Login").field(&self.user).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Login, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        std::fs::write(&path, text).unwrap();
        Login::read("waltz", &path)
            .map_err(|error| error.to_string().replace(&directory.path().display().to_string(), ""))
    }

    #[test]
    fn a_password_is_the_line_of_its_file() {
        for text in ["a b:c ", "a b:c \n", "a b:c \r\n"] {
            assert_eq!(read(text).unwrap().password(), "a b:c ");
        }
        for (text, reason) in [
            ("", "the password is empty"),
            ("\n", "the password is empty"),
            ("a\nb\n", "the password is more than one line"),
        ] {
            assert_eq!(read(text), Err(format!("/password has no usable password: {reason}")));
        }
    }

    #[test]
    fn what_is_no_user_is_refused() {
        for user in ["", "a:b"] {
            assert!(matches!(Login::new(user, "x"), Err(LoginError::User(_))), "{user:?}");
        }
        let error = Login::read("a", Path::new("/nowhere/password")).unwrap_err().to_string();
        assert!(error.ends_with("the password in /nowhere/password"), "{error}");
    }
}
