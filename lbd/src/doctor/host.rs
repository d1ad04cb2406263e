//! What this host's kernel says of itself, read from `/proc`.

use crate::live::event::Link;
use std::fs;
use std::net::IpAddr;

/// How the kernel filters by the way back (ip-sysctl.rst, `rp_filter`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReversePath {
    /// Interfaces that filter strictly (1).
    pub strict: Vec<String>,
    /// Interfaces up with an IPv4 address: with one alone there is but one way back.
    pub interfaces: usize,
    /// IPv4 packets dropped for it since this host started (netstat's IPReversePathFilter).
    pub dropped: u64,
}

/// Of the interfaces that are up and have an IPv4 address. IPv6 has no such filter in the kernel.
pub fn rp_filter(links: &[Link]) -> ReversePath {
    let carries = |l: &&Link| l.up && l.addresses.iter().any(|(a, _)| is_plain_v4(*a));
    let used: Vec<&Link> = links.iter().filter(carries).collect();
    let all = sysctl("ipv4/conf/all/rp_filter").unwrap_or(0);
    // The larger of the two counts.
    let strict = used.iter().filter(|link| {
        let own = sysctl(&format!("ipv4/conf/{}/rp_filter", link.name)).unwrap_or(0);
        all.max(own) == 1
    });
    ReversePath {
        strict: strict.map(|link| link.name.clone()).collect(),
        interfaces: used.len(),
        dropped: netstat("TcpExt", "IPReversePathFilter").unwrap_or(0),
    }
}

fn is_plain_v4(address: IpAddr) -> bool {
    address.is_ipv4() && !address.is_loopback()
}

/// Whether this host forwards packets of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

/// What cannot be read is taken as on: a note less.
pub fn forwarding() -> Forwarding {
    let on = |key| sysctl(key).is_none_or(|value| value != 0);
    Forwarding {
        v4: on("ipv4/ip_forward"),
        v6: on("ipv6/conf/all/forwarding"),
    }
}

/// How many ports there are for connections whose port the kernel chooses (ip-sysctl.rst,
/// `ip_local_port_range`; IPv6 uses the same).
pub fn port_range() -> Option<u64> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = text
        .split_whitespace()
        .filter_map(|n| n.parse::<u64>().ok());
    let (low, high) = (ends.next()?, ends.next()?);
    Some((high + 1).saturating_sub(low))
}

fn sysctl(key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/sys/net/{key}")).ok()?;
    text.trim().parse().ok()
}

/// One counter of /proc/net/netstat: a line of names and a line of values for each group.
fn netstat(group: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/netstat").ok()?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(group));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|n| n == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}
