//! One HTTP request, answered: may the peer do this, what does it ask, what does the daemon say.

use super::events::{Lasts, Lines};
use super::{Access, Ask, CheckNowAsk, EventStream, NoAnswer, Peer, ask};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use lbcore::api::route::{self, Call};
use lbcore::api::{self, ApiError, Envelope, ErrorBody, ErrorCode};
use lbcore::config::MAX_BYTES;
use serde::Serialize;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{info, warn};

/// The largest request body that is no whole configuration: the largest today is a service with
/// its checks and reals.
pub const MAX_BODY: usize = 64 * 1024;

/// A body comes at once or not at all.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// A reload of the largest configuration takes a few seconds; longer than this is a fault.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Answers one request. Never fails: whatever goes wrong is an answer, too.
pub async fn answer<B>(
    request: Request<B>,
    peer: &Peer,
    access: &Access,
    asks: &mpsc::Sender<Ask>,
) -> Response<Lines>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match decide(request, peer, access, asks).await {
        Ok(Answer::Document(response)) => document(StatusCode::OK, &Envelope::new(response)),
        Ok(Answer::Events(stream)) => events(stream),
        Err(error) => refusal(error),
    }
}

enum Answer {
    Document(api::Response),
    Events(EventStream),
}

async fn decide<B>(
    request: Request<B>,
    peer: &Peer,
    access: &Access,
    asks: &mpsc::Sender<Ask>,
) -> Result<Answer, ApiError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if !access.may_look(peer) {
        warn!(
            uid = peer.uid,
            pid = peer.pid,
            "control: refused, not in read_group"
        );
        return Err(ApiError::new(
            ErrorCode::NotPermitted,
            format!("user id {} may not look at this lbd", peer.uid),
        )
        .hint("ask as root, or as a member of read_group or admin_group (see lbd.toml)"));
    }
    let (parts, body) = request.into_parts();
    let whole = route::carries_configuration(parts.method.as_str(), parts.uri.path());
    // Only from somebody whose word counts is so much read.
    let bound = match whole && access.may_change(peer) {
        true => MAX_BYTES,
        false => MAX_BODY,
    };
    let body = read_body(body, bound).await?;
    let target = parts
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    let request = Call::read(parts.method.as_str(), target, &body)?;
    if let api::Request::Events { follow } = request {
        let answer = ask(asks, ANSWER_TIMEOUT, |reply| Ask::Events { follow, reply });
        let stream = answer.await.unwrap_or_else(|why| Err(no_answer(why)));
        return stream.map(Answer::Events);
    }
    if let api::Request::Trace { ask: wanted } = request {
        // It changes nothing, but shows who calls, and costs every frame a look.
        info!(uid = peer.uid, pid = peer.pid, "control: trace");
        let question = |reply| Ask::Trace { ask: wanted, reply };
        let answer = ask(asks, ANSWER_TIMEOUT, question);
        let stream = answer.await.unwrap_or_else(|why| Err(no_answer(why)));
        return stream.map(Answer::Events);
    }
    if !request.changes() {
        return obtain(request, peer, asks).await;
    }
    let verb = request.verb();
    let verb = verb.as_str();
    if !access.may_change(peer) {
        warn!(
            uid = peer.uid,
            pid = peer.pid,
            verb,
            "control: refused, may not change things"
        );
        return Err(ApiError::new(
            ErrorCode::NotPermitted,
            format!(
                "user id {} may not change this lbd; nothing was changed",
                peer.uid
            ),
        )
        .hint("ask as root, as lbd's own user, or as a member of admin_group (see lbd.toml)"));
    }
    let result = obtain(request, peer, asks).await;
    match &result {
        Ok(_) => info!(uid = peer.uid, pid = peer.pid, verb, "control: done"),
        Err(error) => warn!(
            uid = peer.uid,
            pid = peer.pid,
            verb,
            "control: failed: {}",
            error.message
        ),
    }
    result
}

/// What the daemon says to a request that the peer may make.
async fn obtain(
    request: api::Request,
    peer: &Peer,
    asks: &mpsc::Sender<Ask>,
) -> Result<Answer, ApiError> {
    let api::Request::CheckNow {
        service,
        real,
        dry_run,
    } = request
    else {
        return put(request, peer, asks).await.map(Answer::Document);
    };
    let which = CheckNowAsk {
        service,
        real,
        dry_run,
    };
    let peer = peer.clone();
    let answer = ask(asks, ANSWER_TIMEOUT, |reply| Ask::CheckNow {
        ask: which,
        peer,
        reply,
    });
    let stream = answer.await.unwrap_or_else(|why| Err(no_answer(why)));
    stream.map(Answer::Events)
}

async fn read_body<B>(body: B, bound: usize) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let read = Limited::new(body, bound).collect();
    match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::new(
            ErrorCode::TooLarge,
            format!("the body is larger than {bound} bytes; nothing was changed"),
        )),
        Ok(Err(error)) => Err(ApiError::new(
            ErrorCode::BadRequest,
            format!("the body cannot be read: {error}; nothing was changed"),
        )),
        Err(_) => Err(ApiError::new(
            ErrorCode::BadRequest,
            format!("no whole body within {BODY_TIMEOUT:?}; nothing was changed"),
        )),
    }
}

async fn put(
    request: api::Request,
    peer: &Peer,
    asks: &mpsc::Sender<Ask>,
) -> Result<api::Response, ApiError> {
    let peer = peer.clone();
    let answer = ask(asks, ANSWER_TIMEOUT, |reply| Ask::Request {
        request,
        peer,
        reply,
    });
    answer.await.unwrap_or_else(|why| Err(no_answer(why)))
}

fn no_answer(why: NoAnswer) -> ApiError {
    match why {
        NoAnswer::Gone => ApiError::new(ErrorCode::Unavailable, "lbd is stopping"),
        NoAnswer::Late => ApiError::new(
            ErrorCode::Timeout,
            format!("lbd did not answer within {ANSWER_TIMEOUT:?}; a change may still come"),
        )
        .hint("look at lbctl status and at lbd's log (journalctl -u lbd)"),
    }
}

/// An error as an answer.
pub fn refusal(error: ApiError) -> Response<Lines> {
    let code = error.code;
    let status =
        StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = document(status, &Envelope::new(ErrorBody { error }));
    if code == ErrorCode::MethodNotAllowed {
        // RFC 9110, 15.5.6 wants the header; the words say which fits this path.
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, POST, PATCH, DELETE"));
    }
    response
}

fn events(EventStream { past, following }: EventStream) -> Response<Lines> {
    let (more, lasts) = following.map(|f| (f.lines, Lasts(f.cut))).unzip();
    let mut response = Response::new(Lines::open(past, more));
    if let Some(lasts) = lasts {
        response.extensions_mut().insert(lasts);
    }
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn document(status: StatusCode, body: &impl Serialize) -> Response<Lines> {
    let (status, body) = match serde_json::to_vec(body) {
        Ok(body) => (status, body),
        Err(error) => {
            warn!(%error, "control: an answer cannot be written as JSON");
            (StatusCode::INTERNAL_SERVER_ERROR, Vec::new())
        }
    };
    let mut response = Response::new(Lines::whole(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
