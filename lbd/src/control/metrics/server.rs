//! HTTP on the metrics address.

use super::super::events::{Lasts, Lines};
use super::super::{Ask, NoAnswer, ask, page};
use super::page::render;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use lbcore::api::printable;
use prometheus::{Registry, TEXT_FORMAT};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tracing::{debug, info, warn};

/// Connections served at once; more wait in the kernel's backlog, and none holds its place longer
/// than [`CONNECTION_TIMEOUT`].
const MAX_CONNECTIONS: usize = 16;

/// Pages made at once: each may be megabytes, and is a picture of the same moment anyway.
const MAX_PAGES: usize = 2;

/// The request line with headers: a scraper sends some 300 bytes.
const MAX_HEADERS: usize = 8 * 1024;

/// A scraper that has connected says what it wants within this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// From connecting to the last byte; Prometheus itself gives up after 10 s by default.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);

/// Who follows the status page and has not taken in this time what was sent is gone.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(20);

/// The daemon answers in milliseconds; `/healthz` calls it sick after this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// An address that cannot be had now is tried again this often.
const BIND_AGAIN: Duration = Duration::from_secs(5);

/// After a failed accept (out of descriptors), this long until the next: it would fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves on the wanted address, follows it when the configuration changes it, and ends when the
/// daemon's end of `asks` or of `wanted` is gone. `None` serves nothing. An address that is in
/// use or not there (yet) is tried again and again: lbd balances without its metrics, too.
pub async fn run(
    mut wanted: watch::Receiver<Option<SocketAddr>>,
    asks: mpsc::Sender<Ask>,
    registry: Registry,
) {
    loop {
        let address = *wanted.borrow_and_update();
        let serving = async {
            match address {
                Some(address) => serve(bind(address).await, asks.clone(), registry.clone()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = serving => return,
            () = asks.closed() => return,
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}

async fn bind(address: SocketAddr) -> TcpListener {
    let mut said = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                info!(%address, "metrics: serving the status page, /metrics, /healthz and /readyz");
                return listener;
            }
            Err(error) if !said => {
                said = true;
                warn!(
                    %address, %error,
                    "metrics: cannot listen there; trying again every {BIND_AGAIN:?}; \
                     see metrics in lbd.toml"
                );
            }
            Err(_) => {}
        }
        tokio::time::sleep(BIND_AGAIN).await;
    }
}

/// Serves until the daemon's end of `asks` is gone.
pub(super) async fn serve(listener: TcpListener, asks: mpsc::Sender<Ask>, registry: Registry) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let pages = Arc::new(Semaphore::new(MAX_PAGES));
    let hub = Arc::new(page::Hub::new(asks.clone()));
    let mut producer = std::pin::pin!(hub.run());
    loop {
        let accepted = tokio::select! {
            () = &mut producer => return,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            } => accepted,
            () = asks.closed() => return,
        };
        match accepted {
            (Ok(place), Ok((stream, _))) => {
                let scrape = Scrape {
                    asks: asks.clone(),
                    registry: registry.clone(),
                    pages: Arc::clone(&pages),
                    hub: Arc::clone(&hub),
                };
                tokio::spawn(connection(stream, scrape, place));
            }
            (_, Err(error)) => {
                debug!(%error, "metrics: a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            // Only a closed semaphore gives no place, and nobody closes it.
            (Err(_), _) => return,
        }
    }
}

/// What an answer needs.
#[derive(Clone)]
struct Scrape {
    asks: mpsc::Sender<Ask>,
    registry: Registry,
    pages: Arc<Semaphore>,
    hub: Arc<page::Hub>,
}

async fn connection(stream: TcpStream, scrape: Scrape, place: OwnedSemaphorePermit) {
    let lasts: OnceLock<Lasts> = OnceLock::new();
    let place = Mutex::new(Some(place));
    let socket = socket2::SockRef::from(&stream);
    if let Err(error) = socket.set_tcp_user_timeout(Some(UNREAD_TIMEOUT)) {
        debug!(%error, "metrics: a peer that vanishes will be noticed late");
    }
    let service = service_fn(|request: Request<Incoming>| {
        let (scrape, lasts, place) = (scrape.clone(), &lasts, &place);
        async move {
            let response = scrape.answer(&request).await;
            if let Some(until) = response.extensions().get::<Lasts>() {
                lasts.get_or_init(|| until.clone());
                // Those that last are bounded by the page's hub, and take no scraper's place.
                drop(place.lock().map(|mut place| place.take()));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_header_size(MAX_HEADERS)
        .max_buf_size(MAX_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let too_long = async {
        tokio::time::sleep(CONNECTION_TIMEOUT).await;
        if let Some(lasts) = lasts.get() {
            lasts.clone().over().await;
        }
    };
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            debug!(%error, "metrics: connection ended early");
        },
        () = too_long => debug!("metrics: connection took too long"),
    }
}

impl Scrape {
    async fn answer<B>(&self, request: &Request<B>) -> Response<Lines> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD here\n".into(),
            );
        }
        match request.uri().path() {
            "/" => self.hub.page().await.unwrap_or_else(unanswered),
            "/page.css" => page::style(),
            "/page.js" => page::script(),
            "/events" if request.method() == Method::HEAD => text(StatusCode::OK, String::new()),
            "/events" => match self.hub.events().await {
                Ok(Some(response)) => response,
                Ok(None) => text(StatusCode::SERVICE_UNAVAILABLE, too_many_look()),
                Err(no_answer) => unanswered(no_answer),
            },
            "/metrics" => self.metrics().await,
            "/healthz" => self.health().await,
            "/readyz" => self.readiness().await,
            _ => text(
                StatusCode::NOT_FOUND,
                "lbd has here:\n/         the status page\n/metrics  for Prometheus\n/healthz  200 while lbd is alive\n\
                 /readyz   200 while lbd takes new flows\n"
                    .into(),
            ),
        }
    }

    async fn metrics(&self) -> Response<Lines> {
        let Ok(_page) = self.pages.acquire().await else {
            return unanswered(NoAnswer::Gone);
        };
        let view = match ask(&self.asks, ANSWER_TIMEOUT, |reply| Ask::Metrics { reply }).await {
            Ok(view) => view,
            Err(no_answer) => return unanswered(no_answer),
        };
        let registry = self.registry.clone();
        // With tens of thousands of reals this takes long enough to hold others up.
        let rendering = tokio::task::spawn_blocking(move || render(&view, &registry));
        match rendering
            .await
            .unwrap_or_else(|e| Err(prometheus::Error::Msg(e.to_string())))
        {
            Ok(page) => {
                let mut response = text(StatusCode::OK, page);
                let format = HeaderValue::from_static(TEXT_FORMAT);
                response.headers_mut().insert(CONTENT_TYPE, format);
                response
            }
            Err(error) => {
                warn!(%error, "metrics: the page cannot be written");
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
            }
        }
    }

    /// Alive: the daemon's one loop answers.
    async fn health(&self) -> Response<Lines> {
        match ask(&self.asks, ANSWER_TIMEOUT, |reply| Ask::Ready { reply }).await {
            Ok(_) => text(StatusCode::OK, "ok\n".into()),
            Err(no_answer) => unanswered(no_answer),
        }
    }

    async fn readiness(&self) -> Response<Lines> {
        match ask(&self.asks, ANSWER_TIMEOUT, |reply| Ask::Ready { reply }).await {
            Ok(readiness) if readiness.ready => text(
                StatusCode::OK,
                format!("ready: {}\n", printable(&readiness.reason)),
            ),
            Ok(readiness) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("not ready: {}\n", printable(&readiness.reason)),
            ),
            Err(no_answer) => unanswered(no_answer),
        }
    }
}

fn too_many_look() -> String {
    format!(
        "{} look at the status page already: close one of them\n",
        page::LISTENERS
    )
}

fn unanswered(no_answer: NoAnswer) -> Response<Lines> {
    let why = match no_answer {
        NoAnswer::Gone => "lbd is stopping\n".into(),
        NoAnswer::Late => format!("lbd did not answer within {ANSWER_TIMEOUT:?}\n"),
    };
    text(StatusCode::SERVICE_UNAVAILABLE, why)
}

fn text(status: StatusCode, body: String) -> Response<Lines> {
    let mut response = Response::new(Lines::whole(Bytes::from(body)));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
