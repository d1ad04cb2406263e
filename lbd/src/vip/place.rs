//! On which interfaces a VIP is announced.

use crate::live::event::Link;
use lbcore::net::MacAddr;
use std::net::IpAddr;

/// The interfaces of `configured` that have an on-link prefix containing `vip`; if none has, all
/// of them, since the VIP's clients may come from anywhere behind any.
pub fn interfaces_for(vip: IpAddr, links: &[Link], configured: &[String]) -> Vec<String> {
    let on_link: Vec<String> = configured
        .iter()
        .filter(|name| {
            links.iter().any(|link| {
                link.name == **name
                    && link.mac != MacAddr::zero()
                    && link
                        .addresses
                        .iter()
                        .any(|(address, prefix)| contains(*address, *prefix, vip))
            })
        })
        .cloned()
        .collect();
    if on_link.is_empty() {
        configured.to_vec()
    } else {
        on_link
    }
}

/// Whether `vip` lies in the network of `address/prefix`.
fn contains(address: IpAddr, prefix: u8, vip: IpAddr) -> bool {
    match (address, vip) {
        (IpAddr::V4(a), IpAddr::V4(v)) => {
            let host = 32u32.saturating_sub(prefix.into());
            (a.to_bits() ^ v.to_bits()).checked_shr(host).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(v)) => {
            let host = 128u32.saturating_sub(prefix.into());
            (a.to_bits() ^ v.to_bits()).checked_shr(host).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, addresses: &[(&str, u8)]) -> Link {
        Link {
            ifindex: 1,
            name: name.into(),
            mac: MacAddr::new(2, 0, 0, 0, 0, 1),
            mtu: 1500,
            up: true,
            carrier: true,
            addresses: addresses
                .iter()
                .map(|(a, p)| (a.parse().expect("address"), *p))
                .collect(),
        }
    }

    #[test]
    fn a_vip_goes_where_its_prefix_is_on_link_else_everywhere() {
        let links = [
            link(
                "eth0",
                &[("192.0.2.1", 24), ("2001:db8::1", 64), ("fe80::1", 64)],
            ),
            link("eth1", &[("198.51.100.1", 25)]),
            link("eth2", &[("192.0.2.2", 24)]),
        ];
        let configured = ["eth0".to_string(), "eth1".to_string()];
        for (vip, expected) in [
            ("192.0.2.10", vec!["eth0"]),
            ("198.51.100.127", vec!["eth1"]),
            ("198.51.100.128", vec!["eth0", "eth1"]),
            ("203.0.113.1", vec!["eth0", "eth1"]),
            ("2001:db8::10", vec!["eth0"]),
            ("2001:db8:1::10", vec!["eth0", "eth1"]),
        ] {
            let found = interfaces_for(vip.parse().expect("vip"), &links, &configured);
            assert_eq!(found, expected, "{vip}");
        }
    }

    #[test]
    fn prefix_lengths_at_both_ends() {
        let v4 = |s: &str| s.parse::<IpAddr>().expect("address");
        assert!(contains(v4("192.0.2.1"), 32, v4("192.0.2.1")));
        assert!(!contains(v4("192.0.2.1"), 32, v4("192.0.2.2")));
        assert!(contains(v4("192.0.2.1"), 0, v4("203.0.113.9")));
        assert!(contains(v4("::1"), 0, v4("2001:db8::1")));
        assert!(!contains(v4("192.0.2.1"), 0, v4("2001:db8::1")));
    }
}
