//! Whether this host has a VIP itself, and whether its kernel answers for it.

use crate::live::event::Link;
use lbcore::vip::Ownership;
use std::net::IpAddr;
use std::path::Path;

/// Linux answers ARP for an address of *any* interface, unless `arp_ignore` says otherwise, and
/// neighbour solicitation only for the interface's own (net/ipv4/arp.c `arp_ignore`,
/// net/ipv6/ndisc.c `ndisc_recv_ns`).
pub(super) fn ownership(vip: IpAddr, link: &Link, links: &[Link]) -> Ownership {
    let has = |link: &Link| link.addresses.iter().any(|(address, _)| *address == vip);
    let here = has(link);
    if !here && !links.iter().any(has) {
        return Ownership::None;
    }
    let answers = match vip {
        IpAddr::V4(_) => answers_arp(arp_ignore(&link.name), here),
        IpAddr::V6(_) => here,
    };
    if answers {
        Ownership::Kernel
    } else {
        Ownership::Mute
    }
}

/// Documentation/networking/ip-sysctl.rst: 0 any local address, 1 and 2 the interface's own (2: to
/// askers of the same subnet), 3 not those of scope host, 8 none.
fn answers_arp(arp_ignore: u32, here: bool) -> bool {
    match arp_ignore {
        0 => true,
        1..=7 => here,
        _ => false,
    }
}

/// The value in force: the higher of `all` and the interface's.
fn arp_ignore(interface: &str) -> u32 {
    let read = |name: &str| {
        let path = Path::new("/proc/sys/net/ipv4/conf")
            .join(name)
            .join("arp_ignore");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    read("all").unwrap_or(0).max(read(interface).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbcore::net::MacAddr;

    fn link(name: &str, addresses: &[&str]) -> Link {
        Link {
            ifindex: 1,
            // No such interface: its arp_ignore reads as 0.
            name: format!("no-{name}"),
            mac: MacAddr::new(2, 0, 0, 0, 0, 1),
            mtu: 1500,
            up: true,
            carrier: true,
            addresses: addresses
                .iter()
                .map(|a| (a.parse().expect("address"), 32))
                .collect(),
        }
    }

    #[test]
    fn an_ipv6_address_elsewhere_is_not_answered_for_here() {
        let links = [
            link("lo", &["2001:db8::1"]),
            link("eth0", &["192.0.2.1", "2001:db8::2"]),
        ];
        let of = |vip: &str| ownership(vip.parse().expect("vip"), &links[1], &links);
        assert_eq!(of("192.0.2.9"), Ownership::None);
        assert_eq!(of("192.0.2.1"), Ownership::Kernel);
        assert_eq!(of("2001:db8::1"), Ownership::Mute);
        assert_eq!(of("2001:db8::2"), Ownership::Kernel);
    }

    #[test]
    fn arp_ignore_decides_for_ipv4() {
        for (arp_ignore, here, elsewhere) in [
            (0, true, true),
            (1, true, false),
            (2, true, false),
            (3, true, false),
            (8, false, false),
        ] {
            assert_eq!(answers_arp(arp_ignore, true), here, "{arp_ignore}");
            assert_eq!(answers_arp(arp_ignore, false), elsewhere, "{arp_ignore}");
        }
    }
}
