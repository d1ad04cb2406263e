//! The `https` check: the `http` check over TLS, which also finds out until when the certificate is
//! good.

mod trust;

use super::{Found, ProbeError, Question, http, tcp};
use lbcore::config::{HttpCheck, TlsCheck};
use lbcore::health::certificate;
use std::io;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::ServerName;

/// Asks once. What the handshake may read counts as part of the answer, which is bounded.
pub(super) async fn probe(
    question: &Question,
    check: &HttpCheck,
    tls: &TlsCheck,
) -> Result<Found, ProbeError> {
    let request = http::request(question, check, 443)?;
    let name = server_name(question, check, tls)?;
    let config = trust::config(tls).await?;
    let stream = http::bounded(tcp::connect(question).await?);
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(failure)?;
    let certificates = stream.get_ref().1.peer_certificates();
    let leaf = certificates.and_then(|chain| chain.first());
    let expires = leaf.and_then(|leaf| certificate::expires(leaf));
    let found = http::exchange(stream, request, |response| http::judge(response, check)).await?;
    let words = found.words.replacen("http", "https", 1);
    Ok(Found {
        words,
        expires,
        ..found
    })
}

/// The name the certificate is for: `sni`, else the host's name, else the address asked.
fn server_name(
    question: &Question,
    check: &HttpCheck,
    tls: &TlsCheck,
) -> Result<ServerName<'static>, ProbeError> {
    let host = check.host.as_deref().map(without_port);
    match tls.sni.as_deref().or(host) {
        Some(name) => ServerName::try_from(name.to_owned())
            .map_err(|error| ProbeError::Request(format!("{name}: {error}"))),
        None => Ok(ServerName::IpAddress(question.to.ip().into())),
    }
}

/// `shop.example` of `shop.example:8443`, `2001:db8::1` of `[2001:db8::1]:8443`.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or(bracketed),
        None => host.split(':').next().unwrap_or(host),
    }
}

/// What ended the handshake, in our words.
fn failure(error: io::Error) -> ProbeError {
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => ProbeError::Wrong(format!("tls: {tls}")),
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof => ProbeError::Closed,
            _ => http::too_long(&error).unwrap_or(ProbeError::Io(error)),
        },
    }
}

/// The provider of all cryptography here.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests;
