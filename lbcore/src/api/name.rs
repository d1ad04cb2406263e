//! Services and reals as people name them.

use crate::net::{Addr, Protocol, ServiceKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A service as people name it: its name, or `VIP:PORT/PROTO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceRef {
    /// Its unique name.
    Name(String),
    /// One of its endpoints.
    Endpoint(ServiceKey),
}

impl ServiceRef {
    /// Whether the service with this name, these VIPs and ports, and this protocol is meant.
    pub fn matches(&self, name: &str, vips: &[IpAddr], ports: &[u16], protocol: Protocol) -> bool {
        match self {
            ServiceRef::Name(wanted) => wanted == name,
            ServiceRef::Endpoint(key) => {
                key.protocol == protocol
                    && ports.contains(&key.port)
                    && vips.contains(&key.vip.ip())
            }
        }
    }
}

impl From<&str> for ServiceRef {
    /// Never fails: whatever is no endpoint is a name.
    fn from(text: &str) -> Self {
        let endpoint = || {
            let (address, protocol) = text.rsplit_once('/')?;
            let address: SocketAddr = address.parse().ok()?;
            let protocol = match protocol {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                _ => return None,
            };
            Some(ServiceKey {
                vip: Addr::from(address.ip()),
                port: address.port(),
                protocol,
            })
        };
        endpoint().map_or_else(|| ServiceRef::Name(text.into()), ServiceRef::Endpoint)
    }
}

impl Serialize for ServiceRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServiceRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(ServiceRef::from(
            String::deserialize(deserializer)?.as_str(),
        ))
    }
}

impl fmt::Display for ServiceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceRef::Name(name) => f.write_str(name),
            ServiceRef::Endpoint(key) => key.fmt(f),
        }
    }
}

/// A real as people name it: its name in the service, its address, or its address with the port its
/// traffic goes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealRef(pub String);

impl RealRef {
    /// Whether the real with this name, address and port is meant.
    pub fn matches(&self, name: &str, address: IpAddr, port: u16) -> bool {
        self.0 == name
            || self.0.parse() == Ok(address)
            || self.0.parse() == Ok(SocketAddr::new(address, port))
    }
}

impl RealRef {
    /// The only one of `reals` that is meant, of each its name, address and port. A name says more
    /// than an address.
    ///
    /// # Errors
    /// The positions of all that may be meant: none, or several with one address.
    pub fn find<'a>(
        &self,
        reals: impl Iterator<Item = (&'a str, IpAddr, u16)>,
    ) -> Result<usize, Vec<usize>> {
        let mut meant = Vec::new();
        for (at, (name, address, port)) in reals.enumerate() {
            if self.0 == name {
                return Ok(at);
            }
            if self.matches(name, address, port) {
                meant.push(at);
            }
        }
        match meant.as_slice() {
            [one] => Ok(*one),
            _ => Err(meant),
        }
    }
}

impl From<&str> for RealRef {
    fn from(text: &str) -> Self {
        RealRef(text.into())
    }
}

impl fmt::Display for RealRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_or_dialled() {
        let vips: Vec<IpAddr> = ["192.0.2.10", "2001:db8::10"]
            .iter()
            .map(|a| a.parse().unwrap())
            .collect();
        for (text, meant) in [
            ("web", true),
            ("web2", false),
            ("192.0.2.10:443/tcp", true),
            ("[2001:db8::10]:80/tcp", true),
            ("192.0.2.10:443/udp", false),
            ("192.0.2.10:22/tcp", false),
            ("192.0.2.11:443/tcp", false),
            ("192.0.2.10:443", false),
        ] {
            let matches = ServiceRef::from(text).matches("web", &vips, &[443, 80], Protocol::Tcp);
            assert_eq!(matches, meant, "{text}");
        }
    }

    #[test]
    fn a_real_is_named_or_addressed() {
        let address: IpAddr = "2001:db8::21".parse().unwrap();
        for (text, meant) in [
            ("rs1", true),
            ("2001:db8:0::21", true),
            ("[2001:db8::21]:8443", true),
            ("[2001:db8::21]:443", false),
            ("2001:db8::22", false),
            ("rs2", false),
        ] {
            let matches = RealRef::from(text).matches("rs1", address, 8443);
            assert_eq!(matches, meant, "{text}");
        }
    }

    #[test]
    fn an_address_of_several_reals_names_none_of_them() {
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let reals = [("a", address, 8443), ("b", address, 9443)];
        let find = |text: &str| RealRef::from(text).find(reals.into_iter());
        assert_eq!(find("b"), Ok(1));
        assert_eq!(find("10.0.0.1:9443"), Ok(1));
        assert_eq!(find("10.0.0.1"), Err(vec![0, 1]));
        assert_eq!(find("10.0.0.2"), Err(vec![]));
        assert_eq!(
            RealRef::from("10.0.0.1")
                .find([("10.0.0.1", address, 1), ("b", address, 2)].into_iter()),
            Ok(0)
        );
    }
}
