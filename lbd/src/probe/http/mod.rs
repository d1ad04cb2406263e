//! The `http` check: one request, judged by its status and, where the check asks for it, by a text
//! in the body.
//!
//! Whoever answers may be hostile: all that is read of it is bounded by [`MOST_READ`], redirects
//! are not followed, and the caller's timeout ends everything.

#[cfg(test)]
mod tests;

use super::bounded::Bounded;
use super::{Found, ProbeError, Question, tcp};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use lbcore::config::HttpCheck;
use std::error::Error;
use std::io;
use std::pin::pin;
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes of an answer that are read at most, head and body and interim answers together: a health
/// page needs a fraction, and a thousand probes of hostile reals stay within 64 MiB.
const MOST_READ: usize = 64 * 1024;

/// Bytes of them that hyper may hold at once.
const MOST_HELD: usize = 32 * 1024;

/// Asks once and closes in order, since the answer has been read: the real's log shows an ordinary
/// request. (What is left unread of a body nobody asked about ends with a reset.)
pub(super) async fn probe(question: &Question, check: &HttpCheck) -> Result<Found, ProbeError> {
    let request = request(question, check, 80)?;
    let stream = tcp::connect(question).await?;
    exchange(stream, request, |response| judge(response, check)).await
}

/// Sends `request` and gives the head of the answer to `judge`, who may read its body.
pub(super) async fn exchange<S, F, T>(
    stream: S,
    request: Request<Empty<Bytes>>,
    judge: impl FnOnce(Response<Incoming>) -> F,
) -> Result<T, ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Result<T, ProbeError>>,
{
    let io = TokioIo::new(bounded(stream));
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MOST_HELD)
        .handshake(io)
        .await
        .map_err(failure)?;

    let mut exchange = pin!(async {
        let response = sender.send_request(request).await.map_err(failure)?;
        judge(response).await
    });
    tokio::select! {
        verdict = &mut exchange => verdict,
        // Whatever ended it, the exchange has been told and says it better.
        _ = connection => exchange.await,
    }
}

/// The check's request; `usual` is the port that `Host` does not name.
pub(super) fn request(
    question: &Question,
    check: &HttpCheck,
    usual: u16,
) -> Result<Request<Empty<Bytes>>, ProbeError> {
    let host = match &check.host {
        Some(host) => host.clone(),
        None => asked_host(question, usual),
    };
    let mut request = bare_request(&check.method, &check.path, &host)?;
    for (name, value) in &check.headers {
        // The check's own headers replace ours.
        put(&mut request, name, value)?;
    }
    Ok(request)
}

/// A request with the headers that every probe sends.
pub(super) fn bare_request(
    method: &str,
    path: &str,
    host: &str,
) -> Result<Request<Empty<Bytes>>, ProbeError> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .body(Empty::new())
        .map_err(|error| ProbeError::Request(error.to_string()))?;
    put(&mut request, HOST.as_str(), host)?;
    let us = concat!("lbd/", env!("CARGO_PKG_VERSION"));
    put(&mut request, USER_AGENT.as_str(), us)?;
    put(&mut request, CONNECTION.as_str(), "close")?;
    Ok(request)
}

/// The address asked, as `Host` has it.
pub(super) fn asked_host(question: &Question, usual: u16) -> String {
    let to = question.to;
    match to.port() {
        port if port != usual => to.to_string(),
        _ if to.is_ipv6() => format!("[{}]", to.ip()),
        _ => to.ip().to_string(),
    }
}

/// A connection of which no more is read than of an answer.
pub(super) fn bounded<S>(stream: S) -> Bounded<S> {
    Bounded::new(stream, MOST_READ)
}

/// Whether reading has ended at the bound of [`bounded`].
pub(super) fn too_long(error: &io::Error) -> Option<ProbeError> {
    (error.kind() == io::ErrorKind::FileTooLarge).then_some(ProbeError::TooLong(MOST_READ))
}

fn put<B>(request: &mut Request<B>, name: &str, value: &str) -> Result<(), ProbeError> {
    let wrong = |error: String| ProbeError::Request(format!("{name}: {error}"));
    let key = HeaderName::try_from(name).map_err(|error| wrong(error.to_string()))?;
    let value = HeaderValue::try_from(value).map_err(|error| wrong(error.to_string()))?;
    request.headers_mut().insert(key, value);
    Ok(())
}

/// The whole body, of at most `most` bytes.
pub(super) async fn body(mut body: Incoming, most: usize) -> Result<Vec<u8>, ProbeError> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(failure)?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        if whole.len() + data.len() > most {
            return Err(ProbeError::TooLong(most));
        }
        whole.extend_from_slice(data);
    }
    Ok(whole)
}

pub(super) async fn judge(
    response: Response<Incoming>,
    check: &HttpCheck,
) -> Result<Found, ProbeError> {
    let status = response.status().as_u16();
    if !check
        .expect
        .iter()
        .any(|(from, to)| (*from..=*to).contains(&status))
    {
        return Err(ProbeError::Status(status));
    }
    if let Some(wanted) = &check.body
        && !contains(response.into_body(), wanted.as_bytes()).await?
    {
        let wanted = wanted.clone();
        return Err(ProbeError::BodyLacks { status, wanted });
    }
    Ok(format!("http {status}").into())
}

/// Looks for `wanted` in the body as it arrives; of what was searched only a tail is kept, in case
/// the text begins in it.
async fn contains(mut body: Incoming, wanted: &[u8]) -> Result<bool, ProbeError> {
    if wanted.is_empty() {
        return Ok(true);
    }
    let mut unsearched = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(failure)?;
        unsearched.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if unsearched
            .windows(wanted.len())
            .any(|window| window == wanted)
        {
            return Ok(true);
        }
        let searched = (unsearched.len() + 1).saturating_sub(wanted.len());
        unsearched.drain(..searched);
    }
    Ok(false)
}

/// hyper's error in our words: the I/O error behind it where there is one.
pub(super) fn failure(error: hyper::Error) -> ProbeError {
    if error.is_parse_too_large() {
        return ProbeError::TooLong(MOST_HELD);
    }
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return match (io.kind(), io.raw_os_error()) {
                (io::ErrorKind::FileTooLarge, _) => ProbeError::TooLong(MOST_READ),
                (_, Some(errno)) => ProbeError::Io(io::Error::from_raw_os_error(errno)),
                (io::ErrorKind::UnexpectedEof, _) => ProbeError::Closed,
                _ => ProbeError::Malformed(io.to_string()),
            };
        }
        source = inner.source();
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        ProbeError::Closed
    } else {
        ProbeError::Malformed(error.to_string())
    }
}
