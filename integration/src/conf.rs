//! A configuration of lbd, as text: what a test sets is what stands in the file.

use crate::engine::Engine;
use crate::routed;
use crate::topology::{VIP, real, real_mac};
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

/// A whole file. Values given to `with` are TOML, as in `with("scheduler", "\"wrr\"")`.
#[derive(Clone, Debug, Default)]
pub struct Conf {
    lbd: Vec<(String, String)>,
    network: Vec<(String, String)>,
    /// Its services, in file order.
    pub services: Vec<ServiceConf>,
}

impl Conf {
    /// One service.
    pub fn one(service: ServiceConf) -> Conf {
        Conf {
            services: vec![service],
            ..Conf::default()
        }
    }

    /// Adds a service.
    #[must_use]
    pub fn service(mut self, service: ServiceConf) -> Conf {
        self.services.push(service);
        self
    }

    /// Sets a key of `[lbd]`.
    #[must_use]
    pub fn lbd(mut self, key: &str, toml: &str) -> Conf {
        set(&mut self.lbd, key, toml);
        self
    }

    /// Sets a key of `[network]`.
    #[must_use]
    pub fn network(mut self, key: &str, toml: &str) -> Conf {
        set(&mut self.network, key, toml);
        self
    }

    /// The file, with run and state directories below `dir`.
    pub fn to_toml(&self, dir: &Path) -> String {
        let mut lbd = vec![
            ("run_dir".to_owned(), format!("\"{}/run\"", dir.display())),
            (
                "state_dir".to_owned(),
                format!("\"{}/state\"", dir.display()),
            ),
        ];
        let mut network = vec![
            ("interface".to_owned(), "\"eth0\"".to_owned()),
            ("flow_entries".to_owned(), "65536".to_owned()),
        ];
        let engine = Engine::of_this_run();
        for (key, toml) in engine.lbd_keys() {
            set(&mut lbd, key, &toml);
        }
        for (key, toml) in engine.network_keys() {
            set(&mut network, key, &toml);
        }
        for (key, toml) in &self.lbd {
            set(&mut lbd, key, toml);
        }
        for (key, toml) in &self.network {
            set(&mut network, key, toml);
        }
        if self.network.iter().any(|(key, _)| key == "interfaces") {
            network.retain(|(key, _)| key != "interface");
        }
        let mut out = String::new();
        table(&mut out, "[lbd]", &lbd);
        table(&mut out, "[network]", &network);
        for service in &self.services {
            table(&mut out, "[[service]]", &service.keys);
            if !service.proxy.is_empty() {
                table(&mut out, "[service.proxy]", &service.proxy);
            }
            for check in &service.checks {
                table(&mut out, "[[service.check]]", check);
            }
            for real in &service.reals {
                table(&mut out, "[[service.real]]", &real.keys);
            }
        }
        out
    }
}

/// `[[service]]`.
#[derive(Clone, Debug, Default)]
pub struct ServiceConf {
    keys: Vec<(String, String)>,
    proxy: Vec<(String, String)>,
    checks: Vec<Vec<(String, String)>>,
    /// Its reals, in file order.
    pub reals: Vec<RealConf>,
}

impl ServiceConf {
    /// `name`, for the VIP at `port`.
    pub fn tcp(name: &str, port: u16) -> ServiceConf {
        ServiceConf::default()
            .with("name", &format!("\"{name}\""))
            .with("vip", &format!("\"{VIP}\""))
            .with("port", &port.to_string())
            .with("protocol", "\"tcp\"")
            .with("mode", "\"dr\"")
    }

    /// As [`ServiceConf::tcp`], for UDP.
    pub fn udp(name: &str, port: u16) -> ServiceConf {
        ServiceConf::tcp(name, port).with("protocol", "\"udp\"")
    }

    /// Sets a key.
    #[must_use]
    pub fn with(mut self, key: &str, toml: &str) -> ServiceConf {
        set(&mut self.keys, key, toml);
        self
    }

    /// Makes it a proxied service, and sets a key of `[service.proxy]`.
    #[must_use]
    pub fn proxy(mut self, key: &str, toml: &str) -> ServiceConf {
        set(&mut self.proxy, key, toml);
        self.with("mode", "\"tproxy\"")
    }

    /// As [`ServiceConf::tcp`], proxied.
    pub fn proxied(name: &str, port: u16) -> ServiceConf {
        ServiceConf::tcp(name, port).with("mode", "\"tproxy\"")
    }

    /// Adds a check from lines like `type = "tcp"`.
    #[must_use]
    pub fn check(mut self, lines: &[(&str, &str)]) -> ServiceConf {
        self.checks.push(
            lines
                .iter()
                .map(|(key, toml)| ((*key).to_owned(), (*toml).to_owned()))
                .collect(),
        );
        self
    }

    /// Adds a real.
    #[must_use]
    pub fn real(mut self, real: RealConf) -> ServiceConf {
        self.reals.push(real);
        self
    }

    /// Adds the IPv4 real servers `numbers` of the topology, named `rsN`.
    #[must_use]
    pub fn reals(mut self, numbers: impl IntoIterator<Item = u8>) -> ServiceConf {
        self.reals.extend(numbers.into_iter().map(RealConf::n));
        self
    }

    /// Adds the IPv4 real servers `numbers` of the routed networks, named `rsN`, dialled at `port`.
    #[must_use]
    pub fn routed(mut self, numbers: impl IntoIterator<Item = u8>, port: u16) -> ServiceConf {
        let real = |n| RealConf::new(&format!("rs{n}"), routed::real(n)).dialled_at(port);
        self.reals.extend(numbers.into_iter().map(real));
        self
    }

    /// As [`ServiceConf::routed`], in IPv6.
    #[must_use]
    pub fn routed6(mut self, numbers: impl IntoIterator<Item = u8>, port: u16) -> ServiceConf {
        let real = |n| RealConf::new(&format!("rs{n}"), routed::real6(n)).dialled_at(port);
        self.reals.extend(numbers.into_iter().map(real));
        self
    }

    /// As [`ServiceConf::reals`], with pinned MACs: nobody needs to answer for them.
    #[must_use]
    pub fn pinned_reals(mut self, numbers: impl IntoIterator<Item = u8>) -> ServiceConf {
        self.reals
            .extend(numbers.into_iter().map(|n| RealConf::n(n).pinned(n)));
        self
    }
}

/// `[[service.real]]`.
#[derive(Clone, Debug, Default)]
pub struct RealConf {
    keys: Vec<(String, String)>,
}

impl RealConf {
    /// A real called `name` at `address`.
    pub fn new(name: &str, address: impl Into<IpAddr>) -> RealConf {
        RealConf::default()
            .with("name", &format!("\"{name}\""))
            .with("address", &format!("\"{}\"", address.into()))
    }

    /// Real server `n` of the topology.
    pub fn n(n: u8) -> RealConf {
        RealConf::new(&format!("rs{n}"), real(n))
    }

    /// The port it is dialled at, in mode tproxy.
    #[must_use]
    pub fn dialled_at(self, port: u16) -> RealConf {
        self.with("port", &port.to_string())
    }

    /// Pins the MAC of real server `n`.
    #[must_use]
    pub fn pinned(self, n: u8) -> RealConf {
        let mac = real_mac(n);
        self.with("mac", &format!("\"{mac}\""))
    }

    /// Sets a key.
    #[must_use]
    pub fn with(mut self, key: &str, toml: &str) -> RealConf {
        set(&mut self.keys, key, toml);
        self
    }
}

/// A tcp check that decides fast: for tests that wait for verdicts.
pub const FAST_TCP_CHECK: &[(&str, &str)] = &[
    ("type", "\"tcp\""),
    ("interval", "\"200ms\""),
    ("fast_interval", "\"100ms\""),
    ("timeout", "\"200ms\""),
    ("rise", "1"),
    ("fall", "2"),
];

fn set(keys: &mut Vec<(String, String)>, key: &str, toml: &str) {
    match keys.iter_mut().find(|(name, _)| name == key) {
        Some((_, value)) => toml.clone_into(value),
        None => keys.push((key.to_owned(), toml.to_owned())),
    }
}

fn table(out: &mut String, header: &str, keys: &[(String, String)]) {
    let _ = writeln!(out, "{header}");
    for (key, toml) in keys {
        let _ = writeln!(out, "{key} = {toml}");
    }
    let _ = writeln!(out);
}
