//! What looks at flows, events and single packets.

use super::value::{protocol, real, service};
use clap::Args;
use lbcore::api::{Prefix, RealRef, ServiceRef};
use lbcore::net::Protocol;
use std::net::SocketAddr;

#[derive(Debug, Args)]
pub struct FlowsArgs {
    /// Only of this service (name, or VIP:PORT/PROTO)
    #[arg(long, value_parser = service)]
    pub service: Option<ServiceRef>,
    /// Only of this real (name, address, or ADDRESS:PORT)
    #[arg(long, value_parser = real)]
    pub real: Option<RealRef>,
    /// Only from this client, or from this network
    #[arg(long, value_name = "IP[/N]")]
    pub client: Option<Prefix>,
    /// At most this many; lbd itself stops at 10000
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub limit: usize,
}

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Go on with what happens from now on, until interrupted (so does -w)
    #[arg(short, long)]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// tcp or udp
    #[arg(value_parser = protocol)]
    pub protocol: Protocol,
    /// Where the packet comes from: IP:PORT or [IPv6]:PORT
    #[arg(value_name = "CLIENT:PORT")]
    pub client: SocketAddr,
    /// What it is addressed to: IP:PORT or [IPv6]:PORT
    #[arg(value_name = "VIP:PORT")]
    pub vip: SocketAddr,
}
