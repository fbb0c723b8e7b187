//! Authorities and certificates made for tests.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use tempfile::TempDir;
use waltz_core::tls::TlsFiles;

use super::{ClientCertificates, Tls};

/// Signs certificates, and keeps them in a directory that goes with it.
pub(crate) struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { directory, issuer }
    }

    /// A certificate for this host, with this common name.
    pub(crate) fn certificate(&self, name: &str, host: &str) -> TlsFiles {
        self.sign(name, params(name, host))
    }

    /// One whose time is over.
    pub(crate) fn expired(&self, name: &str, host: &str) -> TlsFiles {
        let mut params = params(name, host);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.sign(name, params)
    }

    /// Who trusts this authority and presents nothing.
    pub(crate) fn anonymous(&self) -> TlsFiles {
        TlsFiles::new(self.path().join("ca.pem"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn sign(&self, name: &str, params: CertificateParams) -> TlsFiles {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let at = |extension| self.path().join(format!("{name}.{extension}"));
        std::fs::write(at("pem"), certificate.pem()).unwrap();
        std::fs::write(at("key"), key.serialize_pem()).unwrap();
        self.anonymous().certificate(at("pem"), at("key"))
    }
}

/// Loads files that are good, and insists on certificates of those who connect.
pub(crate) fn load(files: TlsFiles) -> Tls {
    Tls::load(files, ClientCertificates::Required).unwrap()
}

fn params(name: &str, host: &str) -> CertificateParams {
    let mut params = CertificateParams::new([host.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let uri = format!("spiffe://waltz.example/{name}").try_into().unwrap();
    params.subject_alt_names.push(SanType::URI(uri));
    params
}
