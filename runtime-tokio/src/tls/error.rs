//! Why there is no TLS, in words that say what to do.

use std::io;
use std::path::PathBuf;

use rustls::InvalidMessage;
use thiserror::Error;

/// Why keys and certificates can't be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} has no usable {what}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate and the key can't be used together.
    #[error("{} and {} can't be used together: {reason}", chain.display(), key.display())]
    Pair {
        /// The certificate's file.
        chain: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl TlsError {
    /// It and its causes.
    pub fn in_one_line(&self) -> String {
        match self {
            Self::Read { source, .. } => format!("{self}: {source}"),
            Self::Content { .. } | Self::Pair { .. } => self.to_string(),
        }
    }
}

/// Why a dialled connection could not be secured, for people.
pub(super) fn explain_dialled(error: &io::Error) -> String {
    match cause(error) {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "the other end does not speak TLS: leave TLS out here, or turn it on there".into()
        }
        _ if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the other end closed during the TLS handshake; does it speak TLS?".into()
        }
        _ => format!("the TLS handshake failed: {error}"),
    }
}

/// Why an accepted connection could not be secured, for people.
pub(super) fn explain_accepted(error: &io::Error) -> String {
    match cause(error) {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "it does not speak TLS".into()
        }
        _ => format!("the TLS handshake failed: {error}"),
    }
}

fn cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
