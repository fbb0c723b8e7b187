//! How a coordinator outside of the cluster is reached.

use anyhow::Context;
use waltz_coordinators::{Login, Security};
use waltz_core::tls::TlsFiles;
use waltz_runtime_tokio::{ClientCertificates, Tls};

use super::node::Conflict;
use crate::args::Coordinator;
use crate::config::{CoordinatorLoginSettings, CoordinatorTlsSettings, Settings};

/// What secures the way to etcd or ZooKeeper.
///
/// # Errors
/// When settings don't go together, or a file can't be used.
pub fn coordinator_security(settings: &Settings) -> anyhow::Result<Security> {
    let mut security = Security::default();
    if let Some(files) = files(&settings.coordinator_tls)? {
        let tls = Tls::load(files, ClientCertificates::Required);
        security = security.with_tls(tls.context("TLS with the coordinator can't be used")?);
    }
    if let Some((user, path)) = login(&settings.coordinator_login)? {
        let login = Login::read(user, path);
        security = security.with_login(login.context("nobody can log in to the coordinator")?);
    }
    Ok(security)
}

/// Makes sure that what is said of the coordinator goes together.
///
/// # Errors
/// When it does not.
pub(super) fn check(settings: &Settings) -> Result<(), Conflict> {
    let is_secured = files(&settings.coordinator_tls)?.is_some();
    let is_named = login(&settings.coordinator_login)?.is_some();
    match &settings.cluster.coordinator {
        Some(Coordinator::Outside(_)) => Ok(()),
        Some(Coordinator::Node(_)) | None if is_secured || is_named => Err(Conflict::new(
            "the sections coordinator_tls and coordinator_login are about etcd and ZooKeeper; name \
             one with --coordinator (cluster.coordinator), such as etcd://HOST:PORT, or leave them \
             out: nodes reach a coordinator that is a node as the section tls says",
        )),
        Some(Coordinator::Node(_)) | None => Ok(()),
    }
}

fn files(settings: &CoordinatorTlsSettings) -> Result<Option<TlsFiles>, Conflict> {
    let CoordinatorTlsSettings { authorities, certificate, key } = settings;
    match (authorities, certificate, key) {
        (None, None, None) => Ok(None),
        (Some(authorities), None, None) => Ok(Some(TlsFiles::new(authorities))),
        (Some(authorities), Some(certificate), Some(key)) => {
            Ok(Some(TlsFiles::new(authorities).certificate(certificate, key)))
        }
        (None, Some(_), Some(_)) => Err(Conflict::new(
            "a certificate for the coordinator takes TLS: name the authorities that the coordinator \
             is checked against with --coordinator-tls-ca (coordinator_tls.authorities)",
        )),
        _ => Err(Conflict::new(
            "--coordinator-tls-cert and --coordinator-tls-key (coordinator_tls.certificate and key) \
             go together: name both, or none",
        )),
    }
}

fn login(
    settings: &CoordinatorLoginSettings,
) -> Result<Option<(&str, &std::path::Path)>, Conflict> {
    match (&settings.user, &settings.password_file) {
        (None, None) => Ok(None),
        (Some(user), Some(path)) => Ok(Some((user, path))),
        _ => Err(Conflict::new(
            "--coordinator-user and --coordinator-password-file (coordinator_login.user and \
             password_file) go together: name both, or none",
        )),
    }
}
