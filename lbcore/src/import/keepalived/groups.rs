//! `virtual_server_group`: VIPs and ports by a name.

use super::super::plan::Plan;
use super::syntax::Node;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Addresses of one range, and of one group: no service of lbd has more VIPs.
const MAX_RANGE: u128 = 1024;

/// The groups of a file.
pub(super) struct Groups<'n>(BTreeMap<&'n str, &'n Node>);

impl<'n> Groups<'n> {
    /// Of the whole file: a group may stand below its virtual server.
    pub(super) fn of(nodes: &'n [Node]) -> Groups<'n> {
        let groups = nodes
            .iter()
            .filter(|node| node.name() == "virtual_server_group");
        Groups(groups.map(|node| (node.word(1), node)).collect())
    }

    /// The VIP:port pairs of one; `None` if there is none.
    pub(super) fn endpoints(&self, plan: &mut Plan<'_>, name: &str) -> Option<Vec<(IpAddr, u16)>> {
        let group = self.0.get(name)?;
        let mut endpoints = Vec::new();
        for entry in group.children() {
            let origin = entry.origin();
            if entry.name() == "fwmark" {
                plan.tell(&origin, "left out: lbd has no firewall marks");
                continue;
            }
            let port = match entry.word(1) {
                "" => Ok(0),
                port => port.parse::<u16>(),
            };
            let (Ok(port), Some(range)) = (port, range(entry.name())) else {
                plan.tell(
                    &origin,
                    "left out: neither an address nor a range, with a port",
                );
                continue;
            };
            if endpoints.len() + range.len() > MAX_RANGE as usize {
                plan.tell(
                    &origin,
                    format!("left out: more than {MAX_RANGE} VIPs in one group"),
                );
                continue;
            }
            endpoints.extend(range.into_iter().map(|vip| (vip, port)));
        }
        Some(endpoints)
    }
}

/// `192.0.2.1`, `192.0.2.1-10`, `192.0.2.250-192.0.3.10`, `192.0.2.8/29`; IPv6 likewise.
fn range(text: &str) -> Option<Vec<IpAddr>> {
    if let Some((address, len)) = text.split_once('/') {
        let (first, v4): (u128, bool) = number(address.parse().ok()?);
        let width = if v4 { 32 } else { 128 };
        let host_bits = u32::checked_sub(width, len.parse().ok()?)?;
        let count = 1_u128.checked_shl(host_bits)?;
        let first = first & !(count.checked_sub(1)?);
        return addresses(first, first.checked_add(count - 1)?, v4);
    }
    let Some((first, last)) = text.split_once('-') else {
        return Some(vec![text.parse().ok()?]);
    };
    let first: IpAddr = first.parse().ok()?;
    let last = match last.parse::<IpAddr>() {
        Ok(last) => last,
        Err(_) => last_part(first, last)?,
    };
    let ((from, v4), (to, also_v4)) = (number(first), number(last));
    (v4 == also_v4).then(|| addresses(from, to, v4))?
}

/// The address with its last part replaced.
fn last_part(first: IpAddr, last: &str) -> Option<IpAddr> {
    Some(match first {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            [a, b, c, last.parse().ok()?].into()
        }
        IpAddr::V6(v6) => {
            let mut parts = v6.segments();
            parts[7] = u16::from_str_radix(last, 16).ok()?;
            parts.into()
        }
    })
}

fn number(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), true),
        IpAddr::V6(v6) => (v6.to_bits(), false),
    }
}

fn addresses(first: u128, last: u128, v4: bool) -> Option<Vec<IpAddr>> {
    if last < first || last - first >= MAX_RANGE {
        return None;
    }
    let address = |number: u128| match v4 {
        true => u32::try_from(number)
            .ok()
            .map(|bits| IpAddr::V4(bits.into())),
        false => Some(IpAddr::V6(number.into())),
    };
    (first..=last).map(address).collect()
}
