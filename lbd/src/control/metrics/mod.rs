//! `/metrics`, `/healthz` and `/readyz`: what Prometheus and load balancers above us ask. The
//! status page is served beside them.

mod families;
mod family;
mod page;
mod process;
pub mod server;

pub use page::render;
pub use server::run;

use crate::live::proxy::ConnectTimes;
use lbcore::api::StatusView;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Everything that is counted, at one moment: the picture that `status` shows, and the counters
/// it does not.
#[derive(Clone, Debug)]
pub struct MetricsView {
    /// The same picture as `GET /v1/status`.
    pub status: StatusView,
    /// This lbd takes no new flows by the operator's wish.
    pub maintenance: bool,
    /// Reloads since the start that put a configuration in force.
    pub reloads_ok: u64,
    /// Reloads since the start that were refused.
    pub reloads_refused: u64,
    /// When a configuration was last put in force; the start counts.
    pub last_reload_success: Option<SystemTime>,
    /// Flows forgotten before their time, by reason.
    pub evictions: BTreeMap<String, u64>,
    /// Things of ours that another tool removed and lbd put back, by kind.
    pub restored: BTreeMap<String, u64>,
    /// How often reals came into each state.
    pub transitions: Vec<Transitions>,
    /// Proxied datagrams by direction; empty without udp services in mode tproxy.
    pub datagrams: Vec<Datagrams>,
    /// How long reals of tproxy services took to accept.
    pub connects: Vec<Connects>,
}

/// Proxied datagrams one way: received is sent and dropped together.
#[derive(Clone, Debug)]
pub struct Datagrams {
    /// `in`: from clients to reals; `out`: the way back.
    pub direction: &'static str,
    /// Read from sockets.
    pub received: u64,
    /// Taken by the kernel to send.
    pub sent: u64,
    /// Lost before lbd saw them, because a receive queue was full; never received.
    pub lost: u64,
    /// Dropped, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// How long one real took to accept connections.
#[derive(Clone, Debug)]
pub struct Connects {
    /// Name of the service.
    pub service: String,
    /// Name of the real.
    pub real: String,
    /// How long.
    pub times: ConnectTimes,
}

/// How often one real came into each state.
#[derive(Clone, Debug)]
pub struct Transitions {
    /// Name of the service.
    pub service: String,
    /// Name of the real.
    pub real: String,
    /// State word to count.
    pub to: BTreeMap<&'static str, u64>,
}

#[cfg(test)]
mod tests;
