//! `haproxy.cfg`: its proxies in mode tcp, each as a service of mode tproxy. See HAProxy's
//! configuration manual.

mod address;
mod check;
mod proxy;
mod sections;
mod server;
mod settings;

use super::plan::Plan;
use super::{ImportError, Imported, Options, text};
use crate::net::Prefix;
use sections::Section;
use settings::Settings;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What `haproxy.cfg` leaves open, and lbd has to know.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The VIPs that `bind *:80` and the like mean.
    pub vips: Vec<IpAddr>,
    /// Who is trusted where `accept-proxy` stands: HAProxy trusts everybody.
    pub trusted: Vec<Prefix>,
}

/// Imports a file.
///
/// # Errors
/// When it is too large, or a quote is open. What cannot be expressed is no error: it is told.
pub fn import(bytes: &[u8], options: &Options<'_>, given: &Given) -> Result<Imported, ImportError> {
    let text = text(bytes)?;
    let (sections, before) = sections::parse(&text)?;
    let mut plan = Plan::new(options.names);
    for line in before {
        plan.tell(&line.origin(), "left out: it stands before all sections");
    }
    let mut proxies = Proxies::default();
    for section in &sections {
        proxies.section(&mut plan, section);
    }
    proxies.join(&mut plan, given);
    let mut conditions = vec![
        "HAProxy no longer listens on these VIPs and ports when lbd starts.",
        "Services of mode tproxy with source = \"self\" show the servers this host's address, as \
         HAProxy did. Where the servers' way back leads through this host, source = \"client\" shows \
         them the client's.",
    ];
    let from_client = |service: &super::plan::Service| {
        let client = super::value::Value::from("client");
        service
            .proxy
            .iter()
            .any(|key| key.name == "source" && key.value == client)
    };
    if plan.services().iter().any(from_client) {
        conditions.push(
            "With source = \"client\" the servers' way back leads through this host, as for usesrc.",
        );
    }
    let interface = options.interface.as_deref().unwrap_or("eth0");
    let note = "where the VIPs' packets arrive";
    plan.finish("lbctl import haproxy", conditions, interface, note)
}

/// The sections that balance.
#[derive(Default)]
struct Proxies<'s> {
    /// The `defaults` that the next sections have.
    defaults: Settings,
    default_mode: Mode,
    named: BTreeMap<&'s str, (Settings, Mode)>,
    frontends: Vec<(&'s Section, Settings)>,
    backends: BTreeMap<&'s str, (&'s Section, Settings)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Tcp,
    Other,
}

impl<'s> Proxies<'s> {
    fn section(&mut self, plan: &mut Plan<'_>, section: &'s Section) {
        let kind = section.kind();
        match kind {
            "defaults" | "frontend" | "backend" | "listen" => {}
            "global" => {
                for line in &section.lines {
                    plan.tell(&line.origin(), "no equivalent: it is about HAProxy itself");
                }
                return;
            }
            _ => {
                plan.tell(
                    &section.origin(),
                    "no equivalent: lbd has nothing that needs it",
                );
                return;
            }
        }
        let (mut settings, inherited) = self.inherited(plan, section);
        let mode = mode(section).unwrap_or(inherited);
        if kind != "defaults" && mode == Mode::Other {
            let what = "left out, all of it: lbd is of layer 4 and has no mode but tcp. In mode tcp \
                 (HTTP unread, TLS passed on) it could be imported";
            plan.tell(&section.origin(), what);
            return;
        }
        for line in &section.lines {
            settings.take(plan, line);
        }
        let name = section.name();
        match kind {
            "defaults" => {
                if !name.is_empty() {
                    self.named.insert(name, (settings.clone(), mode));
                }
                self.defaults = settings;
                self.default_mode = mode;
            }
            "backend" => {
                if let Some((before, _)) = self.backends.insert(name, (section, settings)) {
                    plan.tell(
                        &before.origin(),
                        "left out: another backend below has its name",
                    );
                }
            }
            _ => self.frontends.push((section, settings)),
        }
    }

    /// What it has of its `defaults`. Those themselves begin anew, unless they name one.
    fn inherited(&self, plan: &mut Plan<'_>, section: &Section) -> (Settings, Mode) {
        match section.from() {
            Some(from) => match self.named.get(from) {
                Some(named) => named.clone(),
                None => {
                    let what =
                        format!("there is no `defaults {from}` above: HAProxy's own instead");
                    plan.tell(&section.header.origin(), what);
                    Default::default()
                }
            },
            None if section.kind() == "defaults" => Default::default(),
            None => (self.defaults.clone(), self.default_mode),
        }
    }

    /// Each frontend with its backend.
    fn join(self, plan: &mut Plan<'_>, given: &Given) {
        let mut used = BTreeSet::new();
        for (section, settings) in &self.frontends {
            let backend = match (section.kind(), &settings.default_backend) {
                ("listen", _) => settings,
                (_, None) => {
                    let what = "left out: no default_backend says where its connections go";
                    plan.tell(&section.origin(), what);
                    continue;
                }
                (_, Some((origin, name))) => match self.backends.get(name.as_str()) {
                    Some((_, backend)) => {
                        used.insert(name.as_str());
                        backend
                    }
                    None => {
                        let what =
                            "left out with its frontend: there is no such backend in mode tcp";
                        plan.tell(origin, what);
                        continue;
                    }
                },
            };
            proxy::add(plan, section, settings, backend, given);
        }
        for (name, (section, _)) in &self.backends {
            if !used.contains(name) {
                let what = "left out: no frontend in mode tcp has it as its default_backend";
                plan.tell(&section.origin(), what);
            }
        }
    }
}

/// The mode a section gives itself.
fn mode(section: &Section) -> Option<Mode> {
    let lines = section.lines.iter().rev();
    let line = lines.into_iter().find(|line| line.word(0) == "mode")?;
    Some(match line.word(1) {
        "tcp" => Mode::Tcp,
        _ => Mode::Other,
    })
}

#[cfg(test)]
mod tests;
