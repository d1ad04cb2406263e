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

/// A real as people name it: its name in the service, its address, or its address with the port its
/// traffic goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealRef(pub String);

impl RealRef {
    /// Whether the real with this name, address and port is meant.
    pub fn matches(&self, name: &str, address: IpAddr, port: u16) -> bool {
        self.0 == name
            || self.0.parse() == Ok(address)
            || self.0.parse() == Ok(SocketAddr::new(address, port))
    }
}

impl RealRef {
    /// The only one of `reals` that is meant, of each its name, address and port. A name says more
    /// than an address.
    ///
    /// # Errors
    /// The positions of all that may be meant: none, or several with one address.
    pub fn find<'a>(
        &self,
        reals: impl Iterator<Item = (&'a str, IpAddr, u16)>,
    ) -> Result<usize, Vec<usize>> {
        let mut meant = Vec::new();
        for (at, (name, address, port)) in reals.enumerate() {
            if self.0 == name {
                return Ok(at);
            }
            if self.matches(name, address, port) {
                meant.push(at);
            }
        }
        match meant.as_slice() {
            [one] => Ok(*one),
            _ => Err(meant),
        }
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
        for (text, meant) in [
            ("rs1", true),
            ("2001:db8:0::21", true),
            ("[2001:db8::21]:8443", true),
            ("[2001:db8::21]:443", false),
            ("2001:db8::22", false),
            ("rs2", false),
        ] {
            let matches = RealRef::from(text).matches("rs1", address, 8443);
            assert_eq!(matches, meant, "{text}");
        }
    }

    #[test]
    fn an_address_of_several_reals_names_none_of_them() {
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let reals = [("a", address, 8443), ("b", address, 9443)];
        let find = |text: &str| RealRef::from(text).find(reals.into_iter());
        assert_eq!(find("b"), Ok(1));
        assert_eq!(find("10.0.0.1:9443"), Ok(1));
        assert_eq!(find("10.0.0.1"), Err(vec![0, 1]));
        assert_eq!(find("10.0.0.2"), Err(vec![]));
        assert_eq!(
            RealRef::from("10.0.0.1")
                .find([("10.0.0.1", address, 1), ("b", address, 2)].into_iter()),
            Ok(0)
        );
    }
}
