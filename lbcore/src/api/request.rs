//! Everything that can be asked of lbd over the control socket.

use super::{PacketKind, Prefix, RealRef, ServiceRef, TraceAsk};
use crate::config::Keys;
use crate::net::Protocol;
use serde_json::Value;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The most flows one listing carries: about 2 MiB of JSON, so that an answer stays bounded
/// however full the table is.
pub const MAX_FLOWS_LISTED: usize = 10_000;

/// Every word for the state of a flow: those of the flow table, and those of proxied connections.
pub const FLOW_STATES: [&str; 14] = [
    "syn_recv",
    "syn_reset",
    "established",
    "fin_wait",
    "time_wait",
    "close",
    "adopted",
    "udp_new",
    "udp",
    "proxy_header",
    "waiting",
    "connecting",
    "closing",
    "new",
];

/// One question or wish.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The whole picture.
    Status,
    /// All services with their reals.
    Services,
    /// One service with its reals.
    Service {
        /// Which.
        service: ServiceRef,
    },
    /// The reals of one service.
    Reals {
        /// Of which service.
        service: ServiceRef,
    },
    /// One real.
    Real {
        /// Of which service.
        service: ServiceRef,
        /// Which.
        real: RealRef,
    },
    /// A new service.
    AddService {
        /// All of it, its `name` and its reals included.
        keys: Keys,
        /// How it is done.
        how: How,
    },
    /// Give a service other values.
    SetService {
        /// Which.
        service: ServiceRef,
        /// What becomes different.
        keys: Keys,
        /// How it is done.
        how: How,
    },
    /// Take a service away.
    RemoveService {
        /// Which.
        service: ServiceRef,
        /// How it is done.
        how: How,
    },
    /// A new real of a service.
    AddReal {
        /// Of which service.
        service: ServiceRef,
        /// All of it.
        keys: Keys,
        /// How it is done.
        how: How,
    },
    /// Give a real other values: drain, enable, disable it, another weight.
    SetReal {
        /// Of which service.
        service: ServiceRef,
        /// Which.
        real: RealRef,
        /// What becomes different.
        keys: Keys,
        /// How it is done.
        how: How,
    },
    /// Take a real away.
    RemoveReal {
        /// Of which service.
        service: ServiceRef,
        /// Which.
        real: RealRef,
        /// How it is done.
        how: How,
    },
    /// Give one machine other values in every service it is a real of.
    SetNode {
        /// Its address.
        address: IpAddr,
        /// What becomes different.
        keys: Keys,
        /// How it is done.
        how: How,
    },
    /// Who answers for the VIPs.
    Vips,
    /// Answer for a VIP, or stop.
    Vip {
        /// Which.
        vip: IpAddr,
        /// Take or release.
        verb: VipVerb,
    },
    /// The flows that are remembered now.
    Flows {
        /// Which of them.
        filter: FlowFilter,
    },
    /// What the director would do with a packet; changes nothing.
    Explain {
        /// Its protocol.
        protocol: Protocol,
        /// Where it comes from.
        client: SocketAddr,
        /// What it is addressed to.
        vip: SocketAddr,
        /// Which; `None`: the next of a known flow, else the first of a new one.
        packet: Option<PacketKind>,
    },
    /// Live packets and connections, a line each.
    Trace {
        /// Which, and how many.
        ask: TraceAsk,
    },
    /// What happened lately.
    Events {
        /// And what happens from now on, without end.
        follow: bool,
    },
    /// Look for what is wrong with this host, the network and the reals.
    Doctor {
        /// Dial reals as if from this client; `None`: from the one seen last.
        client: Option<IpAddr>,
    },
    /// Read the configuration file again.
    Reload {
        /// Also if it removes more than half of everything.
        force: bool,
        /// Say what would change, and change nothing.
        dry_run: bool,
    },
}

impl Request {
    /// Whether this changes anything, or sends packets in the name of whomever the peer likes: then
    /// it needs to be an administrator.
    pub fn changes(&self) -> bool {
        match self {
            Request::AddService { how, .. }
            | Request::SetService { how, .. }
            | Request::RemoveService { how, .. }
            | Request::AddReal { how, .. }
            | Request::SetReal { how, .. }
            | Request::RemoveReal { how, .. }
            | Request::SetNode { how, .. } => !how.dry_run,
            Request::Vip { .. } => true,
            Request::Doctor { client } => client.is_some(),
            Request::Reload { dry_run, .. } => !dry_run,
            Request::Status
            | Request::Services
            | Request::Service { .. }
            | Request::Reals { .. }
            | Request::Real { .. }
            | Request::Vips
            | Request::Flows { .. }
            | Request::Events { .. }
            | Request::Explain { .. }
            | Request::Trace { .. } => false,
        }
    }

    /// A short name for logs: `real set web rs1 admin=drain`.
    pub fn verb(&self) -> String {
        match self {
            Request::Status => "status".into(),
            Request::Services => "services".into(),
            Request::Service { service } => format!("service {service}"),
            Request::Reals { service } => format!("reals {service}"),
            Request::Real { service, real } => format!("real {service} {real}"),
            Request::AddService { keys, how } => {
                format!("service add{}{how}", in_short(keys))
            }
            Request::SetService { service, keys, how } => {
                format!("service set {service}{}{how}", in_short(keys))
            }
            Request::RemoveService { service, how } => format!("service remove {service}{how}"),
            Request::AddReal { service, keys, how } => {
                format!("real add {service}{}{how}", in_short(keys))
            }
            Request::SetReal {
                service,
                real,
                keys,
                how,
            } => format!("real set {service} {real}{}{how}", in_short(keys)),
            Request::RemoveReal { service, real, how } => {
                format!("real remove {service} {real}{how}")
            }
            Request::SetNode { address, keys, how } => {
                format!("node set {address}{}{how}", in_short(keys))
            }
            Request::Vips => "vips".into(),
            Request::Vip { vip, verb } => format!("vip {verb} {vip}"),
            Request::Flows { .. } => "flows".into(),
            Request::Events { .. } => "events".into(),
            Request::Explain {
                protocol,
                client,
                vip,
                ..
            } => {
                format!("explain {protocol} {client} {vip}")
            }
            Request::Trace { .. } => "trace".into(),
            Request::Doctor { client: None } => "doctor".into(),
            Request::Doctor {
                client: Some(client),
            } => format!("doctor as {client}"),
            Request::Reload { force, dry_run } => {
                let force = if *force { " force" } else { "" };
                let dry_run = if *dry_run { " dry-run" } else { "" };
                format!("reload{force}{dry_run}")
            }
        }
    }
}

/// How a change is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Only what runs changes; the file stays as it is.
    pub runtime: bool,
    /// Flows of what is taken away do not linger: they are treated at once as after its death.
    pub now: bool,
    /// Also if this host listens on a VIP:port of it, or has no address but VIPs.
    pub force: bool,
    /// Say what would change, and change nothing.
    pub dry_run: bool,
}

impl How {
    /// Each with its word, as it stands in a query.
    pub(super) fn words(self) -> [(&'static str, bool); 4] {
        let How {
            runtime,
            now,
            force,
            dry_run,
        } = self;
        [
            ("runtime", runtime),
            ("now", now),
            ("force", force),
            ("dry_run", dry_run),
        ]
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.words();
        let mut on = words.iter().filter(|(_, on)| *on);
        on.try_for_each(|(word, _)| write!(f, " {word}"))
    }
}

/// Keys for a log line: ` admin="drain" weight=null`. Of tables and lists only that they are
/// there: a header of a check may be a secret.
fn in_short(keys: &Keys) -> String {
    /// A value is a word or an address; more of it would only make the line unreadable.
    const MAX_VALUE: usize = 80;
    let mut text = String::new();
    for (key, value) in keys {
        let value = match value {
            Value::Object(_) => "{..}".to_owned(),
            Value::Array(items) if items.iter().any(Value::is_object) => "[..]".to_owned(),
            value => value.to_string(),
        };
        let short = &value[..value.floor_char_boundary(MAX_VALUE)];
        let more = if short.len() < value.len() { ".." } else { "" };
        text.push_str(&format!(" {key}={short}{more}"));
    }
    text
}

/// What to do about a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VipVerb {
    /// Answer for it and announce it.
    Take,
    /// Stop answering for it.
    Release,
}

impl fmt::Display for VipVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VipVerb::Take => "take",
            VipVerb::Release => "release",
        })
    }
}

impl FromStr for VipVerb {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "take" => Ok(VipVerb::Take),
            "release" => Ok(VipVerb::Release),
            _ => Err(()),
        }
    }
}

/// Which flows a listing shows; what is `None` matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowFilter {
    /// Of this service.
    pub service: Option<ServiceRef>,
    /// Of this real.
    pub real: Option<RealRef>,
    /// From these clients.
    pub client: Option<Prefix>,
    /// Of this transport.
    pub protocol: Option<Protocol>,
    /// In this state, by its word.
    pub state: Option<String>,
    /// At most this many; `None` and anything larger mean [`MAX_FLOWS_LISTED`].
    pub limit: Option<usize>,
}

impl FlowFilter {
    /// How many flows to list at most.
    pub fn bound(&self) -> usize {
        self.limit.unwrap_or(MAX_FLOWS_LISTED).min(MAX_FLOWS_LISTED)
    }
}
