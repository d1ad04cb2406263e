//! What a connection costs the proxy that has had one exchange and now waits.

use crate::contender::request;
use crate::network::Network;
use crate::process::{descriptors, private_bytes};
use anyhow::Context;
use integration::{sockets, wait_until};
use std::net::SocketAddr;
use std::time::Duration;

/// Twice as many descriptors fit into every limit we met (20,000), and a page is a byte of each.
const CONNECTIONS: usize = 4_000;

/// Closed connections must be gone from the proxy within this.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Per connection, client's and server's side together.
pub struct Cost {
    /// User-space memory.
    pub bytes: f64,
    /// Open descriptors.
    pub descriptors: f64,
}

/// Opens the connections, looks, and closes them.
///
/// # Errors
/// When one gets no answer.
///
/// # Panics
/// When the proxy does not close them.
pub fn cost(net: &Network, address: SocketAddr, pid: u32) -> anyhow::Result<Cost> {
    let (bytes, open) = (private_bytes(pid), descriptors(pid));
    let connections = net.client.run(|| {
        (0..CONNECTIONS)
            .map(|n| request(address).with_context(|| format!("connection {n}")))
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    let per_connection = |before: f64, now: f64| (now - before) / CONNECTIONS as f64;
    let cost = Cost {
        bytes: per_connection(bytes as f64, private_bytes(pid) as f64),
        descriptors: per_connection(open as f64, descriptors(pid) as f64),
    };

    drop(connections);
    // What is measured next must not pay for their end.
    wait_until("connections are gone", GONE_WITHIN, || {
        let hosts = [&net.balancer, &net.server];
        hosts
            .iter()
            .all(|host| sockets::alive(&sockets::tcp(&host.handle())).is_empty())
    });
    Ok(cost)
}
