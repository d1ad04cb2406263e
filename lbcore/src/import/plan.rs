//! Services in the making: what the sources have in common, and what cannot stand side by side in
//! one file of lbd.

use super::render::{self, Top};
use super::value::Key;
use super::{Finding, ImportError, Imported, Lines, MAX_BYTES, Names};
use crate::id::{MAX_REALS, MAX_SERVICES};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The longest name of a service or a real.
const MAX_NAME: usize = 63;

/// VIP:port pairs of all services, and VIPs of one: lbd's own bounds.
const MAX_ENDPOINTS: usize = 65_536;
const MAX_LIST: usize = 1024;

/// What a statement is called in a finding.
const MAX_ABOUT: usize = 60;

/// A statement of the source: where it stands, and how it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Origin {
    pub lines: Lines,
    pub about: String,
}

impl Origin {
    pub(super) fn new(lines: Lines, words: &[impl AsRef<str>]) -> Origin {
        let mut about = String::new();
        for word in words {
            if about.chars().count() > MAX_ABOUT {
                break;
            }
            about.push_str(if about.is_empty() { "" } else { " " });
            about.push_str(word.as_ref());
        }
        if let Some((cut, _)) = about.char_indices().nth(MAX_ABOUT) {
            about.truncate(cut);
            about.push('…');
        }
        Origin { lines, about }
    }
}

/// One `[[service]]`.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub origin: Origin,
    /// What it is in the source; plain text without control characters.
    pub comment: String,
    /// What it shall be called, if that is free and fit.
    pub name: String,
    pub vips: Vec<IpAddr>,
    pub ports: Vec<u16>,
    pub udp: bool,
    pub tproxy: bool,
    /// Other keys of the service itself.
    pub keys: Vec<Key>,
    pub sorry: Option<IpAddr>,
    pub proxy: Vec<Key>,
    pub checks: Vec<Check>,
    pub reals: Vec<Real>,
}

impl Service {
    fn runs_programs(&self) -> bool {
        let exec = Key::new("type", "exec");
        let mut checks = self.checks.iter();
        checks.any(|check| check.keys.contains(&exec))
    }
}

/// One `[[service.check]]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Check {
    pub keys: Vec<Key>,
    pub source: Option<IpAddr>,
}

/// One `[[service.real]]`.
#[derive(Clone, Debug)]
pub(super) struct Real {
    pub origin: Origin,
    pub name: Option<String>,
    pub address: IpAddr,
    /// In mode tproxy.
    pub port: Option<u16>,
    pub weight: u32,
    pub keys: Vec<Key>,
}

/// All of it.
pub(super) struct Plan<'a> {
    pub names: &'a dyn Names,
    /// Each is asked once.
    resolved: BTreeMap<String, Option<IpAddr>>,
    services: Vec<Service>,
    findings: Vec<Finding>,
    taken: BTreeSet<String>,
    /// Whose each VIP:port of a protocol is.
    endpoints: BTreeMap<(IpAddr, u16, bool), String>,
    reals: usize,
}

impl<'a> Plan<'a> {
    pub(super) fn new(names: &'a dyn Names) -> Plan<'a> {
        Plan {
            names,
            resolved: BTreeMap::new(),
            services: Vec::new(),
            findings: Vec::new(),
            taken: BTreeSet::new(),
            endpoints: BTreeMap::new(),
            reals: 0,
        }
    }

    /// Tells what is not in the result as it was in the source.
    pub(super) fn tell(&mut self, origin: &Origin, what: impl Into<String>) {
        self.findings.push(Finding {
            lines: Some(origin.lines),
            about: origin.about.clone(),
            what: what.into(),
        });
    }

    /// An address as it stands in the source: numbers, or a name that this machine knows.
    pub(super) fn address(&mut self, text: &str, origin: &Origin) -> Option<IpAddr> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        if let Ok(ip) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Some(ip.to_canonical());
        }
        let known = self.resolved.get(text).copied();
        let ip = known.unwrap_or_else(|| self.names.host(text));
        if known.is_none() {
            self.resolved.insert(text.to_owned(), ip);
        }
        match ip {
            Some(ip) if known.is_none() => {
                let what = format!("{text} is {ip} now, and stays that: lbd keeps addresses");
                self.tell(origin, what);
            }
            Some(_) => {}
            None => {
                let what = format!("left out: {text} is no address, and no name known here");
                self.tell(origin, what);
            }
        }
        ip
    }

    /// Takes a service, without what another one has already or lbd would refuse.
    pub(super) fn add(&mut self, mut service: Service) {
        self.fit_vips(&mut service);
        let origin = service.origin.clone();
        if service.vips.is_empty() || service.ports.is_empty() {
            return;
        }
        self.fit_reals(&mut service);
        if !self.has_room(&origin, service.reals.len()) {
            return;
        }
        let pairs = service.vips.len() * service.ports.len();
        let limits = [
            (
                self.endpoints.len() + pairs,
                MAX_ENDPOINTS,
                "VIP:port pairs",
            ),
            (service.vips.len(), MAX_LIST, "VIPs in one service"),
            (service.ports.len(), MAX_LIST, "ports in one service"),
        ];
        for (count, limit, what) in limits {
            if count > limit {
                self.tell(&origin, format!("left out: lbd holds {limit} {what}"));
                return;
            }
        }
        self.reals += service.reals.len();
        service.name = self.name(&service.name);
        for vip in &service.vips {
            for port in &service.ports {
                let key = (*vip, *port, service.udp);
                self.endpoints.insert(key, service.name.clone());
            }
        }
        self.services.push(service);
    }

    /// Whether one more service with so many reals fits; else tells so.
    pub(super) fn has_room(&mut self, origin: &Origin, reals: usize) -> bool {
        let limits = [
            (self.services.len() + 1, MAX_SERVICES, "services"),
            (self.reals + reals, MAX_REALS, "reals"),
        ];
        let full = limits.into_iter().find(|(count, limit, _)| count > limit);
        if let Some((_, limit, what)) = full {
            self.tell(origin, format!("left out: lbd holds {limit} {what}"));
        }
        full.is_none()
    }

    fn fit_vips(&mut self, service: &mut Service) {
        let origin = service.origin.clone();
        let mut seen = BTreeSet::new();
        service.vips.retain(|vip| seen.insert(*vip));
        for vip in service.vips.iter().filter(|vip| !super::is_vip(**vip)) {
            self.tell(&origin, format!("{vip} left out: no client could dial it"));
        }
        service.vips.retain(|vip| super::is_vip(*vip));
        let mut seen = BTreeSet::new();
        service.ports.retain(|port| seen.insert(*port));
        if service.ports.contains(&0) {
            let what = "left out: lbd has no service for all ports of an address; list the ports";
            self.tell(&origin, what);
        }
        let mut told = Vec::new();
        service.ports.retain(|port| {
            let mut owner = service.vips.iter().filter_map(|vip| {
                let owner = self.endpoints.get(&(*vip, *port, service.udp))?;
                Some(format!("port {port} left out: {vip} has it for `{owner}`"))
            });
            let taken = owner.next();
            let free = taken.is_none();
            told.extend(taken);
            free && *port > 0
        });
        for what in told {
            self.tell(&origin, what);
        }
    }

    /// Each real once, at an address that a machine can have, with a name of its own.
    fn fit_reals(&mut self, service: &mut Service) {
        let mut places = BTreeSet::new();
        let mut shared: BTreeMap<IpAddr, usize> = BTreeMap::new();
        let mut kept = Vec::new();
        for mut real in std::mem::take(&mut service.reals) {
            if !service.tproxy {
                real.port = None;
            }
            if !super::is_host(real.address) {
                let what = format!("left out: no real can have the address {}", real.address);
                self.tell(&real.origin, what);
            } else if !places.insert((real.address, real.port)) {
                let what = "left out: this service has the same real already";
                self.tell(&real.origin, what);
            } else {
                *shared.entry(real.address).or_default() += 1;
                kept.push(real);
            }
        }
        if let Some(sorry) = service.sorry.filter(|sorry| !super::is_host(*sorry)) {
            let what = format!("the sorry server left out: no real can have the address {sorry}");
            self.tell(&service.origin.clone(), what);
            service.sorry = None;
        }
        let is_real = |sorry: IpAddr| {
            let mut at = kept.iter().filter(|real| real.address == sorry);
            at.any(|real| !service.tproxy || real.port.is_none())
        };
        if let Some(sorry) = service.sorry.filter(|sorry| is_real(*sorry)) {
            let what = format!("the sorry server left out: {sorry} is a real server of it, too");
            self.tell(&service.origin.clone(), what);
            service.sorry = None;
        }
        let mut names = BTreeSet::new();
        let mut last: BTreeMap<String, u32> = BTreeMap::new();
        for real in &mut kept {
            let address = real.address;
            let fits = |name: &String| {
                let other = name.parse::<IpAddr>().is_ok_and(|ip| ip != address);
                super::is_real_name(name) && !other
            };
            let plain = (shared.get(&address) == Some(&1)).then_some(String::new());
            let by_port = || format!("{address}-{}", real.port.unwrap_or(0));
            let given = real.name.take();
            let wish = given.clone().filter(fits).or(plain);
            let wish = wish.unwrap_or_else(by_port);
            // An empty name is the address.
            let wish = if wish == address.to_string() {
                String::new()
            } else {
                wish
            };
            let called = |name: &str| {
                if name.is_empty() {
                    address.to_string()
                } else {
                    name.to_owned()
                }
            };
            let mut name = wish.clone();
            while !names.insert(called(&name)) {
                let base = if wish.is_empty() {
                    by_port()
                } else {
                    wish.clone()
                };
                let n = last.entry(base.clone()).or_insert(1);
                *n += 1;
                name = suffixed(&base, *n);
            }
            if let Some(given) = given.filter(|given| *given != called(&name)) {
                let what = format!("called `{}` here, not `{given}`", called(&name));
                self.tell(&real.origin, what);
            }
            real.name = Some(name).filter(|name| !name.is_empty());
        }
        service.reals = kept;
        self.fit_sources(service);
    }

    /// A check comes from an address of the family it goes to.
    fn fit_sources(&mut self, service: &mut Service) {
        let reals = service.reals.iter().map(|real| real.address);
        let all: Vec<IpAddr> = service.vips.iter().copied().chain(reals).collect();
        for check in &mut service.checks {
            let other = |source: &IpAddr| all.iter().any(|ip| ip.is_ipv4() != source.is_ipv4());
            if let Some(source) = check.source.take_if(|source| other(source)) {
                let what = format!("checks from {source}: left out, it is of another family");
                self.tell(&service.origin, what);
            }
        }
    }

    /// A name as lbd wants it, and nobody else's.
    fn name(&mut self, wish: &str) -> String {
        let fit = |c: char| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '.' | '_' | '-') => c,
            _ => '-',
        };
        let base: String = wish.chars().map(fit).take(MAX_NAME).collect();
        let base = match base.as_str() {
            "" | "." | ".." => "service".to_owned(),
            _ => base,
        };
        let mut name = base.clone();
        for n in 2.. {
            if self.taken.insert(name.clone()) {
                break;
            }
            name = suffixed(&base, n);
        }
        name
    }

    /// What it has become. `made_by` is the command, `interface_note` says where `interface` is from.
    ///
    /// # Errors
    /// When lbd could not read so much.
    pub(super) fn finish(
        mut self,
        made_by: &str,
        conditions: Vec<&'static str>,
        interface: &str,
        interface_note: &str,
    ) -> Result<Imported, ImportError> {
        self.no_machine_is_a_vip();
        let top = Top {
            made_by,
            conditions: &conditions,
            interface,
            interface_note,
            allow_exec: self.services.iter().any(Service::runs_programs),
        };
        let toml = render::file(&top, &self.services);
        if toml.len() > MAX_BYTES {
            return Err(ImportError::TooMuch);
        }
        self.findings.sort_by_key(|finding| finding.lines);
        Ok(Imported {
            toml,
            services: self.services.len(),
            findings: self.findings,
            conditions,
        })
    }

    /// Known only when all services are.
    fn no_machine_is_a_vip(&mut self) {
        let vips: BTreeSet<IpAddr> = self.endpoints.keys().map(|(vip, _, _)| *vip).collect();
        let mut services = std::mem::take(&mut self.services);
        for service in &mut services {
            let origin = service.origin.clone();
            service.reals.retain(|real| {
                let fine = !vips.contains(&real.address);
                if !fine {
                    let what = format!("left out: {} is a VIP of this file", real.address);
                    self.tell(&real.origin, what);
                }
                fine
            });
            if let Some(sorry) = service.sorry.filter(|sorry| vips.contains(sorry)) {
                let what = format!("the sorry server left out: {sorry} is a VIP of this file");
                self.tell(&origin, what);
                service.sorry = None;
            }
            for check in &mut service.checks {
                if let Some(source) = check.source.filter(|source| vips.contains(source)) {
                    let what = format!(
                        "checks from {source}: left out, it is a VIP; answers to it would not come back"
                    );
                    self.tell(&origin, what);
                    check.source = None;
                }
            }
        }
        self.services = services;
    }

    /// The services so far.
    pub(super) fn services(&self) -> &[Service] {
        &self.services
    }
}

/// `name-2`, within what a name may have.
fn suffixed(base: &str, n: u32) -> String {
    let end = format!("-{n}");
    let room = MAX_NAME - end.len();
    format!("{}{end}", base.get(..room).unwrap_or(base))
}
