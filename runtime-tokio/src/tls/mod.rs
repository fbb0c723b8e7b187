//! TLS: what this end proves itself by, and what it checks others against.
//!
//! What the files hold is looked at as a whole: new files are used together or not at all, by
//! handshakes that begin afterwards. Connections that are made stay as they are. Files that can't be
//! used are reported, and those before stay in use.

mod error;
mod identity;
mod material;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

mod watch;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use waltz_core::io::Address;
use waltz_core::tls::TlsFiles;

pub use error::TlsError;
pub(crate) use identity::identity_of;
use material::{Loaded, Material};

/// What is asked of those who connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientCertificates {
    /// A certificate of one of the authorities.
    #[default]
    Required,
    /// None; one that is presented is checked.
    Optional,
}

/// One end's keys and certificates, read from files that may change while they are in use. Clones
/// share them.
///
/// ```no_run
/// use waltz_core::tls::TlsFiles;
/// use waltz_runtime_tokio::tls::{ClientCertificates, Tls};
///
/// # fn main() -> Result<(), waltz_runtime_tokio::tls::TlsError> {
/// let files = TlsFiles::new("ca.pem").certificate("node.pem", "node.key");
/// let tls = Tls::load(files, ClientCertificates::Required)?;
/// // Later, when the files were replaced:
/// let is_new = tls.reload()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    shared: Arc<Shared>,
}

struct Shared {
    files: TlsFiles,
    clients: ClientCertificates,
    /// What the files held when they were last found to be different, good or not.
    seen: Mutex<Material>,
    loaded: RwLock<Loaded>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.shared.files).finish()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one can't be read, or they don't hold what they should.
    pub fn load(files: TlsFiles, clients: ClientCertificates) -> Result<Self, TlsError> {
        let material = Material::read(&files)?;
        let loaded = RwLock::new(material.load(&files, clients)?);
        let seen = Mutex::new(material);
        Ok(Self { shared: Arc::new(Shared { files, clients, seen, loaded }) })
    }

    /// Looks at the files again, and uses what they hold from now on. Whether that is new.
    ///
    /// # Errors
    /// When what they hold is new and can't be used; what they held before stays in use. It is told
    /// once for the same contents.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let Shared { files, clients, seen, loaded } = &*self.shared;
        let material = Material::read(files)?;
        // Held to the end: two that look at once must not put older contents over newer ones.
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == material {
            return Ok(false);
        }
        let new = material.load(files, *clients);
        *seen = material;
        *loaded.write().unwrap_or_else(PoisonError::into_inner) = new?;
        Ok(true)
    }

    /// Secures a connection that this end has dialled, once the other end has proved that it is who
    /// was dialled.
    pub(crate) async fn connect(
        &self,
        address: &Address,
        stream: TcpStream,
    ) -> Result<client::TlsStream<TcpStream>, String> {
        self.secure(&address.0, stream, &[]).await
    }

    /// Secures a connection to something else than a node, dialled at `HOST:PORT`, once the other end
    /// has proved that it is that host. What is to be spoken over it can be offered by ALPN.
    ///
    /// # Errors
    /// Why it can't be secured, for people.
    pub async fn secure(
        &self,
        address: &str,
        stream: TcpStream,
        protocols: &[&[u8]],
    ) -> Result<client::TlsStream<TcpStream>, String> {
        let host = host_of(address);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} is no host name that a certificate can have"))?;
        let protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let connector = TlsConnector::from(self.loaded().client);
        let secured = connector.with_alpn(protocols).connect(name, stream).await;
        secured.map_err(|error| error::explain_dialled(&error))
    }

    /// Secures a connection that was accepted.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<server::TlsStream<TcpStream>, String> {
        let server = self.loaded().server.ok_or("this end has no certificate to present")?;
        match TlsAcceptor::from(server).accept(stream).into_fallible().await {
            Ok(secured) => Ok(secured),
            Err((error, stream)) => {
                linger(stream).await;
                Err(error::explain_accepted(&error))
            }
        }
    }

    fn loaded(&self) -> Loaded {
        self.shared.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Waits until the peer has left, which it does once it has read why. Closing a socket that holds
/// unread bytes would reset the connection, and a reset may overtake the reason.
async fn linger(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    if stream.shutdown().await.is_ok() {
        while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
    }
}

/// The part of an address before its port, without the brackets around an IPv6 address.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
