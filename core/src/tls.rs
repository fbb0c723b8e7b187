//! Which files a runtime takes keys and certificates from. They are named here and read there.

use std::path::PathBuf;

/// What one end of a TLS connection proves itself by, and checks the other end against. All files
/// are in the PEM format.
///
/// ```
/// use waltz_core::tls::TlsFiles;
///
/// let anonymous = TlsFiles::new("ca.pem");
/// let known = TlsFiles::new("ca.pem").certificate("service.pem", "service.key");
/// assert!(anonymous.certificate.is_none() && known.certificate.is_some());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the authorities that peers' certificates are signed by.
    pub authorities: PathBuf,
    /// This end's own certificate. Only who accepts connections has to have one.
    pub certificate: Option<CertificateFiles>,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, followed by those between it and an authority.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Checks peers against these authorities, and presents no certificate.
    pub fn new(authorities: impl Into<PathBuf>) -> Self {
        Self { authorities: authorities.into(), certificate: None }
    }

    /// Presents a certificate, too.
    #[must_use]
    pub fn certificate(self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        let certificate = CertificateFiles { chain: chain.into(), key: key.into() };
        Self { certificate: Some(certificate), ..self }
    }
}
