//! What a new configuration changes, in words: for logs and for answers to a reload.

use super::secrets::TAKEN_OUT;
use super::written::{Keys, check, check_kind, lbd, network, real, service};
use super::{Config, Real, Service};
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The changes from one configuration to another; empty where both say the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// In the order of the new file; what is gone comes last.
    pub changes: Vec<Change>,
    reals_before: usize,
    services_before: usize,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A service of a new name.
    ServiceAdded {
        /// Its name.
        service: String,
        /// How many reals came with it.
        reals: usize,
    },
    /// A service whose name is gone.
    ServiceRemoved {
        /// Its name.
        service: String,
        /// How many reals went with it.
        reals: usize,
    },
    /// A new address in a service that was there.
    RealAdded {
        /// The service.
        service: String,
        /// The real's name.
        real: String,
        /// Its address.
        address: IpAddr,
    },
    /// An address that is gone from a service that stays.
    RealRemoved {
        /// The service.
        service: String,
        /// The real's name.
        real: String,
        /// Its address.
        address: IpAddr,
    },
    /// Another value of a key.
    Key {
        /// Whose: `lbd`, `network`, `web`, `web check 1`, `web/rs1`.
        section: String,
        /// Which, `proxy.retries`.
        key: String,
        /// The old value.
        from: String,
        /// The new value.
        to: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::ServiceAdded { service, reals } => {
                write!(f, "service {service}: added (reals: {reals})")
            }
            Change::ServiceRemoved { service, reals } => {
                write!(f, "service {service}: removed (reals: {reals})")
            }
            Change::RealAdded {
                service,
                real,
                address,
            } => {
                write!(f, "service {service}: real {real} ({address}) added")
            }
            Change::RealRemoved {
                service,
                real,
                address,
            } => {
                write!(f, "service {service}: real {real} ({address}) removed")
            }
            Change::Key {
                section,
                key,
                from,
                to,
            } => write!(f, "{section}: {key}: {from} -> {to}"),
        }
    }
}

impl Change {
    /// The same as something that runs otherwise than the file says, where this is the change from
    /// the file to what runs: what it is, what the file says, what runs.
    pub fn as_drift(&self) -> (String, String, String) {
        let (no, yes) = ("not there".to_owned(), "there".to_owned());
        match self {
            Change::ServiceAdded { service, .. } => (service.clone(), no, yes),
            Change::ServiceRemoved { service, .. } => (service.clone(), yes, no),
            Change::RealAdded { service, real, .. } => (format!("{service}/{real}"), no, yes),
            Change::RealRemoved { service, real, .. } => (format!("{service}/{real}"), yes, no),
            Change::Key {
                section,
                key,
                from,
                to,
            } => (format!("{section} {key}"), from.clone(), to.clone()),
        }
    }
}

impl Diff {
    /// Whether both configurations say the same.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether all services go, or more than half of all reals: more than a reload that nobody
    /// typed may do. A service of a new name is another service.
    pub fn is_drastic(&self) -> bool {
        let (mut services, mut reals) = (0, 0);
        for change in &self.changes {
            match change {
                Change::ServiceRemoved { reals: gone, .. } => {
                    services += 1;
                    reals += gone;
                }
                Change::RealRemoved { .. } => reals += 1,
                _ => {}
            }
        }
        (services > 0 && services == self.services_before) || reals * 2 > self.reals_before
    }

    fn keys(&mut self, section: &str, old: Keys, new: Keys) {
        for ((key, from), (_, to)) in old.into_iter().zip(new) {
            if from != to {
                self.changes.push(Change::Key {
                    section: section.to_owned(),
                    key: key.to_owned(),
                    from,
                    to,
                });
            }
        }
    }
}

/// What `new` changes of `old`. Services are the same by name, reals by address and port, checks by order.
pub fn diff(old: &Config, new: &Config) -> Diff {
    let mut diff = Diff {
        changes: Vec::new(),
        services_before: old.services.len(),
        reals_before: old.services.iter().map(|service| service.reals.len()).sum(),
    };
    diff.keys("lbd", lbd(&old.lbd), lbd(&new.lbd));
    diff.keys("network", network(&old.network), network(&new.network));

    let before: HashMap<&str, &Service> =
        old.services.iter().map(|s| (s.name.as_str(), s)).collect();
    let after: HashMap<&str, &Service> =
        new.services.iter().map(|s| (s.name.as_str(), s)).collect();
    for service in &new.services {
        match before.get(service.name.as_str()) {
            Some(old) => one_service(&mut diff, old, service),
            None => diff.changes.push(Change::ServiceAdded {
                service: service.name.clone(),
                reals: service.reals.len(),
            }),
        }
    }
    for service in old
        .services
        .iter()
        .filter(|s| !after.contains_key(s.name.as_str()))
    {
        diff.changes.push(Change::ServiceRemoved {
            service: service.name.clone(),
            reals: service.reals.len(),
        });
    }
    diff
}

fn one_service(diff: &mut Diff, old: &Service, new: &Service) {
    let name = new.name.as_str();
    diff.keys(name, service(old), service(new));

    let checks = |service: &Service| format!("{}", service.checks.len());
    diff.keys(
        name,
        vec![("checks", checks(old))],
        vec![("checks", checks(new))],
    );
    for (index, (old, new)) in old.checks.iter().zip(&new.checks).enumerate() {
        let section = format!("{name} check {}", index + 1);
        diff.keys(&section, check(old), check(new));
        let (from, to) = (check_kind(&old.kind), check_kind(&new.kind));
        if old.kind != new.kind && from == to {
            diff.changes.push(Change::Key {
                section,
                key: "type".to_owned(),
                from,
                to: format!("{to}, where other values are {TAKEN_OUT}"),
            });
        }
    }

    let by_place = |service: &'_ Service| -> HashMap<SocketAddr, Real> {
        let placed = service
            .reals
            .iter()
            .map(|real| (real.place(), real.clone()));
        placed.collect()
    };
    let (before, after) = (by_place(old), by_place(new));
    for added in &new.reals {
        match before.get(&added.place()) {
            Some(old) => diff.keys(&format!("{name}/{}", added.name), real(old), real(added)),
            None => diff.changes.push(Change::RealAdded {
                service: new.name.clone(),
                real: added.name.clone(),
                address: added.address,
            }),
        }
    }
    for removed in old
        .reals
        .iter()
        .filter(|real| !after.contains_key(&real.place()))
    {
        diff.changes.push(Change::RealRemoved {
            service: new.name.clone(),
            real: removed.name.clone(),
            address: removed.address,
        });
    }
}
