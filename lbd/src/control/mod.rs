//! The control socket, the metrics and the status page: HTTP in, questions to the daemon, HTTP out.
//!
//! This room knows nothing of what it shows: it hands an [`Ask`] to the daemon, which owns the
//! state, and sends back what it says. Everything here is bounded: connections, bytes, time.

mod access;
mod events;
mod handler;
pub mod metrics;
pub mod page;
pub mod server;

pub use access::{Access, Peer};
pub use events::{EventStream, Following};
pub use metrics::MetricsView;

use lbcore::api::{ApiError, RealRef, Request, Response, ServiceRef, TraceAsk};
use tokio::sync::{mpsc, oneshot};

/// Questions that may wait for the daemon at once: as many as there can be connections that ask.
pub const ASK_QUEUE: usize = 128;

/// A question to the daemon.
#[derive(Debug)]
pub enum Ask {
    /// Somebody at the control socket wants something, and may have it.
    Request {
        /// What.
        request: Request,
        /// Who.
        peer: Peer,
        /// Where the answer goes. Nobody may be there any more.
        reply: oneshot::Sender<Result<Response, ApiError>>,
    },
    /// Somebody wants checks run at once, and may have it.
    CheckNow {
        /// Which.
        ask: CheckNowAsk,
        /// Who.
        peer: Peer,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<EventStream, ApiError>>,
    },
    /// Somebody wants to hear what happened, or follows what happens.
    Events {
        /// Also what is to come.
        follow: bool,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<EventStream, ApiError>>,
    },
    /// Somebody wants to see live packets.
    Trace {
        /// Which, and how many.
        ask: TraceAsk,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<EventStream, ApiError>>,
    },
    /// `/metrics`: everything that is counted.
    Metrics {
        /// Where the answer goes.
        reply: oneshot::Sender<MetricsView>,
    },
    /// The status page: the picture, and what happened last.
    Glance {
        /// Where the answer goes.
        reply: oneshot::Sender<page::Glance>,
    },
    /// `/healthz` and `/readyz`.
    Ready {
        /// Where the answer goes.
        reply: oneshot::Sender<Readiness>,
    },
}

/// Which checks are to be run at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckNowAsk {
    /// Of this service.
    pub service: ServiceRef,
    /// Of this real; `None`: of all.
    pub real: Option<RealRef>,
    /// Say which there are, and ask nobody.
    pub dry_run: bool,
}

/// Whether lbd is ready, and why or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// It forwards, takes new flows, and every real was judged once.
    pub ready: bool,
    /// In words, one line.
    pub reason: String,
}

/// The daemon's end of the queue is gone, or it did not answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoAnswer {
    Gone,
    Late,
}

/// Sends one question and waits for its answer, `patience` long in all.
async fn ask<T>(
    asks: &mpsc::Sender<Ask>,
    patience: std::time::Duration,
    question: impl FnOnce(oneshot::Sender<T>) -> Ask,
) -> Result<T, NoAnswer> {
    let (reply, answer) = oneshot::channel();
    let exchange = async {
        asks.send(question(reply))
            .await
            .map_err(|_| NoAnswer::Gone)?;
        answer.await.map_err(|_| NoAnswer::Gone)
    };
    tokio::time::timeout(patience, exchange)
        .await
        .unwrap_or(Err(NoAnswer::Late))
}
