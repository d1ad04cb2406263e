//! The `grpc` check: `grpc.health.v1.Health/Check` over HTTP/2 without TLS.

use super::{Found, ProbeError, Question, http, tcp};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::header::{CONTENT_TYPE, TE, USER_AGENT};
use hyper::rt::Executor;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use lbcore::config::GrpcCheck;
use lbcore::health::grpc::{self, METHOD, Status};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;

/// Bytes of an answer's message that are read: it has two.
const MOST_MESSAGE: usize = 1024;

/// Bytes of headers that are taken.
const MOST_HEADERS: u32 = 16 * 1024;

/// gRPC's codes that say the server works and knows no such check (gRPC "Status codes").
const NOT_FOUND: &str = "5";
const UNIMPLEMENTED: &str = "12";

/// Asks once.
pub(super) async fn probe(question: &Question, check: &GrpcCheck) -> Result<Found, ProbeError> {
    let wrong = |error: hyper::http::Error| ProbeError::Request(error.to_string());
    let request = Request::post(format!("http://{}{METHOD}", question.to))
        .header(TE, "trailers")
        .header(CONTENT_TYPE, "application/grpc")
        .header(USER_AGENT, concat!("lbd/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(grpc::request(&check.service))))
        .map_err(wrong)?;
    let stream = http::bounded(tcp::connect(question).await?);
    let helpers = Helpers::default();
    let (mut sender, connection) = http2::Builder::new(helpers.spawner())
        .max_header_list_size(MOST_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(http::failure)?;
    helpers.spawner().execute(async move {
        // Whatever ends it, the exchange is told and says it better.
        let _ = connection.await;
    });
    let response = sender.send_request(request).await.map_err(http::failure)?;
    judge(response).await
}

async fn judge<B>(response: Response<B>) -> Result<Found, ProbeError>
where
    B: hyper::body::Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    let (head, mut body) = response.into_parts();
    if head.status != 200 {
        return Err(ProbeError::Status(head.status.as_u16()));
    }
    let mut message = Vec::new();
    // An answer without a message has its trailers in the head.
    let mut trailers = head.headers;
    while let Some(frame) = body.frame().await {
        match frame.map_err(http::failure)?.into_data() {
            Ok(data) if message.len() + data.len() > MOST_MESSAGE => {
                return Err(ProbeError::TooLong(MOST_MESSAGE));
            }
            Ok(data) => message.extend_from_slice(&data),
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    let code = grpc_status(&trailers);
    match (code.as_deref(), grpc::status(&message)) {
        (Some("0"), Some(Status::Serving)) => Ok("grpc SERVING".into()),
        (Some("0"), Some(Status::NotServing)) => says_no("NOT_SERVING"),
        (Some("0"), Some(Status::Unknown)) => says_no("UNKNOWN"),
        (Some(NOT_FOUND), _) => says_no("NOT_FOUND: it knows no such service"),
        (Some(UNIMPLEMENTED), _) => says_no("UNIMPLEMENTED: it has no health service"),
        (Some(code), None) if code != "0" => says_no(&format!("status {code}")),
        _ => Err(ProbeError::Wrong("not a valid grpc answer".to_owned())),
    }
}

fn says_no(what: &str) -> Result<Found, ProbeError> {
    Err(ProbeError::SaysNo(format!("grpc {what}")))
}

/// `grpc-status`: digits, else it is none.
fn grpc_status(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("grpc-status")?.to_str().ok()?;
    let digits = (1..=3).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| value.to_owned())
}

/// The tasks hyper needs for one connection: they end with the probe, however it ends.
#[derive(Default)]
struct Helpers(Arc<Mutex<JoinSet<()>>>);

#[derive(Clone)]
struct Spawner(Arc<Mutex<JoinSet<()>>>);

impl Helpers {
    fn spawner(&self) -> Spawner {
        Spawner(self.0.clone())
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.abort_all();
    }
}

impl<F: Future + Send + 'static> Executor<F> for Spawner {
    fn execute(&self, task: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(async {
            task.await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Answer, Way};
    use hyper::body::{Frame, Incoming};
    use hyper::server::conn::http2 as server;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioExecutor;
    use lbcore::config::CheckKind;
    use std::convert::Infallible;
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    const TIMEOUT: Duration = Duration::from_millis(500);

    fn question(to: SocketAddr) -> Question {
        Question {
            to,
            way: Way::Real,
            source: None,
            timeout: TIMEOUT,
            kind: CheckKind::Grpc(GrpcCheck {
                service: "shop".to_owned(),
            }),
            names: None,
        }
    }

    /// A body of one message and trailers.
    struct Reply(Vec<Frame<Bytes>>);

    impl hyper::body::Body for Reply {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            std::task::Poll::Ready(self.0.pop().map(Ok))
        }
    }

    /// Asks a gRPC server that answers every call so.
    async fn asked(message: &'static [u8], status: &'static str) -> Answer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let to = listener.local_addr().expect("address");
        let served = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            let answer = async |request: Request<Incoming>| {
                assert_eq!(request.uri().path(), METHOD);
                assert_eq!(request.headers()[CONTENT_TYPE], "application/grpc");
                let asked = request.into_body().collect().await.expect("a message");
                assert_eq!(asked.to_bytes(), grpc::request("shop"));
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", status.parse().expect("a value"));
                let frames = vec![Frame::trailers(trailers), Frame::data(message.into())];
                Ok::<_, Infallible>(Response::new(Reply(frames)))
            };
            let io = TokioIo::new(stream);
            let builder = server::Builder::new(TokioExecutor::new());
            builder.serve_connection(io, service_fn(answer)).await
        });
        let answer = question(to).ask().await;
        served.abort();
        answer
    }

    #[tokio::test]
    async fn what_the_server_says_decides() {
        let serving = b"\0\0\0\0\x02\x08\x01";
        let answer = asked(serving, "0").await;
        assert!(
            answer.reason().starts_with("grpc SERVING in "),
            "{}",
            answer.reason()
        );
        for (message, status, words) in [
            (&b"\0\0\0\0\x02\x08\x02"[..], "0", "grpc NOT_SERVING"),
            (b"\0\0\0\0\x02\x08\x03", "0", "grpc UNKNOWN"),
            (b"", "5", "grpc NOT_FOUND: it knows no such service"),
            (b"", "12", "grpc UNIMPLEMENTED: it has no health service"),
            (b"", "14", "grpc status 14"),
        ] {
            let answer = asked(message, status).await;
            assert_eq!(answer.reason(), words);
            assert!(
                answer.outcome.is_err_and(|error| error.declines()),
                "{words}"
            );
        }
        for (message, status) in [(&b"\0\0\0\0\x02\x08"[..], "0"), (serving, "x"), (b"", "0")] {
            let answer = asked(message, status).await;
            assert_eq!(answer.reason(), "not a valid grpc answer");
        }
        let long = asked(&[0; 4096], "0").await;
        assert_eq!(long.reason(), "answer longer than 1 KiB");
    }

    /// T34: no HTTP/2, or endless.
    #[tokio::test]
    async fn t34_hostile_servers_fail_in_time_and_leave_no_task() {
        // An endless row of PING frames, and of settings.
        for page in [
            &b"HTTP/1.1 200 OK\r\n\r\n"[..],
            b"",
            &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0, 0, 0, 4, 0, 0, 0, 0, 0],
            &[0xff; 64],
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
            let to = listener.local_addr().expect("address");
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                while !page.is_empty() && stream.write_all(page).await.is_ok() {}
                stream
            });
            let before = tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks();
            let answer = question(to).ask_in_time().await;
            assert!(answer.outcome.is_err());
            server.abort();
            let ended = async {
                let metrics = tokio::runtime::Handle::current().metrics();
                while metrics.num_alive_tasks() >= before.max(1) {
                    tokio::task::yield_now().await;
                }
            };
            let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
            assert!(ended.is_ok(), "a task of the probe is left");
        }
    }
}
