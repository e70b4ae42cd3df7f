//! TLS for Redis: trusted authorities and this process' certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::bus::config::Access;

/// The TLS settings of a connection; returns the problem in words on failure.
pub(super) async fn config(access: &Access) -> Result<ClientConfig, String> {
    let access = access.clone();
    // Reads files, which may block.
    let read = tokio::task::spawn_blocking(move || read_config(&access));
    read.await.unwrap_or_else(|error| Err(error.to_string()))
}

fn read_config(access: &Access) -> Result<ClientConfig, String> {
    let roots = match &access.ca {
        Some(path) => trusted(path)?,
        None => trusted_by_system()?,
    };
    // An explicit provider: the process' default depends on other crates.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match (&access.certificate, &access.key) {
        (Some(certificate), Some(key)) => {
            let shown = (certificates(certificate)?, private_key(key)?);
            let config = config.with_client_auth_cert(shown.0, shown.1);
            config.map_err(|error| {
                let (certificate, key) = (certificate.display(), key.display());
                format!("the certificate `{certificate}` and the key `{key}` do not fit: {error}")
            })?
        }
        _ => config.with_no_client_auth(),
    };
    Ok(config)
}

fn trusted(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| format!("`{}` holds no authority: {error}", path.display()))?;
    }
    Ok(roots)
}

/// The authorities that the system trusts. Unreadable certificates among them are skipped.
fn trusted_by_system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let why = found.errors.first().map(ToString::to_string);
    Err(format!(
        "this system trusts no certificates ({}): name those to trust with `Config::ca_file` or \
         CONCLIB_REDIS_CA",
        why.unwrap_or_else(|| "none were found".to_owned())
    ))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => Err(no_pem("certificate", path)),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unreadable("certificate", path, &error)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    match PrivateKeyDer::from_pem_file(path) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(no_pem("private key", path)),
        Err(error) => Err(unreadable("private key", path, &error)),
    }
}

fn no_pem(kind: &str, path: &Path) -> String {
    format!("`{}` holds no {kind} in PEM format", path.display())
}

/// The text never repeats the file's contents: it may be a key.
fn unreadable(kind: &str, path: &Path, error: &pem::Error) -> String {
    let problem = match error {
        pem::Error::Io(error) => error.to_string(),
        _ => "it is no valid PEM".to_owned(),
    };
    format!("the {kind} `{}` cannot be read: {problem}", path.display())
}

/// Instructions for problems that come from TLS, by their debug form.
pub(super) fn explain(details: &str) -> Option<String> {
    let untrusted = "Redis' certificate is not signed by an authority that is trusted here: name \
                     its certificate with `Config::ca_file` or CONCLIB_REDIS_CA";
    let hints = [
        ("UnknownIssuer", untrusted),
        ("BadSignature", untrusted),
        (
            "NotValidForName",
            "Redis' certificate is for another host than the one in the URL",
        ),
        ("Expired", "Redis' certificate has expired"),
        ("NotValidYet", "Redis' certificate is not valid yet"),
        (
            "CertificateRequired",
            "Redis wants a certificate of this process: name one with \
             `Config::client_certificate` or CONCLIB_REDIS_CERT and CONCLIB_REDIS_KEY",
        ),
        (
            "UnknownCA",
            "Redis does not trust the authority that signed the certificate of this process",
        ),
        (
            "InvalidContentType",
            "this is not TLS: if Redis listens without it, write `redis://`",
        ),
    ];
    let found = hints.iter().find(|(sign, _)| details.contains(sign));
    found.map(|(sign, hint)| format!("{hint} ({sign})"))
}
