//! What each room is to watch or hold, from what the reconciler knows.

use super::world::World;
use crate::guard::GuardPlan;
use crate::intercept::InterceptPlan;
use crate::neigh::{self, NeighborPlan};
use crate::probe::{Hops, Port, Target};
use crate::proxy::ProxyPlan;
use crate::vip::{self, VipPlan};
use lbcore::config::{self, Admin, Announce, Mode};
use lbcore::net::{MacAddr, Protocol};
use lbcore::service::{ServiceTable, Way};
use lbcore::vip::Hold;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Who is to be checked: every configured real of a service with checks.
pub fn targets(world: &World) -> Vec<Target> {
    let mut targets = Vec::new();
    for service in &world.config.services {
        let Some(default_port) = service.ports.first() else {
            continue;
        };
        for real in &service.reals {
            let id = world.registry.known_real(&service.name, real.place());
            let Some((id, facts)) = id.and_then(|id| Some((id, world.reals.get(&id)?))) else {
                continue;
            };
            if service.checks.is_empty() || real.admin == Admin::Disabled {
                continue;
            }
            targets.push(Target {
                real: id,
                epoch: facts.epoch,
                service: service.name.clone(),
                name: real.name.clone(),
                address: real.address,
                checks: service.checks.clone(),
                vips: service.vips.clone(),
                default_port: real.port.unwrap_or(*default_port),
                initial: facts.initial,
            });
        }
    }
    targets
}

/// The path of direct routing as probes need it. A real that is silent now is asked where it last
/// was.
pub fn hops(world: &World) -> Hops {
    let mut hops = Hops::default();
    for real in in_mode(world, Mode::Dr).flat_map(|service| &service.reals) {
        let place = match world.ways.get(&real.address) {
            Some(Way::Known { ifindex, mac }) => Some((*ifindex, *mac)),
            Some(Way::Silent { last, .. }) => *last,
            _ => None,
        };
        hops.reals.extend(place.map(|place| (real.address, place)));
    }
    hops.ports.extend(world.links.iter().map(|link| {
        let port = Port {
            name: link.name.clone(),
            mac: link.mac,
            mtu: link.mtu,
            addresses: link.addresses.clone(),
        };
        (link.ifindex, port)
    }));
    let vips = world.services().flat_map(|service| &service.vips);
    hops.vips.extend(vips.copied());
    hops
}

/// Whose MAC is to be known: every real, sorry server and lingering real of services in mode dr,
/// once each.
pub fn neighbors(world: &World) -> NeighborPlan {
    let mut wanted: BTreeMap<IpAddr, neigh::Wanted> = BTreeMap::new();
    let plain = |address| neigh::Wanted {
        address,
        interface: None,
        mac: None,
    };
    for service in in_mode(world, Mode::Dr) {
        for real in &service.reals {
            let entry = wanted
                .entry(real.address)
                .or_insert_with(|| plain(real.address));
            entry.interface = entry.interface.take().or_else(|| real.interface.clone());
            entry.mac = entry.mac.or(real.mac);
        }
        if let Some(address) = service.sorry {
            wanted.entry(address).or_insert_with(|| plain(address));
        }
    }
    let dialled: BTreeSet<&str> = in_mode(world, Mode::Tproxy)
        .map(|s| s.name.as_str())
        .collect();
    for (service, at, id, _) in world.registry.reals() {
        if !dialled.contains(service) {
            // One that was removed is reached as it was while its flows last.
            let pins = || world.reals.get(&id).and_then(|facts| facts.pins.clone());
            let entry = wanted.entry(at.ip());
            entry.or_insert_with(|| pins().unwrap_or_else(|| plain(at.ip())));
        }
    }
    NeighborPlan {
        wanted: wanted.into_values().collect(),
        interfaces: world.config.network.interfaces.clone(),
    }
}

/// Which VIPs are to be answered for, and where.
pub fn vips(world: &World, table: &ServiceTable) -> VipPlan {
    let mut by_vip: BTreeMap<IpAddr, (Announce, bool)> = BTreeMap::new();
    for service in world.services() {
        let compiled = table.services.iter().find(|s| *s.name == *service.name);
        let healthy = compiled.is_some_and(|s| s.ring.is_some());
        for vip in &service.vips {
            let entry = by_vip.entry(*vip).or_insert((service.announce, false));
            entry.0 = most_willing(entry.0, service.announce);
            entry.1 |= healthy;
        }
    }
    let configured = &world.config.network.interfaces;
    let mut wanted = Vec::new();
    for (vip, (announce, healthy)) in by_vip {
        for interface in vip::interfaces_for(vip, &world.links, configured) {
            let held = match world.maintenance {
                Some(_) => Hold::Release,
                None => world.overrides.vips.get(&vip).copied().unwrap_or_default(),
            };
            wanted.push(vip::Wanted {
                vip,
                interface,
                announce,
                healthy,
                held,
            });
        }
    }
    VipPlan {
        vips: wanted,
        reals: Arc::new(real_macs(world)),
    }
}

/// Of what two services say of announcing the VIP they share.
pub fn most_willing(a: Announce, b: Announce) -> Announce {
    match (a, b) {
        (Announce::Always, _) | (_, Announce::Always) => Announce::Always,
        (Announce::WhenOwned, _) | (_, Announce::WhenOwned) => Announce::WhenOwned,
        (Announce::Never, Announce::Never) => Announce::Never,
    }
}

fn real_macs(world: &World) -> BTreeMap<MacAddr, String> {
    let reals = world.services().flat_map(|s| &s.reals);
    let known = |real: &lbcore::config::Real| match world.ways.get(&real.address) {
        Some(Way::Known { mac, .. }) => Some((*mac, real.name.clone())),
        Some(Way::Silent {
            last: Some((_, mac)),
            ..
        }) => Some((*mac, real.name.clone())),
        _ => None,
    };
    reals.filter_map(known).collect()
}

/// What this host's own stack is to be silent about.
pub fn guard(world: &World) -> GuardPlan {
    let endpoints = in_mode(world, Mode::Dr).flat_map(|s| s.keys()).collect();
    GuardPlan::new(world.config.network.interfaces.clone(), endpoints)
}

/// What the kernel is to hand to proxied sockets: clients' packets for VIPs, and answers of every
/// real that is dialled or has connections still.
pub fn intercept(world: &World) -> InterceptPlan {
    InterceptPlan::for_services(in_mode(world, Mode::Tproxy), |service| {
        let known = world.registry.reals_of(&service.name);
        known.map(|(at, _)| at).collect()
    })
}

/// Where the proxy is to listen. A service that is gone has no listener, only connections; nor has
/// one for TCP in maintenance: the interception drops what nobody listens for, and the client's SYN
/// comes again, to another lbd. Datagrams of known sessions come by the same sockets as others.
pub fn proxy(world: &World) -> ProxyPlan {
    let proxied = world
        .config
        .services
        .iter()
        .filter(|s| s.mode == Mode::Tproxy)
        .filter(|s| s.protocol == Protocol::Udp || world.maintenance.is_none());
    let mut endpoints: Vec<_> = proxied.flat_map(|s| s.keys()).collect();
    endpoints.sort_unstable();
    ProxyPlan { endpoints }
}

/// What receive filters are to let through.
pub fn filter(world: &World) -> Vec<IpAddr> {
    let vips: BTreeSet<IpAddr> = in_mode(world, Mode::Dr)
        .flat_map(|s| s.vips.iter().copied())
        .collect();
    vips.into_iter().collect()
}

fn in_mode(world: &World, mode: Mode) -> impl Iterator<Item = &config::Service> {
    world.services().filter(move |s| s.mode == mode)
}
