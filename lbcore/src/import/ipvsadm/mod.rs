//! Rules of IPVS as `ipvsadm -S` saves and `ipvsadm -R` restores them, with or without `-n`: one
//! command a line, without the program's name. See ipvsadm(8).

use super::lvs::{self, Method, Scheduler, Virtual, VirtualReal};
use super::plan::{Origin, Plan};
use super::{ImportError, Imported, Lines, Options, text};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Imports rules.
///
/// # Errors
/// When the file is too large. A line that cannot be expressed is no error: it is told.
pub fn import(bytes: &[u8], options: &Options<'_>) -> Result<Imported, ImportError> {
    let text = text(bytes)?;
    let mut plan = Plan::new(options.names);
    let mut services = Saved::default();
    for (index, line) in text.lines().enumerate() {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        // Rules files are pasted into scripts, too.
        if words.first().is_some_and(|word| word.ends_with("ipvsadm")) {
            words.remove(0);
        }
        if words.first().is_none_or(|word| word.starts_with('#')) {
            continue;
        }
        let origin = Origin::new(Lines::one(index + 1), &words);
        command(&mut plan, &mut services, &words, &origin);
    }
    for service in services.in_order.into_iter().flatten() {
        lvs::add(&mut plan, service);
    }
    let mut conditions = lvs::conditions(&plan);
    conditions.push(
        "IPVS checks nobody: whoever took dead reals out of it (keepalived, ldirectord) cannot do \
         so here. Give each service a [[service.check]].",
    );
    conditions.push(
        "The VIP was an address of this host. lbd answers for it by itself: take the address away \
         (ip addr del), or, where another tool moves it between hosts, write announce = \"when-owned\".",
    );
    let interface = options.interface.as_deref();
    let note = "where the VIPs' packets arrive";
    plan.finish(
        "lbctl import ipvsadm",
        conditions,
        interface.unwrap_or("eth0"),
        note,
    )
}

/// The services so far; without one where it was left out.
#[derive(Default)]
struct Saved {
    in_order: Vec<Option<Virtual>>,
    places: BTreeMap<Key, usize>,
}

impl Saved {
    fn add(&mut self, key: Key, service: Option<Virtual>) {
        self.places.insert(key, self.in_order.len());
        self.in_order.push(service);
    }
}

/// How rules name a service.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Endpoint(IpAddr, u16, bool),
    /// What lbd has nothing for, as it stands there.
    Other(String),
}

/// One line, taken apart.
#[derive(Default)]
struct Rule<'a> {
    verb: Option<Verb>,
    /// `-t`, `-u`, and the value.
    service: Option<(Kind, &'a str)>,
    scheduler: Option<&'a str>,
    flags: Vec<&'a str>,
    persistent: bool,
    ops: bool,
    real: Option<&'a str>,
    method: Option<Method>,
    weight: Option<&'a str>,
    upper: Option<&'a str>,
    /// Options without an equivalent, with their values.
    strangers: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    AddService,
    AddServer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Udp,
    Sctp,
    Mark,
}

fn command(plan: &mut Plan<'_>, services: &mut Saved, words: &[&str], origin: &Origin) {
    let rule = match parse(words) {
        Ok(rule) => rule,
        Err(what) => {
            plan.tell(origin, what);
            return;
        }
    };
    let (Some(verb), Some((kind, named))) = (rule.verb, rule.service) else {
        plan.tell(origin, "left out: neither adds a service nor a server");
        return;
    };
    for stranger in &rule.strangers {
        plan.tell(origin, format!("{stranger}: no equivalent"));
    }
    match verb {
        Verb::AddService => add_service(plan, services, &rule, kind, named, origin),
        Verb::AddServer => add_server(plan, services, &rule, kind, named, origin),
    }
}

fn add_service(
    plan: &mut Plan<'_>,
    services: &mut Saved,
    rule: &Rule<'_>,
    kind: Kind,
    named: &str,
    origin: &Origin,
) {
    let mut left_out = |plan: &mut Plan<'_>, what: &str| {
        plan.tell(origin, what);
        services.add(Key::Other(named.to_owned()), None);
    };
    match kind {
        Kind::Sctp => return left_out(plan, "left out: lbd has no SCTP"),
        Kind::Mark => {
            let what = "left out: lbd has no firewall marks; a service is VIPs and ports";
            return left_out(plan, what);
        }
        Kind::Tcp | Kind::Udp => {}
    }
    let udp = kind == Kind::Udp;
    let Some((vip, port)) = endpoint(plan, named, udp, origin) else {
        return left_out(plan, "left out, and its servers with it");
    };
    let key = Key::Endpoint(vip, port, udp);
    if services.places.contains_key(&key) {
        plan.tell(origin, "left out: this service is there already");
        return;
    }
    let hashed = |flag: &&str| ["sh-port", "mh-port", "flag-2"].contains(flag);
    let scheduler = Scheduler {
        origin: origin.clone(),
        name: rule.scheduler.unwrap_or("wlc").to_owned(),
        port: rule.flags.iter().any(hashed),
    };
    let protocol = if udp { "udp" } else { "tcp" };
    let service = Virtual {
        origin: origin.clone(),
        name: format!("{protocol}-{vip}-{port}"),
        endpoints: vec![(vip, port)],
        udp,
        scheduler,
        persistent: rule.persistent.then(|| origin.clone()),
        ops: rule.ops,
        keys: Vec::new(),
        sorry: None,
        checks: Vec::new(),
        reals: Vec::new(),
    };
    services.add(key, Some(service));
}

fn add_server(
    plan: &mut Plan<'_>,
    services: &mut Saved,
    rule: &Rule<'_>,
    kind: Kind,
    named: &str,
    origin: &Origin,
) {
    let udp = kind == Kind::Udp;
    let key = match kind {
        Kind::Tcp | Kind::Udp => endpoint(plan, named, udp, origin),
        Kind::Sctp | Kind::Mark => None,
    };
    let key = match key {
        Some((vip, port)) => Key::Endpoint(vip, port, udp),
        None => Key::Other(named.to_owned()),
    };
    let place = services.places.get(&key).copied();
    let saved = place.and_then(|place| services.in_order.get_mut(place));
    let service = match saved {
        None => {
            plan.tell(origin, "left out: no line above adds this service");
            return;
        }
        Some(None) => {
            plan.tell(origin, "left out with its service");
            return;
        }
        Some(Some(service)) => service,
    };
    let Some(real) = rule.real else {
        plan.tell(origin, "left out: no -r names a server");
        return;
    };
    let port = service.endpoints.first().map_or(0, |(_, port)| *port);
    let (host, own_port) = split(real);
    let Some(address) = plan.address(host, origin) else {
        return;
    };
    let own_port = match own_port {
        None => Some(port),
        Some(text) => self::port(plan, text, udp),
    };
    let Some(own_port) = own_port else {
        plan.tell(origin, "left out: its port is none that is known here");
        return;
    };
    let number = |text: Option<&str>| text.map(lvs::number);
    let weight = match number(rule.weight) {
        None => 1,
        Some(Some(weight)) => weight,
        Some(None) => {
            plan.tell(origin, "its weight is no number: 1 instead");
            1
        }
    };
    let upper = number(rule.upper).flatten().unwrap_or(0);
    service.reals.push(VirtualReal {
        origin: origin.clone(),
        address,
        port: own_port,
        method: rule.method.unwrap_or(Method::Direct),
        weight,
        upper: upper.min(lvs::MAX_UPPER),
    });
}

/// `VIP:port`, `[VIP]:port`, with names where `-n` was not given.
fn endpoint(plan: &mut Plan<'_>, named: &str, udp: bool, origin: &Origin) -> Option<(IpAddr, u16)> {
    let (host, port) = split(named);
    let address = plan.address(host, origin)?;
    match port {
        None => Some((address, 0)),
        Some(text) => {
            let port = self::port(plan, text, udp);
            if port.is_none() {
                plan.tell(
                    origin,
                    format!("{text} is no port, and no name of one here"),
                );
            }
            Some((address, port?))
        }
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    let bare_v6 = text.matches(':').count() > 1 && !text.starts_with('[');
    match text.rsplit_once(':') {
        Some((host, port)) if !bare_v6 && !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn port(plan: &Plan<'_>, text: &str, udp: bool) -> Option<u16> {
    match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse().ok(),
        false => plan.names.port(text, udp),
    }
}

/// A line's options.
fn parse<'a>(words: &[&'a str]) -> Result<Rule<'a>, String> {
    let mut rule = Rule::default();
    let mut words = words.iter().copied().peekable();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| format!("left out: {word} wants a value"))
        };
        match word {
            "-A" | "--add-service" => rule.verb = Some(Verb::AddService),
            "-a" | "--add-server" => rule.verb = Some(Verb::AddServer),
            "-t" | "--tcp-service" => rule.service = Some((Kind::Tcp, value()?)),
            "-u" | "--udp-service" => rule.service = Some((Kind::Udp, value()?)),
            "--sctp-service" => rule.service = Some((Kind::Sctp, value()?)),
            "-f" | "--fwmark-service" => rule.service = Some((Kind::Mark, value()?)),
            "-s" | "--scheduler" => rule.scheduler = Some(value()?),
            "-b" | "--sched-flags" => rule.flags = value()?.split(',').collect(),
            "-r" | "--real-server" => rule.real = Some(value()?),
            "-g" | "--gatewaying" => rule.method = Some(Method::Direct),
            "-m" | "--masquerading" => rule.method = Some(Method::Nat),
            "-i" | "--ipip" => rule.method = Some(Method::Tunnel),
            "-w" | "--weight" => rule.weight = Some(value()?),
            "-x" | "--u-threshold" => rule.upper = Some(value()?),
            "-o" | "--ops" => rule.ops = true,
            // The family of a firewall mark's service.
            "-6" | "--ipv6" => {}
            "-p" | "--persistent" => {
                rule.persistent = true;
                if words.peek().is_some_and(|next| next.parse::<u32>().is_ok()) {
                    words.next();
                }
            }
            "-M" | "--netmask" | "--pe" | "-y" | "--l-threshold" | "--tun-type" | "--tun-port" => {
                rule.strangers.push(format!("{word} {}", value()?));
            }
            "-C" | "--clear" | "-E" | "--edit-service" | "-D" | "--delete-service" | "-e"
            | "--edit-server" | "-d" | "--delete-server" | "--set" => {
                return Err(format!(
                    "left out: only what adds is read (-A, -a), not {word}; save with: ipvsadm -S -n"
                ));
            }
            other => rule.strangers.push(other.to_owned()),
        }
    }
    Ok(rule)
}

#[cfg(test)]
mod tests;
