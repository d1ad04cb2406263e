//! Names of hosts and ports, as this machine knows them.

use lbcore::import::Names;
use std::cell::Cell;
use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

/// An import waits no longer for name servers, all names together.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks the resolver of this host, and its `/etc/services`.
pub struct Local {
    ports: HashMap<(String, bool), u16>,
    waited: Cell<Duration>,
}

impl Local {
    /// Reads `/etc/services`; where there is none, ports have no names.
    pub fn new() -> Local {
        let text = std::fs::read_to_string("/etc/services").unwrap_or_default();
        Local {
            ports: ports(&text),
            waited: Cell::new(Duration::ZERO),
        }
    }
}

impl Names for Local {
    fn host(&self, name: &str) -> Option<IpAddr> {
        let fit = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let is_name = (1..=253).contains(&name.len()) && name.bytes().all(fit);
        if !is_name || self.waited.get() >= PATIENCE {
            return None;
        }
        let start = Instant::now();
        let found: Vec<IpAddr> = match (name, 0).to_socket_addrs() {
            Ok(addresses) => addresses.map(|address| address.ip()).collect(),
            Err(_) => Vec::new(),
        };
        self.waited.set(self.waited.get() + start.elapsed());
        let v4 = found.iter().find(|ip| ip.is_ipv4());
        v4.or(found.first()).copied()
    }

    fn port(&self, name: &str, udp: bool) -> Option<u16> {
        self.ports.get(&(name.to_owned(), udp)).copied()
    }
}

/// services(5): `name port/protocol aliases ...`; of two lines with a name the first counts.
fn ports(text: &str) -> HashMap<(String, bool), u16> {
    let mut ports = HashMap::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let (Some(name), Some(place)) = (words.next(), words.next()) else {
            continue;
        };
        let (port, udp) = match place.split_once('/') {
            Some((port, "tcp")) => (port, false),
            Some((port, "udp")) => (port, true),
            _ => continue,
        };
        let Ok(port) = port.parse::<u16>() else {
            continue;
        };
        for name in std::iter::once(name).chain(words) {
            ports.entry((name.to_owned(), udp)).or_insert(port);
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_names_and_aliases() {
        let text = "# well known\nhttp 80/tcp www # WorldWideWeb\ndomain 53/tcp\ndomain\t53/udp\n\
                    odd x/tcp\nhttp 8080/tcp\n";
        let ports = ports(text);
        for (name, udp, port) in [
            ("http", false, Some(80)),
            ("www", false, Some(80)),
            ("http", true, None),
            ("domain", true, Some(53)),
            ("odd", false, None),
        ] {
            assert_eq!(ports.get(&(name.to_owned(), udp)).copied(), port, "{name}");
        }
    }

    #[test]
    fn numbers_and_localhost_need_no_server() {
        let local = Local::new();
        assert_eq!(local.host("192.0.2.7"), "192.0.2.7".parse().ok());
        assert!(local.host("localhost").is_some_and(|ip| ip.is_loopback()));
        assert_eq!(local.host("no such name"), None);
        assert_eq!(local.host(""), None);
    }
}
