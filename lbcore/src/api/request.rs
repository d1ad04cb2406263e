//! Everything that can be asked of lbd over the control socket.

use super::{ConfigRequest, PacketKind, Prefix, RealRef, ServiceRef, TraceAsk};
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
        /// Which; `None`: all.
        vip: Option<IpAddr>,
        /// Take, release, or follow `announce` again.
        verb: VipVerb,
        /// Say what would change, and change nothing.
        dry_run: bool,
    },
    /// The flows that are remembered now.
    Flows {
        /// Which of them.
        filter: FlowFilter,
    },
    /// Forget flows of mode dr, end proxied connections and sessions.
    ClearFlows {
        /// Which of them.
        filter: FlowFilter,
        /// All of them: said on purpose, where the filter names none.
        all: bool,
        /// Say how many, and leave them.
        dry_run: bool,
    },
    /// Every machine that is a real, by its address.
    Nodes,
    /// One machine in all services.
    Node {
        /// Its address.
        address: IpAddr,
    },
    /// Run the checks of reals now, without waiting for their time. The answer is a stream of
    /// [`super::CheckNowView`].
    CheckNow {
        /// Of which service.
        service: ServiceRef,
        /// Of which real; `None`: of all.
        real: Option<RealRef>,
        /// Say which there are, and ask nobody.
        dry_run: bool,
    },
    /// Whether this lbd is in maintenance.
    Maintenance,
    /// Begin or end maintenance.
    SetMaintenance {
        /// Begin.
        on: bool,
        /// Say what would change, and change nothing.
        dry_run: bool,
    },
    /// The filter of the log.
    Log,
    /// Another filter for the log, until this lbd ends.
    SetLog {
        /// Directives as in `log` of the configuration; `None`: those of the configuration.
        filter: Option<String>,
        /// For so many milliseconds; `None`: until it is set back.
        for_ms: Option<u64>,
        /// Say what would change, and change nothing.
        dry_run: bool,
    },
    /// The fingerprint of the hash key.
    Key,
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
    /// About whole configurations.
    Config(ConfigRequest),
    /// Read the configuration file again.
    Reload {
        /// Also if it removes more than half of everything.
        force: bool,
        /// Say what would change, and change nothing.
        dry_run: bool,
    },
}

impl Request {
    /// Whether this changes anything, sends packets in the name of whomever the peer likes, or tells
    /// secrets: then it needs to be an administrator.
    pub fn changes(&self) -> bool {
        match self {
            // A trial, too, since it shows lines of the file.
            Request::AddService { .. }
            | Request::SetService { .. }
            | Request::RemoveService { .. }
            | Request::AddReal { .. }
            | Request::SetReal { .. }
            | Request::RemoveReal { .. }
            | Request::SetNode { .. }
            | Request::Reload { .. }
            | Request::Config(_) => true,
            Request::Vip { dry_run, .. }
            | Request::ClearFlows { dry_run, .. }
            | Request::CheckNow { dry_run, .. }
            | Request::SetMaintenance { dry_run, .. }
            | Request::SetLog { dry_run, .. } => !dry_run,
            Request::Doctor { client } => client.is_some(),
            Request::Status
            | Request::Services
            | Request::Service { .. }
            | Request::Reals { .. }
            | Request::Real { .. }
            | Request::Vips
            | Request::Nodes
            | Request::Node { .. }
            | Request::Maintenance
            | Request::Log
            | Request::Key
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
            Request::Vip {
                vip: Some(vip),
                verb,
                ..
            } => format!("vip {verb} {vip}"),
            Request::Vip {
                vip: None, verb, ..
            } => format!("vip {verb} all"),
            Request::Flows { .. } => "flows".into(),
            Request::ClearFlows { filter, .. } => format!("flows clear {filter}"),
            Request::Nodes => "nodes".into(),
            Request::Node { address } => format!("node {address}"),
            Request::CheckNow {
                service,
                real: None,
                ..
            } => format!("check now {service}"),
            Request::CheckNow {
                service,
                real: Some(real),
                ..
            } => format!("check now {service} {real}"),
            Request::Maintenance => "maintenance".into(),
            Request::SetMaintenance { on: true, .. } => "maintenance on".into(),
            Request::SetMaintenance { on: false, .. } => "maintenance off".into(),
            Request::Log => "log".into(),
            Request::SetLog { filter, for_ms, .. } => {
                let filter = filter.as_deref().unwrap_or("as configured");
                let how_long = for_ms.map_or(String::new(), |ms| format!(" for {ms} ms"));
                format!("log {filter}{how_long}")
            }
            Request::Key => "key".into(),
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
            Request::Config(request) => request.to_string(),
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
    /// Do again what `announce` of its services says.
    Auto,
}

impl fmt::Display for VipVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VipVerb::Take => "take",
            VipVerb::Release => "release",
            VipVerb::Auto => "auto",
        })
    }
}

impl FromStr for VipVerb {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "take" => Ok(VipVerb::Take),
            "release" => Ok(VipVerb::Release),
            "auto" => Ok(VipVerb::Auto),
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
    /// Whether it matches every flow there is.
    pub fn is_everything(&self) -> bool {
        let FlowFilter {
            service,
            real,
            client,
            protocol,
            state,
            limit: _,
        } = self;
        service.is_none()
            && real.is_none()
            && client.is_none()
            && protocol.is_none()
            && state.is_none()
    }

    /// How many flows to list at most.
    pub fn bound(&self) -> usize {
        self.limit.unwrap_or(MAX_FLOWS_LISTED).min(MAX_FLOWS_LISTED)
    }
}

impl fmt::Display for FlowFilter {
    /// `service=web client=198.51.100.0/24`, or `all`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_everything() {
            return f.write_str("all");
        }
        let words: Vec<String> = [
            self.service.as_ref().map(|s| format!("service={s}")),
            self.real.as_ref().map(|r| format!("real={r}")),
            self.client.as_ref().map(|c| format!("client={c}")),
            self.protocol.as_ref().map(|p| format!("protocol={p}")),
            self.state.as_ref().map(|s| format!("state={s}")),
        ]
        .into_iter()
        .flatten()
        .collect();
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t60a_who_only_looks_changes_nothing_and_a_dry_run_is_a_look() {
        let vip = Some(IpAddr::from([192, 0, 2, 10]));
        let verbs = |dry_run| {
            [
                Request::Vip {
                    vip,
                    verb: VipVerb::Auto,
                    dry_run,
                },
                Request::ClearFlows {
                    filter: FlowFilter::default(),
                    all: true,
                    dry_run,
                },
                Request::CheckNow {
                    service: "web".into(),
                    real: None,
                    dry_run,
                },
                Request::SetMaintenance { on: true, dry_run },
                Request::SetLog {
                    filter: None,
                    for_ms: None,
                    dry_run,
                },
            ]
        };
        assert!(verbs(false).iter().all(Request::changes));
        assert!(!verbs(true).iter().any(Request::changes));
        for look in [
            Request::Maintenance,
            Request::Log,
            Request::Key,
            Request::Nodes,
        ] {
            assert!(!look.changes(), "{}", look.verb());
        }
    }

    #[test]
    fn the_audit_names_what_was_wanted() {
        let filter = FlowFilter {
            service: Some("web".into()),
            client: "198.51.100.0/24".parse().ok(),
            ..FlowFilter::default()
        };
        let clear = |filter, all| Request::ClearFlows {
            filter,
            all,
            dry_run: false,
        };
        for (request, verb) in [
            (
                clear(filter, false),
                "flows clear service=web client=198.51.100.0/24",
            ),
            (clear(FlowFilter::default(), true), "flows clear all"),
            (
                Request::SetLog {
                    filter: Some("debug".into()),
                    for_ms: Some(60_000),
                    dry_run: false,
                },
                "log debug for 60000 ms",
            ),
        ] {
            assert_eq!(request.verb(), verb);
        }
    }
}
