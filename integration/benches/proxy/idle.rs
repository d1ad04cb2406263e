//! What a connection costs the proxy that has had one exchange and now waits.

use crate::contender::request;
use crate::network::Network;
use crate::process::{descriptors, private_bytes};
use anyhow::Context;
use std::net::SocketAddr;

/// Twice as many descriptors fit into every limit we met (20,000), and a page is a byte of each.
const CONNECTIONS: usize = 4_000;

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
pub fn cost(net: &Network, address: SocketAddr, pid: u32) -> anyhow::Result<Cost> {
    let (bytes, open) = (private_bytes(pid), descriptors(pid));
    let connections = net.client.run(|| {
        (0..CONNECTIONS)
            .map(|n| request(address).with_context(|| format!("connection {n}")))
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    let per_connection = |before: f64, now: f64| (now - before) / connections.len() as f64;
    Ok(Cost {
        bytes: per_connection(bytes as f64, private_bytes(pid) as f64),
        descriptors: per_connection(open as f64, descriptors(pid) as f64),
    })
}
