//! What the files hold, and what the library makes of it.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use waltz_core::tls::{CertificateFiles, TlsFiles};

use super::{ClientCertificates, TlsError};

/// The files' contents, as they are.
#[derive(PartialEq, Eq)]
pub(super) struct Material {
    authorities: Vec<u8>,
    certificate: Option<(Vec<u8>, Vec<u8>)>,
}

/// What handshakes go by.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) client: Arc<ClientConfig>,
    /// There is none without a certificate.
    pub(super) server: Option<Arc<ServerConfig>>,
}

/// A certificate and its key, decoded.
type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Material {
    pub(super) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let authorities = read(&files.authorities)?;
        let certificate = match &files.certificate {
            Some(certificate) => Some((read(&certificate.chain)?, read(&certificate.key)?)),
            None => None,
        };
        Ok(Self { authorities, certificate })
    }

    pub(super) fn load(
        &self,
        files: &TlsFiles,
        clients: ClientCertificates,
    ) -> Result<Loaded, TlsError> {
        let roots = Arc::new(self.roots(&files.authorities)?);
        let pair = match (&self.certificate, &files.certificate) {
            (Some((chain, key)), Some(names)) => Some((decode_pair(chain, key, names)?, names)),
            _ => None,
        };
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(roots.clone());
        let Some(((chain, key), names)) = pair else {
            return Ok(Loaded { client: Arc::new(client.with_no_client_auth()), server: None });
        };
        let unfit = |error: rustls::Error| TlsError::Pair {
            chain: names.chain.clone(),
            key: names.key.clone(),
            reason: error.to_string(),
        };
        let server = self.server(files, clients, roots)?;
        let server = server.with_single_cert(chain.clone(), key.clone_key()).map_err(unfit)?;
        let client = client.with_client_auth_cert(chain, key).map_err(unfit)?;
        Ok(Loaded { client: Arc::new(client), server: Some(Arc::new(server)) })
    }

    /// How accepted connections are secured, but for the certificate.
    fn server(
        &self,
        files: &TlsFiles,
        clients: ClientCertificates,
        roots: Arc<RootCertStore>,
    ) -> Result<rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>, TlsError>
    {
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        let verifier = match clients {
            ClientCertificates::Required => verifier,
            ClientCertificates::Optional => verifier.allow_unauthenticated(),
        };
        let verifier = verifier.build().map_err(|error| TlsError::Content {
            path: files.authorities.clone(),
            what: "certificates of authorities",
            reason: error.to_string(),
        })?;
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions");
        Ok(server.with_client_cert_verifier(verifier))
    }

    fn roots(&self, path: &Path) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.authorities, path)? {
            roots.add(certificate).map_err(|error| TlsError::Content {
                path: path.to_owned(),
                what: "certificate of an authority",
                reason: error.to_string(),
            })?;
        }
        Ok(roots)
    }
}

fn decode_pair(chain: &[u8], key: &[u8], names: &CertificateFiles) -> Result<Pair, TlsError> {
    let chain = certificates(chain, &names.chain)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Content {
        path: names.key.clone(),
        what: "private key",
        reason: error.to_string(),
    })?;
    Ok((chain, key))
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong =
        |reason: String| TlsError::Content { path: path.to_owned(), what: "certificate", reason };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(wrong("it holds none in the PEM format".into()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}
