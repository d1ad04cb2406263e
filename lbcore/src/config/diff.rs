//! What a new configuration changes, in words: for logs and for answers to a reload.

use super::words;
use super::{Check, CheckKind, Config, HttpCheck, Lbd, Network, Real, Service};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

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
    /// typed may do.
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

/// What `new` changes of `old`. Services are the same by name, reals by address, checks by order.
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

    let before: HashMap<IpAddr, &Real> =
        old.reals.iter().map(|real| (real.address, real)).collect();
    let after: HashMap<IpAddr, &Real> = new.reals.iter().map(|real| (real.address, real)).collect();
    for added in &new.reals {
        match before.get(&added.address) {
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
        .filter(|real| !after.contains_key(&real.address))
    {
        diff.changes.push(Change::RealRemoved {
            service: new.name.clone(),
            real: removed.name.clone(),
            address: removed.address,
        });
    }
}

/// Keys with their values as the file would write them. The structs are taken apart by name, so
/// that no key can be forgotten here.
type Keys = Vec<(&'static str, String)>;

fn time(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items
        .iter()
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn or<T: fmt::Display>(value: Option<T>, none: &str) -> String {
    value.map_or_else(|| none.to_owned(), |value| value.to_string())
}

fn map(map: &BTreeMap<String, String>) -> String {
    if map.is_empty() {
        return "none".to_owned();
    }
    let pairs: Vec<String> = map
        .iter()
        .map(|(key, value)| format!("{key} = {value:?}"))
        .collect();
    format!("{{ {} }}", pairs.join(", "))
}

fn lbd(section: &Lbd) -> Keys {
    let Lbd {
        run_dir,
        bpf_dir,
        state_dir,
        metrics,
        watch,
        write_back,
        admin_group,
        read_group,
        allow_exec,
        shutdown_timeout,
        log,
        log_format,
    } = section;
    vec![
        ("run_dir", run_dir.display().to_string()),
        ("bpf_dir", bpf_dir.display().to_string()),
        ("state_dir", state_dir.display().to_string()),
        ("metrics", or(*metrics, "off")),
        ("watch", watch.to_string()),
        ("write_back", write_back.to_string()),
        ("admin_group", admin_group.clone()),
        ("read_group", or(read_group.as_ref(), "everybody")),
        ("allow_exec", allow_exec.to_string()),
        ("shutdown_timeout", time(*shutdown_timeout)),
        ("log", log.clone()),
        (
            "log_format",
            or(
                log_format.map(|format| words::LOG_FORMAT.word(format)),
                "by itself",
            ),
        ),
    ]
}

fn network(section: &Network) -> Keys {
    let Network {
        interfaces,
        engine,
        workers,
        flow_entries,
        hash_key_file,
        link_holddown,
        ring_mib,
    } = section;
    let key_file = hash_key_file
        .as_ref()
        .map(|path| path.display().to_string());
    vec![
        ("interfaces", list(interfaces)),
        ("engine", words::ENGINE.word(*engine).to_owned()),
        ("workers", workers.to_string()),
        ("flow_entries", flow_entries.to_string()),
        ("hash_key_file", or(key_file, "in state_dir")),
        ("link_holddown", time(*link_holddown)),
        ("ring_mib", ring_mib.to_string()),
    ]
}

fn service(service: &Service) -> Keys {
    let Service {
        name: _,
        description,
        labels,
        vips,
        ports,
        protocol,
        mode,
        scheduler,
        admin,
        on_dead,
        dead_grace,
        drain_timeout,
        idle_timeout,
        track,
        min_healthy,
        announce,
        sorry,
        checks: _,
        reals: _,
    } = service;
    vec![
        ("description", format!("{description:?}")),
        ("labels", map(labels)),
        ("vip", list(vips)),
        ("port", list(ports)),
        ("protocol", protocol.to_string()),
        ("mode", words::MODE.word(*mode).to_owned()),
        ("scheduler", scheduler.to_string()),
        ("admin", words::ADMIN.word(*admin).to_owned()),
        ("on_dead", words::ON_DEAD.word(*on_dead).to_owned()),
        ("dead_grace", time(*dead_grace)),
        ("drain_timeout", time(*drain_timeout)),
        ("idle_timeout", time(*idle_timeout)),
        ("track", words::TRACK.word(*track).to_owned()),
        ("min_healthy", min_healthy.to_string()),
        ("announce", words::ANNOUNCE.word(*announce).to_owned()),
        ("sorry", or(*sorry, "none")),
    ]
}

fn check(check: &Check) -> Keys {
    let Check {
        kind,
        via,
        source,
        port,
        interval,
        fast_interval,
        down_interval,
        timeout,
        rise,
        fall,
    } = check;
    vec![
        ("type", check_kind(kind)),
        ("via", words::VIA.word(*via).to_owned()),
        ("source", or(*source, "by route")),
        ("port", or(*port, "the service's")),
        ("interval", time(*interval)),
        ("fast_interval", time(*fast_interval)),
        ("down_interval", time(*down_interval)),
        ("timeout", time(*timeout)),
        ("rise", rise.to_string()),
        ("fall", fall.to_string()),
    ]
}

fn check_kind(kind: &CheckKind) -> String {
    match kind {
        CheckKind::Tcp => kind.word().to_owned(),
        CheckKind::Http(HttpCheck {
            method,
            path,
            host,
            expect,
            body,
            headers,
        }) => {
            let codes: Vec<_> = expect
                .iter()
                .map(|(from, to)| format!("{from}-{to}"))
                .collect();
            let (word, host) = (kind.word(), or(host.as_ref(), "by address"));
            let body = body
                .as_ref()
                .map_or(String::new(), |body| format!(", body {body:?}"));
            let headers = map(headers);
            format!(
                "{word} ({method} {path}, host {host}, expect {}{body}, headers {headers})",
                codes.join(", ")
            )
        }
    }
}

fn real(real: &Real) -> Keys {
    let Real {
        name,
        description,
        labels,
        address: _,
        weight,
        admin,
        mac,
        interface,
        backup,
    } = real;
    vec![
        ("name", name.clone()),
        ("description", format!("{description:?}")),
        ("labels", map(labels)),
        ("weight", weight.to_string()),
        ("admin", words::ADMIN.word(*admin).to_owned()),
        ("mac", or(*mac, "learned")),
        ("interface", or(interface.as_ref(), "by route")),
        ("backup", backup.to_string()),
    ]
}
