//! What should be intercepted.

use super::Stack;
use lbcore::config::{Check, Real, Service, Via};
use lbcore::net::{Addr, Protocol, ServiceKey};
use std::net::SocketAddr;

/// What should reach lbd's transparent sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterceptPlan {
    /// What clients dial.
    pub vips: Vec<ServiceKey>,
    /// Whose answers go to clients' addresses.
    pub reals: Vec<(Protocol, SocketAddr)>,
}

impl InterceptPlan {
    /// Sorted and without doubles, so that equal plans compare equal.
    pub fn new(mut vips: Vec<ServiceKey>, mut reals: Vec<(Protocol, SocketAddr)>) -> Self {
        vips.sort_unstable();
        vips.dedup();
        reals.sort_unstable();
        reals.dedup();
        Self { vips, reals }
    }

    /// What proxied `services` need. `known` gives further places (address and port; port 0: every
    /// port of the service) where a service has reals: removed ones, which have connections still.
    pub fn for_services<'a>(
        services: impl Iterator<Item = &'a Service>,
        known: impl Fn(&Service) -> Vec<SocketAddr>,
    ) -> Self {
        let (mut vips, mut reals) = (Vec::new(), Vec::new());
        for service in services {
            vips.extend(service.keys());
            for place in service.places().chain(known(service)) {
                let own = [place.port()];
                let ports = match place.port() {
                    0 => &service.ports[..],
                    _ => &own,
                };
                let dialled = |&port: &u16| (service.protocol, SocketAddr::new(place.ip(), port));
                reals.extend(ports.iter().map(dialled));
            }
            reals.extend(probed(service));
        }
        Self::new(vips, reals)
    }

    /// Nothing is proxied, so nothing needs to be in the kernel.
    pub fn is_empty(&self) -> bool {
        self.vips.is_empty()
    }

    /// The families it needs, IPv4 first.
    pub fn stacks(&self) -> Vec<Stack> {
        let mut stacks = Vec::new();
        if !self.is_empty() {
            stacks.extend([Stack::V4, Stack::V6]);
            stacks.retain(|&stack| {
                !self.vips_of(stack).is_empty() || !self.reals_of(stack).is_empty()
            });
        }
        stacks
    }

    /// The VIPs of one family, as elements of an nft set.
    pub(super) fn vips_of(&self, stack: Stack) -> Vec<String> {
        let of = |key: &&ServiceKey| key.vip.is_v4() == (stack == Stack::V4);
        self.vips.iter().filter(of).map(element).collect()
    }

    /// The reals of one family, as elements of an nft set.
    pub(super) fn reals_of(&self, stack: Stack) -> Vec<String> {
        let of = |(_, address): &&(Protocol, SocketAddr)| {
            Addr::from(address.ip()).is_v4() == (stack == Stack::V4)
        };
        let key = |&(protocol, address): &(Protocol, SocketAddr)| {
            element(&ServiceKey {
                vip: address.ip().into(),
                port: address.port(),
                protocol,
            })
        };
        self.reals.iter().filter(of).map(key).collect()
    }

    /// Whether datagrams come, which may be in fragments.
    pub(super) fn has_udp(&self) -> bool {
        self.vips.iter().any(|key| key.protocol == Protocol::Udp)
    }
}

/// What is asked from a client's address: a check may have a port and a protocol of its own.
fn probed(service: &Service) -> impl Iterator<Item = (Protocol, SocketAddr)> + '_ {
    let as_client = |check: &&Check| check.via == Via::Client;
    let checks = service.checks.iter().filter(as_client);
    checks.flat_map(move |check| {
        let protocol = check.kind.protocol();
        let asked = move |real: &Real| {
            let usual = real.port.or(service.ports.first().copied());
            let at = SocketAddr::new(real.address, check.port.or(usual)?);
            Some((protocol?, at))
        };
        service.reals.iter().filter_map(asked)
    })
}

fn element(key: &ServiceKey) -> String {
    format!("{} . {} . {}", key.vip, key.protocol, key.port)
}
