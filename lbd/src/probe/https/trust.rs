//! Whom TLS probes trust.

use super::super::ProbeError;
use super::provider;
use lbcore::config::TlsCheck;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_rustls::rustls;

/// Files of certificates are read again after this long: a new authority needs no restart, and a
/// probe does not read a hundred files.
const FRESH: Duration = Duration::from_secs(60);

/// What was made of `ca_file` (or of the system's store) and `verify`, and when.
type Made = HashMap<(Option<PathBuf>, bool), (Instant, Arc<ClientConfig>)>;

static MADE: LazyLock<Mutex<Made>> = LazyLock::new(Mutex::default);

/// How to speak TLS for this check.
pub(super) async fn config(tls: &TlsCheck) -> Result<Arc<ClientConfig>, ProbeError> {
    let key = (tls.ca_file.clone().filter(|_| tls.verify), tls.verify);
    if let Some((at, config)) = made().get(&key)
        && at.elapsed() < FRESH
    {
        return Ok(config.clone());
    }
    let (ca_file, verify) = key.clone();
    let config = tokio::task::spawn_blocking(move || make(ca_file, verify))
        .await
        .map_err(|error| ProbeError::Own(error.to_string()))??;
    let mut made = made();
    made.retain(|_, (at, _)| at.elapsed() < FRESH);
    made.insert(key, (Instant::now(), config.clone()));
    Ok(config)
}

fn made() -> std::sync::MutexGuard<'static, Made> {
    // Every change is a whole one.
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make(ca_file: Option<PathBuf>, verify: bool) -> Result<Arc<ClientConfig>, ProbeError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| ProbeError::Own(error.to_string()))?;
    let mut config = if verify {
        builder
            .with_root_certificates(roots(ca_file)?)
            .with_no_client_auth()
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider())))
            .with_no_client_auth()
    };
    // Each probe is a whole handshake: a resumed one would show no certificate.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn roots(ca_file: Option<PathBuf>) -> Result<RootCertStore, ProbeError> {
    let (what, found) = match &ca_file {
        Some(file) => (
            file.display().to_string(),
            rustls_native_certs::load_certs_from_paths(Some(file), None),
        ),
        None => (
            "this host's store of certificates".to_owned(),
            rustls_native_certs::load_native_certs(),
        ),
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first();
        let why = why.map_or("no certificate in it".to_owned(), |error| error.to_string());
        return Err(ProbeError::Own(format!("{what} cannot be used: {why}")));
    }
    Ok(roots)
}

/// `verify = false`: whoever answers is taken at their word, as long as they hold the key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
