//! A frontend with its backend, as services.

use super::super::lvs::plain;
use super::super::plan::{Check, Plan, Real, Service};
use super::super::value::{Key, Value, bounded};
use super::Given;
use super::address::Where;
use super::sections::Section;
use super::settings::{Bind, Server, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// HAProxy's `retries`.
const RETRIES: u32 = 3;

/// Where connections come in: what one service can have in common.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Door {
    ports: BTreeSet<u16>,
    accept_proxy: bool,
    /// The address stands in the file, so this host has it.
    owned: bool,
    v6: bool,
}

/// Adds what a frontend and its backend become.
pub(super) fn add(
    plan: &mut Plan<'_>,
    section: &Section,
    front: &Settings,
    back: &Settings,
    given: &Given,
) {
    let origin = section.origin();
    if !plan.has_room(&origin, back.servers.len()) {
        return;
    }
    let doors = doors(plan, section, front, given);
    if doors.is_empty() {
        plan.tell(&origin, "left out: it listens nowhere that lbd could");
        return;
    }
    let from_client = from_client(plan, &back.servers);
    let checks = checks(plan, section, back);
    let keys = keys(plan, section, front, back);
    let reals: Vec<Real> = back.servers.iter().map(real).collect();
    tell_backups(plan, back);
    for (door, vips) in doors {
        let mut keys = keys.clone();
        if door.owned {
            let note = "this host has the address, as HAProxy's had";
            keys.push(Key::new("announce", "when-owned").note(note));
        }
        let mut proxy = proxy_keys(plan, front, back, from_client);
        if door.accept_proxy {
            let trusted = given.trusted.iter().map(ToString::to_string);
            let trusted = trusted.map(Value::Text).collect();
            proxy.push(Key::new("accept_proxy", true));
            proxy.push(Key::new("trusted_sources", Value::List(trusted)));
        }
        let mut reals = reals.clone();
        if from_client {
            let before = reals.len();
            reals.retain(|real| real.address.is_ipv6() == door.v6);
            if reals.len() < before {
                let family = if door.v6 { "IPv6" } else { "IPv4" };
                let what = format!(
                    "with usesrc client, clients of {family} cannot be shown to servers of the other \
                     family: those are left out for {}",
                    vips.iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join(", ")
                );
                plan.tell(&origin, what);
            }
        }
        plan.add(Service {
            origin: origin.clone(),
            comment: format!("{}: {}", origin.lines, plain(&origin.about)),
            name: section.name().to_owned(),
            vips: vips.into_iter().collect(),
            ports: door.ports.into_iter().collect(),
            udp: false,
            tproxy: true,
            keys,
            sorry: None,
            proxy,
            checks: checks.clone(),
            reals,
        });
    }
}

/// Its VIPs by what they have in common.
fn doors(
    plan: &mut Plan<'_>,
    section: &Section,
    front: &Settings,
    given: &Given,
) -> BTreeMap<Door, BTreeSet<IpAddr>> {
    let mut places: BTreeMap<(IpAddr, bool, bool), BTreeSet<u16>> = BTreeMap::new();
    for bind in &front.binds {
        if bind.accept_proxy && given.trusted.is_empty() {
            let what = "left out: lbd believes PROXY headers of balancers that are named only; \
                 --trusted PREFIX names them";
            plan.tell(&bind.origin, what);
            continue;
        }
        for (vip, owned) in vips(plan, bind, given) {
            let ports = places.entry((vip, owned, bind.accept_proxy)).or_default();
            ports.extend(&bind.ports);
        }
    }
    if front.binds.is_empty() {
        plan.tell(
            &section.header.origin(),
            "it has no bind that lbd could have",
        );
    }
    let mut doors: BTreeMap<Door, BTreeSet<IpAddr>> = BTreeMap::new();
    for ((vip, owned, accept_proxy), ports) in places {
        let door = Door {
            ports,
            accept_proxy,
            owned,
            v6: vip.is_ipv6(),
        };
        doors.entry(door).or_default().insert(vip);
    }
    doors
}

fn vips(plan: &mut Plan<'_>, bind: &Bind, given: &Given) -> Vec<(IpAddr, bool)> {
    let v6 = match bind.place {
        Where::At(ip) => return vec![(ip, true)],
        Where::Any { v6 } => v6,
    };
    let vips = given.vips.iter().filter(|vip| vip.is_ipv6() == v6);
    let vips: Vec<_> = vips.map(|vip| (*vip, false)).collect();
    if vips.is_empty() {
        let family = if v6 { "IPv6" } else { "IPv4" };
        let what = format!(
            "left out: it listens at every address, and a service of lbd has a VIP; --vip ADDRESS \
             gives the one that clients dial ({family})"
        );
        plan.tell(&bind.origin, what);
    }
    vips
}

/// Whether servers see the client's address: lbd has one answer a service, that of the first.
fn from_client(plan: &mut Plan<'_>, servers: &[Server]) -> bool {
    let is = |server: &Server| server.params.from_client == Some(true);
    let first = servers.first().is_some_and(is);
    for server in servers.iter().filter(|server| is(server) != first) {
        let what = "its `source` is not that of the first server; lbd has one for the service";
        plan.tell(&server.origin, what);
    }
    first
}

fn keys(plan: &mut Plan<'_>, section: &Section, front: &Settings, back: &Settings) -> Vec<Key> {
    let mut keys = vec![Key::new("scheduler", scheduler(plan, back))];
    let description = front.description.as_ref().or(back.description.as_ref());
    keys.extend(description.map(|text| Key::new("description", text.as_str())));
    if front.disabled || back.disabled {
        keys.push(Key::new("admin", "disabled"));
    }
    let note = "as in HAProxy; lbd's default lets the last good set go on";
    keys.push(Key::new("min_healthy", 0).note(note));
    let shut = |server: &Server| server.params.shutdown_sessions;
    let shuts = back.servers.iter().any(shut);
    match shuts {
        true => {
            keys.push(Key::new("on_dead", "rehash").note("on-marked-down shutdown-sessions"));
            keys.push(Key::new("dead_grace", "0s"));
        }
        false => keys.push(Key::new("on_dead", "keep").note("connections outlive a failed check")),
    }
    for server in back.servers.iter().filter(|server| shut(server) != shuts) {
        let what = "on-marked-down of others holds for it, too: on_dead is a key of the service";
        plan.tell(&server.origin, what);
    }
    keys.extend(slow_start(plan, back));
    match idle(front, back) {
        Some(idle) => {
            keys.push(Key::new("idle_timeout", idle).note("timeout client, server, tunnel"))
        }
        None => {
            let what = "no timeout client, server or tunnel: idle connections end after lbd's 15m";
            plan.tell(&section.header.origin(), what);
        }
    }
    keys
}

fn scheduler(plan: &mut Plan<'_>, back: &Settings) -> &'static str {
    if back.sticky {
        return "sh";
    }
    let Some((origin, words)) = &back.balance else {
        return "wrr";
    };
    let (ours, what) = match words.first().map_or("", String::as_str) {
        "roundrobin" | "static-rr" => ("wrr", None),
        "leastconn" => ("wlc", None),
        "source" => ("sh", None),
        "random" => (
            "wlc",
            Some("is wlc here: all servers are compared, not two"),
        ),
        "first" => (
            "wlc",
            Some("is wlc here: lbd does not fill one server before the next"),
        ),
        "" => ("wrr", Some("is wrr here")),
        _ => (
            "wrr",
            Some("is wrr here: lbd does not look into connections"),
        ),
    };
    if let Some(what) = what {
        plan.tell(origin, what);
    }
    ours
}

fn slow_start(plan: &mut Plan<'_>, back: &Settings) -> Option<Key> {
    let times = back.servers.iter().map(|server| server.params.slowstart);
    let longest = times.max().filter(|time| !time.is_zero())?;
    for server in back
        .servers
        .iter()
        .filter(|s| s.params.slowstart != longest)
    {
        let what = "the longest slowstart holds for it, too: slow_start is a key of the service";
        plan.tell(&server.origin, what);
    }
    let time = bounded(longest, Duration::ZERO, Duration::from_secs(3600));
    Some(Key::new("slow_start", time))
}

/// How long both sides may be silent: the tunnel's, else the shorter of both sides'. Longest where
/// HAProxy waits for ever.
fn idle(front: &Settings, back: &Settings) -> Option<Duration> {
    let (front, back) = (&front.timeouts, &back.timeouts);
    let longest = 7 * DAY;
    let sides = [front.client, back.server].into_iter().flatten();
    let sides = sides.map(|side| or_for_ever(side, longest)).min();
    let tunnel = back.tunnel.or(front.tunnel);
    let idle = tunnel
        .map(|tunnel| or_for_ever(tunnel, longest))
        .or(sides)?;
    Some(bounded(idle, Duration::from_secs(1), longest))
}

/// A timeout of HAProxy's: 0 is none.
fn or_for_ever(timeout: Duration, longest: Duration) -> Duration {
    match timeout.is_zero() {
        true => longest,
        false => timeout,
    }
}

fn proxy_keys(
    plan: &mut Plan<'_>,
    front: &Settings,
    back: &Settings,
    from_client: bool,
) -> Vec<Key> {
    let source = if from_client { "client" } else { "self" };
    let mut keys = vec![Key::new("source", source)];
    let version = back
        .servers
        .first()
        .map_or(0, |server| server.params.send_proxy);
    let differs = |server: &&Server| server.params.send_proxy != version;
    for server in back.servers.iter().filter(differs) {
        let what = "its send-proxy is not that of the first server; lbd has one for the service";
        plan.tell(&server.origin, what);
    }
    if version > 0 {
        keys.push(Key::new("send_proxy", format!("v{version}")));
    }
    let connect = back.timeouts.connect.map(|time| {
        let longest = Duration::from_secs(60);
        let time = bounded(
            or_for_ever(time, longest),
            Duration::from_millis(10),
            longest,
        );
        Key::new("connect_timeout", time)
    });
    keys.extend(connect);
    let retries = back.retries.unwrap_or(RETRIES).min(16);
    let note = match back.redispatch {
        true => "retries, each at another server",
        false => "retries, here at other servers: as with option redispatch",
    };
    keys.push(Key::new("retries", u64::from(retries)).note(note));
    if front.maxconn > 0 {
        keys.push(Key::new("max_connections", u64::from(front.maxconn)));
    }
    keys
}

/// lbd has one set of checks for a service: that of most servers that have one.
fn checks(plan: &mut Plan<'_>, section: &Section, back: &Settings) -> Vec<Check> {
    let check = |server: &Server| {
        let params = &server.params;
        params
            .check
            .then(|| back.asked.check(params, back.timeouts.check))
    };
    let checks: Vec<_> = back.servers.iter().map(check).collect();
    for server in back.servers.iter().filter(|server| server.params.check) {
        if let Some(what) = back.asked.unheeded(&server.params) {
            plan.tell(&server.origin, what);
        }
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for check in checks.iter().flatten() {
        *counts.entry(format!("{check:?}")).or_default() += 1;
    }
    let having = checks.iter().flatten().rev();
    let chosen = having.max_by_key(|check| counts.get(&format!("{check:?}")));
    let Some(chosen) = chosen else {
        if !back.servers.is_empty() {
            let what = "no `check` here either: its reals count as up whatever happens to them";
            plan.tell(&section.header.origin(), what);
        }
        return Vec::new();
    };
    for (server, check) in back.servers.iter().zip(&checks) {
        let what = match check {
            Some(check) if check == chosen => continue,
            Some(_) => "its check is not that of most servers of the proxy; lbd has one for all",
            None => "has no `check` in HAProxy; lbd asks it as the other reals of the service",
        };
        plan.tell(&server.origin, what);
    }
    vec![chosen.clone()]
}

fn real(server: &Server) -> Real {
    let params = &server.params;
    let mut keys = Vec::new();
    if params.backup {
        keys.push(Key::new("backup", true));
    }
    if params.disabled {
        keys.push(Key::new("admin", "disabled"));
    }
    if params.maxconn > 0 {
        keys.push(Key::new("max_connections", u64::from(params.maxconn)));
    }
    Real {
        origin: server.origin.clone(),
        name: Some(server.name.clone()),
        address: server.address,
        port: server.port,
        weight: params.weight,
        keys,
    }
}

fn tell_backups(plan: &mut Plan<'_>, back: &Settings) {
    let mut backups = back.servers.iter().filter(|server| server.params.backup);
    if let Some(second) = backups.nth(1).filter(|_| !back.all_backups) {
        let what =
            "all backups that are up serve together here; in HAProxy the first of them alone";
        plan.tell(&second.origin, what);
    }
}
