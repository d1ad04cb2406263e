//! What people see of proxied connections.

use lbcore::id::{RealId, ServiceId};
use lbcore::net::{Prefix, Protocol, ServiceKey};
use std::net::SocketAddr;
use std::time::Duration;

/// Which connections somebody wants to see.
#[derive(Clone, Debug)]
pub struct ListAsk {
    /// Of one service.
    pub service: Option<ServiceId>,
    /// Of one real.
    pub real: Option<RealId>,
    /// Of these clients.
    pub client: Option<Prefix>,
    /// Of this transport.
    pub protocol: Option<Protocol>,
    /// In this state.
    pub state: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// Whether what matches is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clearing {
    /// It is.
    End,
    /// It is only counted.
    Count,
}

/// What was ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Connections, which were reset.
    pub connections: u64,
    /// Udp sessions.
    pub sessions: u64,
}

/// One proxied connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRow {
    /// Its service.
    pub service: ServiceId,
    /// The real it is dialled to, once one was picked.
    pub real: Option<RealId>,
    /// The client, as it is or as a trusted PROXY header told.
    pub client: SocketAddr,
    /// What it dialled.
    pub vip: ServiceKey,
    /// Where the real was dialled.
    pub server: Option<SocketAddr>,
    /// Bytes delivered to the real.
    pub bytes_in: u64,
    /// Bytes delivered to the client.
    pub bytes_out: u64,
    /// Since it was accepted.
    pub age: Duration,
    /// Since bytes last moved, to the second.
    pub idle: Duration,
    /// `proxy_header`, `waiting`, `connecting`, `established` or `closing`.
    pub state: &'static str,
}

impl ListAsk {
    /// Whether a connection is among them.
    pub fn wants(&self, row: &ConnectionRow) -> bool {
        self.service.is_none_or(|service| service == row.service)
            && self.real.is_none_or(|real| Some(real) == row.real)
            && self.client.is_none_or(|c| c.contains(row.client.ip()))
            && self.protocol.is_none_or(|p| p == row.vip.protocol)
            && self.state.as_ref().is_none_or(|s| s == row.state)
    }
}
