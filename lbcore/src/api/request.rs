//! Everything that can be asked of lbd over the control socket.

use super::Prefix;
use crate::config::Admin;
use crate::net::{Addr, Protocol, ServiceKey};
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
    /// Read the configuration file again.
    Reload {
        /// Also if it removes more than half of everything.
        force: bool,
        /// Say what would change, and change nothing.
        dry_run: bool,
    },
}

impl Request {
    /// Whether this changes anything: then the peer needs to be an administrator.
    pub fn changes(&self) -> bool {
        match self {
            Request::SetReal { .. } | Request::Vip { .. } => true,
            Request::Reload { dry_run, .. } => !dry_run,
            Request::Status
            | Request::Services
            | Request::Service { .. }
            | Request::Reals { .. }
            | Request::Real { .. }
            | Request::Vips
            | Request::Flows { .. }
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
            Request::Explain {
                protocol,
                client,
                vip,
            } => {
                format!("explain {protocol} {client} {vip}")
            }
            Request::Reload { force, dry_run } => {
                let force = if *force { " force" } else { "" };
                let dry_run = if *dry_run { " dry-run" } else { "" };
                format!("reload{force}{dry_run}")
            }
        }
    }
}

/// A service as people name it: its name, or `VIP:PORT/PROTO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceRef {
    /// Its unique name.
    Name(String),
    /// One of its endpoints.
    Endpoint(ServiceKey),
}

impl ServiceRef {
    /// Whether the service with this name, these VIPs and ports, and this protocol is meant.
    pub fn matches(&self, name: &str, vips: &[IpAddr], ports: &[u16], protocol: Protocol) -> bool {
        match self {
            ServiceRef::Name(wanted) => wanted == name,
            ServiceRef::Endpoint(key) => {
                key.protocol == protocol
                    && ports.contains(&key.port)
                    && vips.contains(&key.vip.ip())
            }
        }
    }
}

impl From<&str> for ServiceRef {
    /// Never fails: whatever is no endpoint is a name.
    fn from(text: &str) -> Self {
        let endpoint = || {
            let (address, protocol) = text.rsplit_once('/')?;
            let address: SocketAddr = address.parse().ok()?;
            let protocol = match protocol {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                _ => return None,
            };
            Some(ServiceKey {
                vip: Addr::from(address.ip()),
                port: address.port(),
                protocol,
            })
        };
        endpoint().map_or_else(|| ServiceRef::Name(text.into()), ServiceRef::Endpoint)
    }
}

impl fmt::Display for ServiceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceRef::Name(name) => f.write_str(name),
            ServiceRef::Endpoint(key) => key.fmt(f),
        }
    }
}

/// A real as people name it: its name in the service, or its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealRef(pub String);

impl RealRef {
    /// Whether the real with this name and address is meant.
    pub fn matches(&self, name: &str, address: IpAddr) -> bool {
        self.0 == name || self.0.parse() == Ok(address)
    }
}

impl From<&str> for RealRef {
    fn from(text: &str) -> Self {
        RealRef(text.into())
    }
}

impl fmt::Display for RealRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_or_dialled() {
        let vips: Vec<IpAddr> = ["192.0.2.10", "2001:db8::10"]
            .iter()
            .map(|a| a.parse().unwrap())
            .collect();
        for (text, meant) in [
            ("web", true),
            ("web2", false),
            ("192.0.2.10:443/tcp", true),
            ("[2001:db8::10]:80/tcp", true),
            ("192.0.2.10:443/udp", false),
            ("192.0.2.10:22/tcp", false),
            ("192.0.2.11:443/tcp", false),
            ("192.0.2.10:443", false),
        ] {
            let matches = ServiceRef::from(text).matches("web", &vips, &[443, 80], Protocol::Tcp);
            assert_eq!(matches, meant, "{text}");
        }
    }

    #[test]
    fn a_real_is_named_or_addressed() {
        let address: IpAddr = "2001:db8::21".parse().unwrap();
        assert!(RealRef::from("rs1").matches("rs1", address));
        assert!(RealRef::from("2001:db8:0::21").matches("rs1", address));
        assert!(!RealRef::from("2001:db8::22").matches("rs1", address));
    }
}
