//! What one host says about a configuration: VIPs it must not, or had better not, take.

use super::{Config, Service};
use crate::net::Protocol;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One host as the checks see it, gathered by whoever runs on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Interfaces with their addresses.
    pub interfaces: Vec<HostInterface>,
    /// Next hops of its default routes.
    pub default_gateways: Vec<IpAddr>,
    /// Sockets of other programs that wait for clients (lbd's own left out).
    pub listening: Vec<Listener>,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInterface {
    /// Its name.
    pub name: String,
    /// Its addresses, each with its prefix length.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// A socket that waits for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address it is bound to; unspecified: all of them, `::` for both families.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

/// Why this host should not serve a VIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFault {
    /// The service that has the VIP.
    pub service: String,
    /// The VIP.
    pub vip: IpAddr,
    /// What is wrong with it here.
    pub reason: HostReason,
}

/// What is wrong with a VIP on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostReason {
    /// It is the next hop of a default route: taking it cuts the network off.
    DefaultGateway,
    /// It is the broadcast address of a network this interface is on.
    Broadcast(String),
    /// It is the address of a network this interface is on (IPv6: its subnet-router anycast
    /// address, RFC 4291, 2.6.1).
    Network(String),
    /// This host itself listens there.
    Listening(Listener),
    /// This host has no other address: whoever logs in by it would be talking to the reals.
    OnlyAddress,
}

impl HostFault {
    /// Whether `--force` lets it pass.
    pub fn can_be_forced(&self) -> bool {
        matches!(
            self.reason,
            HostReason::Listening(_) | HostReason::OnlyAddress
        )
    }
}

impl fmt::Display for HostFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service {}: the VIP {} ", self.service, self.vip)?;
        match &self.reason {
            HostReason::DefaultGateway => f.write_str("is this host's default gateway"),
            HostReason::Broadcast(name) => {
                write!(f, "is the broadcast address of {name}'s network")
            }
            HostReason::Network(name) => write!(f, "is the network address of {name}'s network"),
            HostReason::Listening(at) => {
                let everywhere = if at.ip.is_unspecified() {
                    " on all its addresses"
                } else {
                    ""
                };
                write!(
                    f,
                    "is one at which this host itself listens: port {}/{}{everywhere}; clients \
                     there would reach the reals instead",
                    at.port, at.protocol
                )
            }
            HostReason::OnlyAddress => f.write_str(
                "is this host's only address; whoever uses it would reach the reals instead",
            ),
        }?;
        if self.can_be_forced() {
            f.write_str(" (--force to do it all the same)")?;
        }
        Ok(())
    }
}

/// What stands against serving these VIPs on this host, in file order. With `force`, only what no
/// force makes right.
pub fn check_host(config: &Config, facts: &HostFacts, force: bool) -> Vec<HostFault> {
    let vips: Vec<IpAddr> = config
        .services
        .iter()
        .flat_map(|s| s.vips.iter().copied())
        .collect();
    let mut faults = Vec::new();
    for service in &config.services {
        for vip in &service.vips {
            let fault = |reason| HostFault {
                service: service.name.clone(),
                vip: *vip,
                reason,
            };
            let reasons = never(*vip, facts)
                .into_iter()
                .chain(listening(service, *vip, facts))
                .chain(only_address(*vip, &vips, facts));
            faults.extend(
                reasons
                    .map(fault)
                    .filter(|fault| !(force && fault.can_be_forced())),
            );
        }
    }
    faults
}

/// What no force makes right.
fn never(vip: IpAddr, facts: &HostFacts) -> Option<HostReason> {
    if facts.default_gateways.contains(&vip) {
        return Some(HostReason::DefaultGateway);
    }
    facts.interfaces.iter().find_map(|interface| {
        interface.addresses.iter().find_map(|(address, prefix)| {
            let (network, broadcast) = edges(*address, *prefix)?;
            if Some(vip) == broadcast {
                Some(HostReason::Broadcast(interface.name.clone()))
            } else {
                (vip == network).then(|| HostReason::Network(interface.name.clone()))
            }
        })
    })
}

/// The first address of a network and, in IPv4, the last; none where every address of a network
/// is a host's: RFC 3021 (/31), RFC 6164 (/127), and single addresses.
fn edges(address: IpAddr, prefix: u8) -> Option<(IpAddr, Option<IpAddr>)> {
    match address {
        IpAddr::V4(v4) if prefix <= 30 => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            let network = u32::from(v4) & mask;
            let broadcast = Ipv4Addr::from(network | !mask);
            Some((Ipv4Addr::from(network).into(), Some(broadcast.into())))
        }
        IpAddr::V6(v6) if prefix <= 126 => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Some((Ipv6Addr::from(u128::from(v6) & mask).into(), None))
        }
        _ => None,
    }
}

/// Sockets of this host that the service would take the traffic from. One on all addresses
/// matters only where the host has the VIP as an address.
fn listening(service: &Service, vip: IpAddr, facts: &HostFacts) -> Vec<HostReason> {
    let owned = addresses(facts).any(|address| address == vip);
    let hears = |ip: IpAddr| match ip {
        IpAddr::V6(v6) if v6.is_unspecified() => owned,
        IpAddr::V4(v4) if v4.is_unspecified() => owned && vip.is_ipv4(),
        _ => ip == vip,
    };
    let mut found: Vec<&Listener> = facts
        .listening
        .iter()
        .filter(|at| {
            at.protocol == service.protocol && service.ports.contains(&at.port) && hears(at.ip)
        })
        .collect();
    // Two sockets of one port, for each family say, are one reason.
    found.sort_by_key(|at| at.port);
    found.dedup_by_key(|at| at.port);
    found
        .into_iter()
        .map(|at| HostReason::Listening(at.clone()))
        .collect()
}

/// Whether taking all the VIPs would leave this host without an address to be reached by.
fn only_address(vip: IpAddr, vips: &[IpAddr], facts: &HostFacts) -> Option<HostReason> {
    let mut reachable = addresses(facts).filter(|address| match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    });
    let owned = addresses(facts).any(|address| address == vip);
    (owned && reachable.all(|address| vips.contains(&address))).then_some(HostReason::OnlyAddress)
}

fn addresses(facts: &HostFacts) -> impl Iterator<Item = IpAddr> {
    facts
        .interfaces
        .iter()
        .flat_map(|interface| &interface.addresses)
        .map(|(address, _)| *address)
}
