//! What looks at flows, events and single packets.

use super::ChangeArgs;
use super::value::{protocol, real, service};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use lbcore::api::{EVENT_KINDS, FLOW_STATES, Prefix, RealRef, ServiceRef};
use lbcore::net::Protocol;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct FlowsArgs {
    #[command(subcommand)]
    pub command: Option<FlowsCommand>,
    #[command(flatten)]
    pub which: WhichFlows,
    /// At most this many; lbd itself stops at 10000
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub limit: usize,
}

#[derive(Debug, Args)]
pub struct WhichFlows {
    /// Only of this service (name, or VIP:PORT/PROTO)
    #[arg(long, value_parser = service)]
    pub service: Option<ServiceRef>,
    /// Only of this real (name, address, or ADDRESS:PORT)
    #[arg(long, value_parser = real)]
    pub real: Option<RealRef>,
    /// Only from this client, or from this network
    #[arg(long, value_name = "IP[/N]")]
    pub client: Option<Prefix>,
    /// Only tcp, or only udp
    #[arg(long, value_parser = protocol)]
    pub protocol: Option<Protocol>,
    /// Only in this state
    #[arg(long, value_parser = PossibleValuesParser::new(FLOW_STATES), hide_possible_values = true)]
    pub state: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum FlowsCommand {
    /// Forget flows, reset proxied connections, end proxied sessions
    ///
    /// A forgotten flow's next packet is decided anew: a SYN or a datagram by the scheduler, any
    /// other packet by the ring, which may send it to another real, and that one resets it.
    Clear {
        #[command(flatten)]
        which: WhichFlows,
        /// All flows of all services
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Go on with what happens from now on, until interrupted (so does -w)
    #[arg(short, long)]
    pub follow: bool,
    /// Only of this service (name, or VIP:PORT/PROTO)
    #[arg(long, value_parser = service)]
    pub service: Option<ServiceRef>,
    /// Only of this real, by its name
    #[arg(long, value_name = "NAME")]
    pub real: Option<String>,
    /// Only of this kind; may be given again
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(EVENT_KINDS))]
    pub kind: Vec<String>,
}

#[derive(Debug, Args)]
pub struct BundleArgs {
    /// Write it here; a file that is there already is never overwritten
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The configuration, where lbd does not answer and cannot say which it is
    #[arg(long, value_name = "FILE", default_value = "/etc/lbd/lbd.toml")]
    pub config: PathBuf,
    /// Leave the addresses of clients in
    #[arg(long)]
    pub with_clients: bool,
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
    /// The packet opens a connection
    #[arg(long, conflicts_with = "ack")]
    pub syn: bool,
    /// The packet is in the middle of one (without either: the next one of a known flow, else the
    /// first of a new one)
    #[arg(long)]
    pub ack: bool,
}
