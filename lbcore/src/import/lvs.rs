//! The words of IPVS, which ipvsadm and keepalived share, and what a virtual service of theirs
//! becomes. See ipvsadm(8) and the kernel's `ipvs-sysctl.rst`.

use super::plan::{Check, Origin, Plan, Real, Service};
use super::value::Key;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// lbd's largest weight.
const MAX_WEIGHT: u32 = 256;

/// The largest `max_connections` of a real.
pub(super) const MAX_UPPER: u32 = 100_000_000;

/// A count as people write it: one too large for IPVS is its largest.
pub(super) fn number(text: &str) -> Option<u32> {
    let number = text.parse::<u64>().ok()?;
    Some(u32::try_from(number).unwrap_or(u32::MAX))
}

/// How IPVS reaches a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Direct routing: `-g`, DR.
    Direct,
    /// Masquerading: `-m`, NAT.
    Nat,
    /// A tunnel: `-i`, TUN.
    Tunnel,
}

/// A virtual service of IPVS.
#[derive(Clone, Debug)]
pub(super) struct Virtual {
    pub origin: Origin,
    /// What its services shall be called.
    pub name: String,
    /// VIP:port pairs; several in a group of keepalived.
    pub endpoints: Vec<(IpAddr, u16)>,
    pub udp: bool,
    pub scheduler: Scheduler,
    /// Where it says so.
    pub persistent: Option<Origin>,
    /// One packet scheduling.
    pub ops: bool,
    /// Further keys of the service.
    pub keys: Vec<Key>,
    pub sorry: Option<Sorry>,
    pub checks: Vec<Check>,
    pub reals: Vec<VirtualReal>,
}

/// A scheduler's name with the flags that change what it hashes.
#[derive(Clone, Debug)]
pub(super) struct Scheduler {
    pub origin: Origin,
    pub name: String,
    /// `sh-port`, `mh-port`: the source port is hashed, too.
    pub port: bool,
}

/// A real server of IPVS.
#[derive(Clone, Debug)]
pub(super) struct VirtualReal {
    pub origin: Origin,
    pub address: IpAddr,
    pub port: u16,
    pub method: Method,
    pub weight: u32,
    /// Upper threshold of connections; 0 = none.
    pub upper: u32,
}

/// A sorry server of keepalived.
#[derive(Clone, Debug)]
pub(super) struct Sorry {
    pub origin: Origin,
    pub address: IpAddr,
    pub port: u16,
}

/// Adds what a virtual service becomes: one service for each set of ports, and of each family
/// where it is proxied.
pub(super) fn add(plan: &mut Plan<'_>, service: Virtual) {
    let Some(method) = method(plan, &service) else {
        return;
    };
    let tproxy = method == Method::Nat;
    let scheduler = scheduler(plan, &service);
    let first_only = service.scheduler.name == "fo";
    let reals = reals(plan, &service, method);
    let mut by_ports: BTreeMap<(Vec<u16>, bool), Vec<IpAddr>> = BTreeMap::new();
    let mut ports: BTreeMap<IpAddr, Vec<u16>> = BTreeMap::new();
    for (vip, port) in &service.endpoints {
        ports.entry(*vip).or_default().push(*port);
    }
    for (vip, ports) in ports {
        let family = tproxy && vip.is_ipv6();
        by_ports.entry((ports, family)).or_default().push(vip);
    }
    for ((ports, v6), vips) in by_ports {
        let mut keys = vec![Key::new("scheduler", scheduler)];
        keys.extend(service.keys.iter().cloned());
        if service.ops {
            match service.udp && !tproxy {
                true => keys.push(Key::new("track", "none")),
                false => plan.tell(&service.origin, "ops: only for udp by direct routing"),
            }
        }
        let mut these: Vec<Real> = reals.clone();
        if tproxy {
            these.retain(|real| real.address.is_ipv6() == v6);
        }
        let dialled: Vec<u16> = ports.clone();
        let sorry = sorry(plan, &service, tproxy, &dialled, &mut these);
        if first_only {
            second_line(&mut these);
        }
        plan.add(Service {
            origin: service.origin.clone(),
            comment: comment(&service.origin),
            name: service.name.clone(),
            vips,
            ports,
            udp: service.udp,
            tproxy,
            keys,
            sorry,
            proxy: match tproxy {
                true => vec![Key::new("source", "client").note("as with LVS-NAT")],
                false => Vec::new(),
            },
            checks: service.checks.clone(),
            reals: these,
        });
    }
}

fn comment(origin: &Origin) -> String {
    format!("{}: {}", origin.lines, plain(&origin.about))
}

/// Text of the source for a comment: nothing in it ends a line or moves a cursor.
pub(super) fn plain(text: &str) -> String {
    let fit = |c: char| match c {
        ' ' | '…' => c,
        c if c.is_ascii_graphic() => c,
        _ => '?',
    };
    text.chars().map(fit).collect()
}

/// The one method of the service; `None`, and told, where lbd has none.
fn method(plan: &mut Plan<'_>, service: &Virtual) -> Option<Method> {
    let mut methods = service.reals.iter().map(|real| real.method);
    if service.reals.is_empty() {
        return Some(Method::Direct);
    }
    if let Some(method) = methods.find(|method| *method != Method::Tunnel) {
        if method == Method::Nat {
            let what = "NAT becomes mode tproxy: lbd dials the reals from the client's address, and \
                 their way back leads through this host, as it did";
            plan.tell(&service.origin, what);
        }
        return Some(method);
    }
    let what = "left out: lbd has no tunnel. If the reals are on this host's layer-2 network, \
         write DR (-g); if their way back can lead through this host, NAT (-m); and import again";
    plan.tell(&service.origin, what);
    None
}

fn scheduler(plan: &mut Plan<'_>, service: &Virtual) -> &'static str {
    let Scheduler { origin, name, port } = &service.scheduler;
    let (ours, what) = match (name.as_str(), port) {
        ("rr", _) => ("rr", None),
        ("wrr", _) => ("wrr", None),
        ("lc", _) => ("lc", None),
        ("wlc", _) => ("wlc", None),
        // lbd's sh looks the client's address up in the Maglev ring.
        ("sh" | "mh", false) => ("sh", None),
        ("sh" | "mh", true) => ("maglev", None),
        ("sed" | "nq", _) => ("wlc", Some("is wlc here: fewest flows for its weight")),
        ("dh" | "lblc" | "lblcr", _) => (
            "maglev",
            Some("is maglev here: lbd does not choose by destination"),
        ),
        ("fo", _) => (
            "wlc",
            Some("the reals of the highest weight serve, all others have backup = true"),
        ),
        ("ovf", _) => (
            "wlc",
            Some("is wlc here: no real overflows to the next at its weight"),
        ),
        ("twos", _) => ("wlc", Some("is wlc here: all reals are compared, not two")),
        _ => ("wlc", Some("no scheduler of lbd's; wlc instead")),
    };
    if let Some(what) = what {
        plan.tell(origin, format!("scheduler {name}: {what}"));
    }
    match &service.persistent {
        Some(origin) if ours != "sh" => {
            let what = format!(
                "persistence is scheduler sh here, instead of {ours}: a client stays with its real \
                 as long as the reals are the same; there is no timeout"
            );
            plan.tell(origin, what);
            "sh"
        }
        _ => ours,
    }
}

fn reals(plan: &mut Plan<'_>, service: &Virtual, method: Method) -> Vec<Real> {
    let most = service.reals.iter().map(|real| real.weight).max();
    let most = most.unwrap_or(0);
    if most > MAX_WEIGHT {
        let what = format!(
            "weights go to {MAX_WEIGHT} here: all of this service are scaled down by the same factor"
        );
        plan.tell(&service.origin, what);
    }
    let mut reals = Vec::new();
    for real in &service.reals {
        if real.method != method {
            let what = match real.method {
                Method::Tunnel => "left out: lbd has no tunnel",
                _ => "left out: one service has one mode, and other reals of it have another",
            };
            plan.tell(&real.origin, what);
            continue;
        }
        let tproxy = method == Method::Nat;
        let dialled = |(_, port): &(IpAddr, u16)| *port == real.port || real.port == 0;
        if !tproxy && !service.endpoints.iter().any(dialled) {
            let what = format!(
                "port {} has no effect by direct routing, in IPVS neither: packets keep the VIP's",
                real.port
            );
            plan.tell(&real.origin, what);
        }
        let mut keys = Vec::new();
        if real.upper > 0 {
            match tproxy {
                true => keys.push(Key::new("max_connections", u64::from(real.upper))),
                false => {
                    let what = "upper threshold: none by direct routing; let the real refuse \
                         connections itself, or give it less weight";
                    plan.tell(&real.origin, what);
                }
            }
        }
        let weight = match most > MAX_WEIGHT && real.weight > 0 {
            true => scaled(real.weight, most),
            false => real.weight,
        };
        reals.push(Real {
            origin: real.origin.clone(),
            name: None,
            address: real.address,
            port: Some(real.port).filter(|port| *port > 0),
            weight,
            keys,
        });
    }
    reals
}

/// A weight of at most `most` as a part of [`MAX_WEIGHT`], and at least 1.
fn scaled(weight: u32, most: u32) -> u32 {
    let part = u64::from(weight) * u64::from(MAX_WEIGHT) / u64::from(most);
    u32::try_from(part).unwrap_or(MAX_WEIGHT).max(1)
}

/// The sorry server: a key of the service; dialled at another port it is a backup real.
fn sorry(
    plan: &mut Plan<'_>,
    service: &Virtual,
    tproxy: bool,
    ports: &[u16],
    reals: &mut Vec<Real>,
) -> Option<IpAddr> {
    let sorry = service.sorry.as_ref()?;
    if sorry.port == 0 || ports == [sorry.port] {
        return Some(sorry.address);
    }
    if !tproxy {
        let what = "its port has no effect by direct routing: packets keep the VIP's";
        plan.tell(&sorry.origin, what);
        return Some(sorry.address);
    }
    let what =
        "at a port of its own it is a real with backup = true here, and checked as the others";
    plan.tell(&sorry.origin, what);
    reals.push(Real {
        origin: sorry.origin.clone(),
        name: None,
        address: sorry.address,
        port: Some(sorry.port),
        weight: 1,
        keys: vec![Key::new("backup", true)],
    });
    None
}

/// Weighted failover: whoever has not the highest weight waits.
fn second_line(reals: &mut [Real]) {
    let most = reals.iter().map(|real| real.weight).max();
    for real in reals.iter_mut().filter(|real| Some(real.weight) != most) {
        real.keys.push(Key::new("backup", true));
    }
}

/// What must hold for what came from IPVS, whoever filled it.
pub(super) fn conditions(plan: &Plan<'_>) -> Vec<&'static str> {
    let mut conditions = vec![
        "IPVS no longer has these services (ipvsadm -C, and nobody fills it again) when lbd starts.",
    ];
    if plan.services().iter().any(|service| !service.tproxy) {
        conditions.push(
            "lbd's host and the reals of mode dr are on one layer-2 network, and the reals have the \
             VIP on lo without answering ARP for it, as for LVS-DR.",
        );
    }
    if plan.services().iter().any(|service| service.tproxy) {
        conditions.push(
            "The way back of reals in mode tproxy leads through this host (it is their default \
             gateway), as for LVS-NAT.",
        );
    }
    conditions
}
