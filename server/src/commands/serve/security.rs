//! What a node's connections are secured by, and who may do what over them.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, anyhow};
use waltz_core::access::{AccessConfig, Bearer, Role, TokenHash};
use waltz_core::tls::TlsFiles;
use waltz_runtime_tokio::Tls;

use super::node::Conflict;
use crate::config::{AccessSettings, Settings, TlsSettings};

/// What secures connections; none: nothing does.
///
/// # Errors
/// When only a part of it is named, or the files can't be used.
pub(super) fn tls(settings: &TlsSettings) -> anyhow::Result<Option<Tls>> {
    let Some(files) = tls_files(settings)? else { return Ok(None) };
    let tls = Tls::load(files, settings.clients.into()).context("TLS can't be used")?;
    Ok(Some(tls))
}

/// Makes sure that connections are not open to everyone by accident.
///
/// # Errors
/// When settings don't go together, or leave a node open beyond its machine.
pub(super) fn check(settings: &Settings, listen: SocketAddr) -> Result<(), Conflict> {
    let (is_secured, access) = (tls_files(&settings.tls)?.is_some(), &settings.access);
    let has_names = names(access).any(|(names, _)| !names.is_empty());
    if has_names && !is_secured {
        return Err(Conflict::new(
            "roles are given to the names in certificates, which takes TLS: name the files with \
             --tls-cert, --tls-key and --tls-ca (section tls)",
        ));
    }
    let has_rules = has_names || access.tokens.is_some() || access.anyone.is_some();
    if access.insecure || listen.ip().is_loopback() || (is_secured && has_rules) {
        return Ok(());
    }
    Err(Conflict::new(format_args!(
        "{listen} is not on loopback, and everyone who reaches it could read and change \
         everything: secure it with --tls-cert, --tls-key and --tls-ca (section tls) and say who \
         may do what (section access), or say --insecure (access.insecure)"
    )))
}

/// The rules.
///
/// # Errors
/// When the file of tokens can't be read, or a line of it is none.
pub(super) fn access(settings: &AccessSettings) -> anyhow::Result<AccessConfig> {
    let mut access = AccessConfig::default();
    for (names, role) in names(settings) {
        for name in names {
            access.allow(Bearer::Name(name.clone()), role);
        }
    }
    if let Some(role) = settings.anyone {
        access.allow(Bearer::Anyone, role.0);
    }
    if let Some(path) = &settings.tokens {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("could not read the tokens in {}", path.display()))?;
        add_tokens(&mut access, &text, path)?;
    }
    Ok(access)
}

fn tls_files(settings: &TlsSettings) -> Result<Option<TlsFiles>, Conflict> {
    match (&settings.certificate, &settings.key, &settings.authorities) {
        (None, None, None) => Ok(None),
        (Some(certificate), Some(key), Some(authorities)) => {
            Ok(Some(TlsFiles::new(authorities).certificate(certificate, key)))
        }
        _ => Err(Conflict::new(
            "--tls-cert, --tls-key and --tls-ca (section tls) go together: a node proves itself \
             by the first two and checks others by the third",
        )),
    }
}

fn names(settings: &AccessSettings) -> impl Iterator<Item = (&[String], Role)> {
    [
        (&settings.nodes, Role::Node),
        (&settings.admins, Role::Admin),
        (&settings.writers, Role::Writer),
        (&settings.readers, Role::Reader),
    ]
    .into_iter()
    .map(|(names, role)| (names.0.as_slice(), role))
}

/// Each line is a role and the hash of a token; what follows a `#` is a comment.
fn add_tokens(access: &mut AccessConfig, text: &str, path: &Path) -> anyhow::Result<()> {
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<_> = line.split_whitespace().collect();
        let wrong = |reason: String| anyhow!("{}:{}: {reason}", path.display(), at + 1);
        let (role, hash) = match words[..] {
            [] => continue,
            [role, hash] => (role.parse::<Role>().map_err(wrong)?, hash),
            _ => return Err(wrong("write ROLE HASH, as `waltz token` prints it".to_owned())),
        };
        if role == Role::Node {
            return Err(wrong("nodes are known by their certificates, not by tokens".to_owned()));
        }
        let hash: TokenHash = hash.parse().map_err(|error| wrong(format!("{error}")))?;
        access.allow(Bearer::Token(hash), role);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<AccessConfig, String> {
        let mut access = AccessConfig::default();
        let added = add_tokens(&mut access, text, Path::new("tokens"));
        added.map(|()| access).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_of_tokens_is_a_role_and_a_hash() {
        let hash = TokenHash::of("secret");
        let access = tokens(&format!("# of billing\n\nwriter  {hash} # since May\n")).unwrap();
        assert!(access.of_token("secret").may(Role::Writer));
        assert!(!access.of_token("secret").may(Role::Admin));
        assert_eq!(
            tokens("writer"),
            Err("tokens:1: write ROLE HASH, as `waltz token` prints it".into())
        );
        assert!(
            tokens("\nwriter secret").unwrap_err().starts_with("tokens:2: write a token's hash")
        );
        assert!(tokens(&format!("root {hash}")).unwrap_err().contains("is no role"));
        assert!(tokens(&format!("node {hash}")).unwrap_err().contains("certificates"));
    }
}
