//! What shows packets: `lbctl trace`, `lbctl replay`

use super::value::{
    drop_reason_or_result, duration, mac, protocol, real, sample, service, verdict,
};
use clap::Args;
use lbcore::api::{Prefix, RealRef, ServiceRef, TraceFilter, Verdict};
use lbcore::net::{MacAddr, Protocol};
use std::path::PathBuf;
use std::time::Duration;

/// Which packets.
#[derive(Debug, Args)]
pub struct PacketArgs {
    /// Only of this service (name, or VIP:PORT/PROTO)
    #[arg(long, value_parser = service)]
    pub service: Option<ServiceRef>,
    /// Only to this real (name, address, or ADDRESS:PORT)
    #[arg(long, value_parser = real)]
    pub real: Option<RealRef>,
    /// Only from this client, or from this network
    #[arg(long, value_name = "IP[/N]")]
    pub client: Option<Prefix>,
    /// Only tcp, or only udp
    #[arg(long, value_parser = protocol)]
    pub protocol: Option<Protocol>,
    /// Only what ends so: forward, drop, pass; proxied connections: proxy, refuse
    #[arg(long, value_parser = verdict)]
    pub verdict: Option<Verdict>,
    /// Only with this drop reason (no_real), or result of a proxied connection (connect_failed)
    #[arg(long, value_parser = drop_reason_or_result)]
    pub reason: Option<String>,
    /// Also frames that are not lbd's but this host's own
    #[arg(long)]
    pub passed: bool,
}

impl PacketArgs {
    /// As lbd is asked.
    pub fn filter(self) -> TraceFilter {
        TraceFilter {
            protocol: self.protocol,
            client: self.client,
            service: self.service,
            real: self.real,
            verdict: self.verdict,
            reason: self.reason,
            passed: self.passed,
        }
    }
}

#[derive(Debug, Args)]
pub struct TraceArgs {
    #[command(flatten)]
    pub packets: PacketArgs,
    /// End after N lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub count: u64,
    /// End after this time, at most 1h
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub time: Duration,
    /// Of N packets that fit, show one
    #[arg(long, value_name = "1/N", default_value = "1/1", value_parser = sample)]
    pub sample: u32,
    /// Show at most N in a second, at most 10000; the others are counted
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub rate: u32,
}

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// A pcap or pcapng file of Ethernet or Linux cooked frames; - is stdin
    pub capture: PathBuf,
    /// The configuration to decide by
    #[arg(long, value_name = "FILE", default_value = "/etc/lbd/lbd.toml")]
    pub config: PathBuf,
    /// Hash with this key (hash.key of a running lbd's state_dir), so that flows go where its go;
    /// without it a fixed key is used
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Take this real as down (REAL or SERVICE/REAL; may be given again); all others are up
    #[arg(long, value_name = "REAL")]
    pub down: Vec<String>,
    /// The MAC of lbd's interface; without it, that of the first frame to a service
    #[arg(long, value_parser = mac)]
    pub mac: Option<MacAddr>,
    #[command(flatten)]
    pub packets: PacketArgs,
    /// End after N lines
    #[arg(short = 'n', long, value_name = "N")]
    pub count: Option<u64>,
    /// Only the counts, no line a packet
    #[arg(long, conflicts_with = "count")]
    pub summary: bool,
}
