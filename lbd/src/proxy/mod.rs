//! The transparent proxy: it ends clients' connections to VIPs of tproxy services and dials reals,
//! from the clients' own addresses where it is told to.
//!
//! One thread a worker, each with one epoll, one listener for each endpoint (the kernel spreads
//! connections over workers by SO_REUSEPORT), and its own connections: workers share the snapshot,
//! the counts and the [`budget`], nothing else. The pick is the director's.

pub mod budget;
mod gates;
mod list;
mod poller;
mod shared;
mod sight;
mod slab;
mod start;
pub mod tcp;
#[cfg(test)]
mod testbed;
mod udp;
mod worker;

pub use list::{Cleared, Clearing, ConnectionRow, ListAsk};
pub use start::Proxy;

use lbcore::net::ServiceKey;
use std::sync::Arc;

/// What the proxy shall listen on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ProxyPlan {
    /// Every VIP:port/protocol of services in mode tproxy, sorted.
    pub endpoints: Vec<ServiceKey>,
}

/// What the proxy made of its plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyState {
    /// The latest plan that every worker follows.
    pub in_force: Option<Arc<ProxyPlan>>,
    /// Endpoints nobody listens on, and why: `192.0.2.10:80/tcp: address in use`. They are tried
    /// again every second.
    pub trouble: Vec<String>,
}
