//! The names in a verified certificate.

use rustls::pki_types::CertificateDer;
use waltz_core::access::Identity;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Whom a chain of certificates, verified by the handshake, is about. One that can't be read names
/// nobody.
pub(crate) fn identity_of(chain: Option<&[CertificateDer<'_>]>) -> Option<Identity> {
    let (_, certificate) = X509Certificate::from_der(chain?.first()?).ok()?;
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let alternative = alternative.iter().flat_map(|names| &names.value.general_names);
    let alternative = alternative.filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some(*name),
        _ => None,
    });
    Some(common.chain(alternative).collect())
}
