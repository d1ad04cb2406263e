//! `[[service]]`

use super::super::faults::Fault;
use super::super::keys::{CHECK, PROXY, REAL};
use super::super::model::{Admin, Announce, Check, Mode, OnDead, Real, Service, Track};
use super::super::raw::Section;
use super::super::{value, words};
use super::claims::{Claims, Machine};
use super::via::Around;
use super::{HOUR, check, proxy, real};
use crate::net::Protocol;
use crate::sched;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// IPVS's timeouts of an established TCP connection and of a UDP session.
const TCP_IDLE: Duration = Duration::from_secs(15 * 60);
const UDP_IDLE: Duration = Duration::from_secs(5 * 60);

/// Reads one service; `None` where a key it cannot be without is missing or wrong, which has been
/// told.
pub(super) fn service(s: &Section<'_>, claims: &mut Claims) -> Option<Service> {
    let name = s.required("name", value::service_name);
    if let Some(name) = &name {
        claims.name(s.faults, name, &s.path_of("name"));
    }
    s.require("vip");
    let vips = s.one_or_more("vip", value::vip);
    s.require("port");
    let ports = s.one_or_more("port", value::port);
    let protocol = match s.has("protocol") {
        true => s
            .get("protocol", |v| words::PROTOCOL.read(v))
            .map(|p| p.into_inner()),
        false => Some(Protocol::Tcp),
    };
    if let Some(protocol) = protocol {
        let called = name
            .as_ref()
            .map_or("a service without a name", |name| name.get_ref());
        claims.endpoints(s.faults, &vips, &ports, protocol, called, &s.path_of("vip"));
    }
    let mode = match s.has("mode") {
        true => s
            .get("mode", |v| words::MODE.read(v))
            .map(|mode| mode.into_inner()),
        false => Some(Mode::Dr),
    };

    let sorry = s.get("sorry", value::host);
    if let Some(sorry) = &sorry {
        claims.machine(Machine {
            address: sorry.clone(),
            path: s.path_of("sorry"),
            reason: "the real of last resort needs an address of its own",
        });
    }
    s.get("fragments", |v| words::FRAGMENTS.read(v));
    let reals = reals(s, mode, &ports, claims);
    if let Some(sorry) = &sorry {
        let place = SocketAddr::new(*sorry.get_ref(), 0);
        if let Some(real) = reals.iter().find(|real| real.place() == place) {
            let message = format!("{} is the real `{}`, too", sorry.get_ref(), real.name);
            let fault = Fault::new(message)
                .help("who answers when nobody else does is another machine, or a real with backup = true");
            s.faults.error(sorry.span(), &s.path_of("sorry"), fault);
        }
    }
    let min_healthy = min_healthy(s, reals.len());
    let section = s.table("proxy", &PROXY);
    let proxy = proxy::proxy(s, section.as_ref(), mode, protocol);
    let around = Around {
        mode,
        protocol,
        vips: &vips,
        ports: &ports,
        proxied_from: proxy.source,
        reals: &reals,
    };
    let checks = checks(s, &around, claims);
    if mode == Some(Mode::Tproxy) {
        proxy::families(s, &proxy, &vips, &reals);
    }

    let idle = if protocol == Some(Protocol::Udp) {
        UDP_IDLE
    } else {
        TCP_IDLE
    };
    let seconds = |min, max| value::duration(Duration::from_secs(min), max);
    let scheduler = s.get_or(
        "scheduler",
        |v| words::SCHEDULER.read(v),
        sched::Kind::Maglev,
    );
    let service = Service {
        description: s.get_or("description", value::text, String::new()),
        labels: s.get_or("labels", value::labels, Default::default()),
        scheduler,
        admin: s.get_or("admin", |v| words::ADMIN.read(v), Admin::Enabled),
        on_dead: s.get_or("on_dead", |v| words::ON_DEAD.read(v), OnDead::Rehash),
        dead_grace: s.get_or("dead_grace", seconds(0, HOUR), Duration::from_secs(10)),
        drain_timeout: s.get_or("drain_timeout", seconds(0, 7 * DAY), Duration::ZERO),
        idle_timeout: s.get_or("idle_timeout", seconds(1, 7 * DAY), idle),
        slow_start: slow_start(s),
        damping: damping(s),
        passive: passive(s, mode, protocol),
        track: track(s, mode, protocol, scheduler),
        min_healthy,
        announce: s.get_or("announce", |v| words::ANNOUNCE.read(v), Announce::Always),
        name: name?.into_inner(),
        vips: vips.into_iter().map(|vip| vip.into_inner()).collect(),
        ports: ports.into_iter().map(|port| port.into_inner()).collect(),
        protocol: protocol?,
        mode: mode?,
        sorry: sorry.map(|sorry| sorry.into_inner()),
        proxy,
        checks,
        reals,
    };
    Some(service)
}

/// The reals, each once.
fn reals(
    s: &Section<'_>,
    mode: Option<Mode>,
    ports: &[toml::Spanned<u16>],
    claims: &mut Claims,
) -> Vec<Real> {
    let mut names: HashMap<String, String> = HashMap::new();
    let mut places: HashMap<SocketAddr, String> = HashMap::new();
    let mut reals = Vec::new();
    for section in s.tables("real", &REAL) {
        let Some((real, address)) = real::real(&section, mode, ports, claims) else {
            continue;
        };
        let span = if section.has("name") {
            section.key_span("name")
        } else {
            address.span()
        };
        let line = s.faults.line_in_words(span.start);
        if let Some(first) = places.get(&real.place()) {
            let message = format!(
                "{} is a real of this service already ({first})",
                real.address
            );
            let fault = Fault::new(message).help("to give it more traffic, give it more weight");
            s.faults
                .error(address.span(), &section.path_of("address"), fault);
        } else if let Some(first) = names.get(&real.name) {
            let message = format!(
                "another real of this service is called `{}` ({first})",
                real.name
            );
            let fault = Fault::new(message).help("names are unique in their service");
            s.faults.error(span, &section.path_of("name"), fault);
        }
        places.entry(real.place()).or_insert_with(|| line.clone());
        names.entry(real.name.clone()).or_insert(line);
        reals.push(real);
    }
    reals
}

fn checks(s: &Section<'_>, around: &Around<'_>, claims: &mut Claims) -> Vec<Check> {
    let sections = s.tables("check", &CHECK);
    if !s.has("check") {
        let fault =
            Fault::new("no [[service.check]]: its reals count as up whatever happens to them")
                .help("add one, such as type = \"tcp\"");
        s.faults.warn(s.span.clone(), &s.path, fault);
    }
    sections
        .iter()
        .filter_map(|section| check::check(section, around, claims))
        .collect()
}

/// `lc` looks at flows alone, so a share cannot grow.
fn slow_start(s: &Section<'_>) -> Duration {
    let read = value::duration(Duration::ZERO, HOUR);
    let Some(slow_start) = s.get("slow_start", read) else {
        return Duration::ZERO;
    };
    let lc = s.has("scheduler")
        && s.get_or(
            "scheduler",
            |v| words::SCHEDULER.read(v),
            sched::Kind::Maglev,
        ) == sched::Kind::Lc;
    if lc && !slow_start.get_ref().is_zero() {
        let fault =
            Fault::new("`slow_start` does nothing with scheduler lc, which knows no weights")
                .help("scheduler = \"wlc\" does");
        s.faults
            .warn(slow_start.span(), &s.path_of("slow_start"), fault);
    }
    slow_start.into_inner()
}

/// It is about what checks say.
fn damping(s: &Section<'_>) -> bool {
    let Some(damping) = s.get("damping", value::boolean) else {
        return false;
    };
    if *damping.get_ref() && !s.has("check") {
        let fault = Fault::new("`damping` does nothing without a check")
            .help("add a [[service.check]], or leave it out");
        s.faults.warn(damping.span(), &s.path_of("damping"), fault);
    }
    damping.into_inner()
}

/// Handshakes are seen in direct routing alone, and only of tcp.
fn passive(s: &Section<'_>, mode: Option<Mode>, protocol: Option<Protocol>) -> bool {
    let Some(passive) = s.get("passive", value::boolean) else {
        return false;
    };
    let seen = mode != Some(Mode::Tproxy) && protocol != Some(Protocol::Udp);
    if *passive.get_ref() && !seen {
        let fault = Fault::new("`passive` is for tcp services in mode dr").help("leave it out");
        s.faults.error(passive.span(), &s.path_of("passive"), fault);
        return false;
    }
    passive.into_inner()
}

/// Flows may go unremembered only where packets stand alone.
fn track(
    s: &Section<'_>,
    mode: Option<Mode>,
    protocol: Option<Protocol>,
    scheduler: sched::Kind,
) -> Track {
    let Some(track) = s.get("track", |v| words::TRACK.read(v)) else {
        return Track::Flows;
    };
    if *track.get_ref() == Track::None && protocol == Some(Protocol::Tcp) {
        let fault = Fault::new("a tcp service cannot do without its flows")
            .help("`track = \"none\"` is for udp services whose packets stand alone, such as DNS");
        s.faults.error(track.span(), &s.path_of("track"), fault);
    }
    if *track.get_ref() == Track::Changes && protocol == Some(Protocol::Udp) {
        let fault = Fault::new("datagrams do not say where their flow begins")
            .help("`track = \"changes\"` is for tcp services; `flows` and `none` are for udp");
        s.faults.error(track.span(), &s.path_of("track"), fault);
    }
    let counts = !matches!(scheduler, sched::Kind::Maglev | sched::Kind::Sh);
    if *track.get_ref() == Track::Changes && counts {
        let fault = Fault::new("this scheduler places each flow anew: it must be remembered")
            .help("`track = \"changes\"` goes with scheduler maglev or sh");
        s.faults.error(track.span(), &s.path_of("track"), fault);
    }
    if *track.get_ref() != Track::Flows && mode == Some(Mode::Tproxy) {
        let fault = Fault::new("a proxy cannot do without its connections and sessions")
            .help("leave `track` out: it is for mode dr");
        s.faults.error(track.span(), &s.path_of("track"), fault);
    }
    track.into_inner()
}

fn min_healthy(s: &Section<'_>, reals: usize) -> u32 {
    let read = value::integer("the number of reals that must be up", 0, 65_535);
    let Some(wanted) = s.get("min_healthy", read) else {
        return 1;
    };
    if reals > 0 && *wanted.get_ref() as usize > reals {
        let message = format!(
            "`min_healthy` is {}, but there are {reals} reals",
            wanted.get_ref()
        );
        let fault = Fault::new(message).help("the first real that fails means panic");
        s.faults
            .warn(wanted.span(), &s.path_of("min_healthy"), fault);
    }
    wanted.into_inner()
}
