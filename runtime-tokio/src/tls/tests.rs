//! Files, good and bad, and what is made of them.

use super::testing::{Authority, load};
use super::*;

fn loaded(files: &TlsFiles) -> Result<Tls, TlsError> {
    Tls::load(files.clone(), ClientCertificates::Required)
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_name() {
    let authority = Authority::new("ours");
    let good = authority.certificate("node", "localhost");
    assert!(loaded(&good).is_ok());
    let missing = loaded(&TlsFiles::new("/nowhere/ca.pem")).unwrap_err().to_string();
    assert_eq!(missing, "could not read /nowhere/ca.pem");

    let empty = authority.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let no_authority = loaded(&TlsFiles::new(&empty)).unwrap_err().to_string();
    assert!(no_authority.contains("empty.pem has no usable certificate"), "{no_authority}");
    let no_key = authority.anonymous().certificate(authority.path().join("node.pem"), &empty);
    let no_key = loaded(&no_key).unwrap_err().to_string();
    assert!(no_key.contains("empty.pem has no usable private key"), "{no_key}");

    authority.certificate("other", "localhost");
    let mixed = authority.path();
    let mixed = authority.anonymous().certificate(mixed.join("node.pem"), mixed.join("other.key"));
    let mixed = loaded(&mixed).unwrap_err().to_string();
    assert!(mixed.contains("other.key can't be used together"), "{mixed}");
}

#[test]
fn new_files_are_used_and_bad_ones_are_told_once() {
    let authority = Authority::new("ours");
    let tls = load(authority.certificate("node", "localhost"));
    assert!(!tls.reload().unwrap(), "nothing has changed");
    let client = tls.loaded().client;
    let chain = authority.path().join("node.pem");
    std::fs::write(&chain, "no certificate").unwrap();
    assert!(tls.reload().is_err());
    assert!(!tls.reload().unwrap(), "it was told before");
    assert!(Arc::ptr_eq(&client, &tls.loaded().client), "the former stays in use");
    authority.certificate("node", "localhost");
    assert!(tls.reload().unwrap());
    assert!(!Arc::ptr_eq(&client, &tls.loaded().client));
}

#[test]
fn all_names_of_a_certificate_are_its_identity() {
    let authority = Authority::new("ours");
    authority.certificate("node-1", "node-1.example");
    let pem = std::fs::read(authority.path().join("node-1.pem")).unwrap();
    let chain = [rustls::pki_types::pem::PemObject::from_pem_slice(&pem).unwrap()];
    let identity = identity_of(Some(&chain)).unwrap();
    let expected = ["node-1", "node-1.example", "spiffe://waltz.example/node-1"];
    assert_eq!(identity, expected.into_iter().collect());
    assert_eq!(identity_of(None), None);
    assert_eq!(identity_of(Some(&[vec![1, 2, 3].into()])), None);
}

#[test]
fn hosts_are_told_from_ports() {
    for (address, host) in
        [("localhost:7400", "localhost"), ("[::1]:7400", "::1"), ("10.0.0.1:1", "10.0.0.1")]
    {
        assert_eq!(host_of(address), host);
    }
}
