//! A `virtual_server` with its real servers.

use super::super::lvs::{self, Method, Scheduler, Sorry, Virtual, VirtualReal};
use super::super::plan::{Check, Origin, Plan};
use super::super::value::Key;
use super::Around;
use super::check::{self, Timing};
use super::groups::Groups;
use super::syntax::Node;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What a virtual server says of itself, beside its reals.
struct Spoken {
    udp: bool,
    scheduler: Scheduler,
    persistent: Option<Origin>,
    ops: bool,
    method: Method,
    /// Set where reals keep their flows when they fail.
    inhibit: bool,
    timing: Timing,
    sorry: Option<Sorry>,
    name: Option<String>,
}

/// Adds what it becomes; `groups` are those of the whole file.
pub(super) fn virtual_server(
    plan: &mut Plan<'_>,
    node: &Node,
    groups: &Groups<'_>,
    around: &Around,
) {
    let left_out = |plan: &mut Plan<'_>, what: &str| plan.tell(&node.origin(), what);
    let endpoints = match (node.word(1), node.word(2)) {
        ("fwmark", _) => {
            let what = "left out: lbd has no firewall marks; a service is VIPs and ports";
            return left_out(plan, what);
        }
        ("group", name) => match groups.endpoints(plan, name) {
            Some(endpoints) => endpoints,
            None => return left_out(plan, "left out: there is no such virtual_server_group"),
        },
        (vip, port) => {
            let Some(vip) = plan.address(vip, &node.origin()) else {
                return;
            };
            match port {
                "" => vec![(vip, 0)],
                port => match port.parse() {
                    Ok(port) => vec![(vip, port)],
                    Err(_) => return left_out(plan, "left out: its port is none"),
                },
            }
        }
    };
    if node.block.is_none() {
        return left_out(plan, "left out: it has no block");
    }
    let Some(spoken) = spoken(plan, node) else {
        return;
    };
    let announced = |(vip, _): &(IpAddr, u16)| around.vrrp.contains(vip);
    let mut keys = vec![
        Key::new("min_healthy", 0)
            .note("as in keepalived; lbd's default lets the last good set go on"),
    ];
    if endpoints.iter().any(announced) {
        keys.push(Key::new("announce", "when-owned").note("keepalived's VRRP has the VIP"));
    }
    let idle = if spoken.udp {
        around.udp_idle
    } else {
        around.tcp_idle
    };
    keys.extend(idle.map(|idle| Key::new("idle_timeout", idle).note("lvs_timeouts")));
    let (reals, checks, inhibit) = reals(plan, node, &spoken);
    if inhibit {
        keys.push(Key::new("on_dead", "keep").note("inhibit_on_failure"));
    }
    let checks = the_same_for_all(plan, node, &checks);
    let fallback = || match node.word(1) {
        "group" => node.word(2).to_owned(),
        vip => format!("{vip}-{}", node.word(2)),
    };
    let service = Virtual {
        origin: node.origin(),
        name: spoken.name.clone().unwrap_or_else(fallback),
        endpoints,
        udp: spoken.udp,
        scheduler: spoken.scheduler,
        persistent: spoken.persistent,
        ops: spoken.ops,
        keys,
        sorry: spoken.sorry,
        checks,
        reals,
    };
    lvs::add(plan, service);
}

fn spoken(plan: &mut Plan<'_>, node: &Node) -> Option<Spoken> {
    let mut spoken = Spoken {
        udp: false,
        scheduler: Scheduler {
            origin: node.origin(),
            name: "wlc".to_owned(),
            port: false,
        },
        persistent: None,
        ops: false,
        method: Method::Nat,
        inhibit: false,
        timing: Timing::default(),
        sorry: None,
        name: None,
    };
    for statement in node.children() {
        let (name, value) = (statement.name(), statement.word(1));
        let origin = statement.origin();
        match name {
            "real_server" => {}
            "lb_algo" | "lvs_sched" => {
                spoken.scheduler.name = value.to_owned();
                spoken.scheduler.origin = origin;
            }
            "lb_kind" | "lvs_method" => spoken.method = method(value),
            "protocol" => match value {
                "TCP" => spoken.udp = false,
                "UDP" => spoken.udp = true,
                _ => {
                    plan.tell(&node.origin(), "left out: lbd has tcp and udp, no SCTP");
                    return None;
                }
            },
            "persistence_timeout" => spoken.persistent = Some(origin),
            "ops" => spoken.ops = true,
            "sh-port" | "mh-port" => spoken.scheduler.port = true,
            // lbd's schedulers pass by who is down.
            "sh-fallback" | "mh-fallback" => {}
            "inhibit_on_failure" => spoken.inhibit = !is_off(value),
            "sorry_server" => spoken.sorry = sorry(plan, statement),
            "snmp_name" => spoken.name = Some(value.to_owned()),
            "quorum" => {
                if value != "1" {
                    let what = "no equivalent: whoever is up serves, and the sorry server only when \
                         nobody is; `lbctl health` is for track scripts";
                    plan.tell(&origin, what);
                }
            }
            "quorum_up" | "quorum_down" => {
                let what = "left out: lbd runs no scripts; lbctl events -f and the metrics tell";
                plan.tell(&origin, what);
            }
            "smtp_alert" => {
                let what = "left out: lbd sends no mail; alerts are Prometheus's";
                plan.tell(&origin, what);
            }
            "ha_suspend" => {
                let what = "left out: lbd checks on, whether this host has the VIP or not";
                plan.tell(&origin, what);
            }
            _ => {
                if !spoken.timing.take(plan, statement) {
                    plan.tell(&origin, "no equivalent");
                }
            }
        }
    }
    Some(spoken)
}

fn method(word: &str) -> Method {
    match word {
        "DR" => Method::Direct,
        "TUN" => Method::Tunnel,
        _ => Method::Nat,
    }
}

fn is_off(word: &str) -> bool {
    ["off", "false", "no"].contains(&word)
}

fn sorry(plan: &mut Plan<'_>, node: &Node) -> Option<Sorry> {
    let origin = node.origin();
    let address = plan.address(node.word(1), &origin)?;
    Some(Sorry {
        port: node.word(2).parse().unwrap_or(0),
        address,
        origin,
    })
}

type Checked<'n> = Vec<(&'n Node, Vec<Check>)>;

/// The reals, the checks of each, and whether their flows are to be kept.
fn reals<'n>(
    plan: &mut Plan<'_>,
    node: &'n Node,
    spoken: &Spoken,
) -> (Vec<VirtualReal>, Checked<'n>, bool) {
    let (mut reals, mut checked, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    let servers = node.children().iter();
    for server in servers.filter(|child| child.name() == "real_server") {
        let origin = server.origin();
        let Some(address) = plan.address(server.word(1), &origin) else {
            continue;
        };
        let port = match server.word(2) {
            "" => Ok(0),
            port => port.parse::<u16>(),
        };
        let Ok(port) = port else {
            plan.tell(&origin, "left out: its port is none");
            continue;
        };
        let mut real = VirtualReal {
            origin,
            address,
            port,
            method: spoken.method,
            weight: 1,
            upper: 0,
        };
        let (mut timing, mut inhibit) = (Timing::default(), spoken.inhibit);
        for statement in server.children() {
            let value = statement.word(1);
            match statement.name() {
                name if check::is_check(name) => {}
                "weight" => real.weight = number(plan, statement, 1),
                "uthreshold" => {
                    real.upper = number(plan, statement, 0).min(lvs::MAX_UPPER);
                }
                "lb_kind" | "lvs_method" => real.method = method(value),
                "inhibit_on_failure" => inhibit = !is_off(value),
                "notify_up" | "notify_down" => {
                    let what =
                        "left out: lbd runs no scripts; lbctl events -f and the metrics tell";
                    plan.tell(&statement.origin(), what);
                }
                "smtp_alert" => {
                    let what = "left out: lbd sends no mail; alerts are Prometheus's";
                    plan.tell(&statement.origin(), what);
                }
                _ => {
                    if !timing.take(plan, statement) {
                        plan.tell(&statement.origin(), "no equivalent");
                    }
                }
            }
        }
        timing.inherit(&spoken.timing);
        let mut checks = Vec::new();
        let statements = server.children().iter();
        for statement in statements.filter(|child| check::is_check(child.name())) {
            checks.extend(check::checks(plan, statement, &timing, (address, port)));
        }
        kept.push((server, inhibit));
        checked.push((server, checks));
        reals.push(real);
    }
    let inhibit = kept.iter().any(|(_, inhibit)| *inhibit);
    for (server, _) in kept.iter().filter(|(_, own)| *own != inhibit) {
        let what =
            "inhibit_on_failure of others holds for it, too: on_dead is a key of the service";
        plan.tell(&server.origin(), what);
    }
    (reals, checked, inhibit)
}

fn number(plan: &mut Plan<'_>, node: &Node, instead: u32) -> u32 {
    lvs::number(node.word(1)).unwrap_or_else(|| {
        plan.tell(&node.origin(), format!("no number: {instead} instead"));
        instead
    })
}

/// lbd has one set of checks for a service: that of most of its reals.
fn the_same_for_all(plan: &mut Plan<'_>, node: &Node, checked: &Checked<'_>) -> Vec<Check> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (_, checks) in checked {
        *counts.entry(format!("{checks:?}")).or_default() += 1;
    }
    // Of two sets that are as frequent, the one that comes first.
    let with = checked.iter().filter(|(_, checks)| !checks.is_empty());
    let chosen = with
        .rev()
        .max_by_key(|(_, checks)| counts.get(&format!("{checks:?}")));
    let chosen = chosen.map(|(_, checks)| checks.clone()).unwrap_or_default();
    if chosen.is_empty() {
        let what = "no check here either: its reals count as up whatever happens to them";
        plan.tell(&node.origin(), what);
    }
    for (server, checks) in checked.iter().filter(|(_, checks)| *checks != chosen) {
        let what = match checks.is_empty() {
            true => "has no check in keepalived; lbd asks it as the other reals of the service",
            false => {
                "its checks are not those of most reals of the service; lbd has one set for all"
            }
        };
        plan.tell(&server.origin(), what);
    }
    chosen
}
