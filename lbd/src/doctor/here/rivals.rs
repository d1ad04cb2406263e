//! Others on this host that want the same VIPs: IPVS (ipvsadm, keepalived) and kube-proxy.

use crate::live::event::Link;
use crate::nft;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

/// Those of `vips` that IPVS has virtual services at, in this network namespace.
pub(super) fn ipvs(vips: &[IpAddr]) -> Vec<IpAddr> {
    let text = fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap_or_default();
    let mut found: Vec<IpAddr> = text.lines().filter_map(virtual_service).collect();
    found.retain(|address| vips.contains(address));
    found.sort_unstable();
    found.dedup();
    found
}

/// The address of a virtual service in `/proc/net/ip_vs` (net/netfilter/ipvs/ip_vs_ctl.c): eight
/// hexadecimal digits, or an IPv6 address in brackets, and the port.
pub(super) fn virtual_service(line: &str) -> Option<IpAddr> {
    let mut words = line.split_ascii_whitespace();
    if !matches!(words.next()?, "TCP" | "UDP" | "SCTP") {
        return None;
    }
    let (address, _) = words.next()?.rsplit_once(':')?;
    match address.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => {
            let bits = u32::from_str_radix(address, 16).ok()?;
            Some(IpAddr::V4(Ipv4Addr::from_bits(bits)))
        }
    }
}

/// Those of `vips` that kube-proxy serves here, and by what that is seen. Chains of iptables' old
/// kernel interface are not seen.
pub(super) async fn kube_proxy(vips: &[IpAddr], links: &[Link]) -> Vec<(IpAddr, &'static str)> {
    if vips.is_empty() {
        return Vec::new();
    }
    let dummy = links.iter().find(|link| link.name == "kube-ipvs0");
    let mut found = Vec::new();
    for vip in vips {
        if dummy.is_some_and(|link| link.addresses.iter().any(|(a, _)| a == vip)) {
            found.push((*vip, "its interface kube-ipvs0 has it"));
        }
    }
    for (arguments, seen) in [
        (
            ["list", "map", "ip", "kube-proxy", "service-ips"],
            "its nft map has it",
        ),
        (
            ["list", "map", "ip6", "kube-proxy", "service-ips"],
            "its nft map has it",
        ),
        (
            ["list", "chain", "ip", "nat", "KUBE-SERVICES"],
            "its iptables chain has it",
        ),
        (
            ["list", "chain", "ip6", "nat", "KUBE-SERVICES"],
            "its iptables chain has it",
        ),
    ] {
        let Ok(Some(listing)) = nft::listing(&arguments).await else {
            continue;
        };
        let has = |vip: &&IpAddr| mentions(&listing, **vip);
        found.extend(vips.iter().filter(has).map(|vip| (*vip, seen)));
    }
    found.sort_unstable();
    found.dedup_by_key(|(vip, _)| *vip);
    found
}

/// Whether a listing names this address, and not only one that contains its text.
pub(super) fn mentions(listing: &str, address: IpAddr) -> bool {
    let no_part = |c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':');
    listing
        .split(no_part)
        .any(|word| word.parse() == Ok(address))
}
