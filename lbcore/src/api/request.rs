//! Everything that can be asked of lbd over the control socket.

use super::{Prefix, RealRef, ServiceRef};
use crate::config::Admin;
use crate::net::Protocol;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The most flows one listing carries: about 2 MiB of JSON, so that an answer stays bounded
/// however full the table is.
pub const MAX_FLOWS_LISTED: usize = 10_000;

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
    /// Drain, enable, disable a real, or give it another weight.
    SetReal {
        /// Of which service.
        service: ServiceRef,
        /// Which.
        real: RealRef,
        /// What becomes different.
        change: RealChange,
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
            Request::SetReal { .. } | Request::Vip { .. } => true,
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
            | Request::Explain { .. } => false,
        }
    }

    /// A short name for logs: `set web rs1 admin=drain`.
    pub fn verb(&self) -> String {
        match self {
            Request::Status => "status".into(),
            Request::Services => "services".into(),
            Request::Service { service } => format!("service {service}"),
            Request::Reals { service } => format!("reals {service}"),
            Request::Real { service, real } => format!("real {service} {real}"),
            Request::SetReal {
                service,
                real,
                change,
            } => format!("set {service} {real}{change}"),
            Request::Vips => "vips".into(),
            Request::Vip { vip, verb } => format!("vip {verb} {vip}"),
            Request::Flows { .. } => "flows".into(),
            Request::Events { .. } => "events".into(),
            Request::Explain {
                protocol,
                client,
                vip,
            } => {
                format!("explain {protocol} {client} {vip}")
            }
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

/// What becomes different about a real; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealChange {
    /// 0-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// The operator's wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
}

impl fmt::Display for RealChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(admin) = self.admin {
            let word = match admin {
                Admin::Enabled => "enabled",
                Admin::Drain => "drain",
                Admin::Disabled => "disabled",
            };
            write!(f, " admin={word}")?;
        }
        if let Some(weight) = self.weight {
            write!(f, " weight={weight}")?;
        }
        Ok(())
    }
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
    /// At most this many; `None` and anything larger mean [`MAX_FLOWS_LISTED`].
    pub limit: Option<usize>,
}

impl FlowFilter {
    /// How many flows to list at most.
    pub fn bound(&self) -> usize {
        self.limit.unwrap_or(MAX_FLOWS_LISTED).min(MAX_FLOWS_LISTED)
    }
}
