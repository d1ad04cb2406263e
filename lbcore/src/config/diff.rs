//! What a new configuration changes, in words: for logs and for answers to a reload.

use super::written::{Keys, check, lbd, network, real, service};
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
        /// The keys that lead there, `service[web].real[rs1].weight`.
        path: String,
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
            Change::Key { path, from, to } => write!(f, "{path}: {from} -> {to}"),
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

    fn keys(&mut self, path: &str, old: Keys, new: Keys) {
        for ((key, from), (_, to)) in old.into_iter().zip(new) {
            if from != to {
                self.changes.push(Change::Key {
                    path: format!("{path}.{key}"),
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
    let path = format!("service[{}]", new.name);
    diff.keys(&path, service(old), service(new));

    let checks = |service: &Service| format!("{}", service.checks.len());
    diff.keys(
        &path,
        vec![("checks", checks(old))],
        vec![("checks", checks(new))],
    );
    for (index, (old, new)) in old.checks.iter().zip(&new.checks).enumerate() {
        diff.keys(
            &format!("{path}.check[#{}]", index + 1),
            check(old),
            check(new),
        );
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
            Some(old) => diff.keys(
                &format!("{path}.real[{}]", added.name),
                real(old),
                real(added),
            ),
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
