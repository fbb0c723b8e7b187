//! What a coordinator secures its port with.

use std::path::PathBuf;

/// Files in the PEM format: who connects has to have a certificate of the authorities, too.
///
/// ```no_run
/// use waltz_databases::{CoordinatorKind, CoordinatorServer, ServerTls};
///
/// # fn main() -> Result<(), waltz_databases::ServerError> {
/// let tls = ServerTls {
///     authorities: "ca.pem".into(),
///     certificate: "server.pem".into(),
///     key: "server.key".into(),
/// };
/// let server = CoordinatorServer::start_secured(CoordinatorKind::ZooKeeper, tls)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The certificates of the authorities that clients are checked against.
    pub authorities: PathBuf,
    /// The server's certificate, good for its address.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}
