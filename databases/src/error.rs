//! Why there is no server.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a server is not as a test needs it.
#[derive(Debug, Error)]
pub enum ServerError {
    /// A program is neither there nor can be installed.
    #[error(
        "the program {program} was not found; install the Debian package {package}, or run the tests as root and they install it ({reason})"
    )]
    Missing {
        /// The program.
        program: &'static str,
        /// The package that has it.
        package: &'static str,
        /// Why it was not installed.
        reason: String,
    },
    /// Something of the operating system failed.
    #[error("could not {action}: {source}")]
    System {
        /// What was tried.
        action: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A program failed.
    #[error("{} failed: {output}", program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// What it said.
        output: String,
    },
    /// The server did not become ready.
    #[error("{} did not become ready; its last words: {output}", program.display())]
    NotReady {
        /// The server's program.
        program: PathBuf,
        /// What it said last.
        output: String,
    },
}

impl ServerError {
    pub(crate) fn system(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::System { action, source }
    }
}
