//! Addresses and times as `haproxy.cfg` writes them.

use std::net::IpAddr;
use std::time::Duration;

/// Where a `bind` listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Where {
    /// At an address of its own.
    At(IpAddr),
    /// At every address of a family: `*`, `:80`, `::`.
    Any { v6: bool },
}

/// `ADDRESS:PORT`, `:PORT`, `*:PORT`, `[V6]:PORT`, `V6:PORT`, with a range of ports; `Err` says why
/// not.
pub(super) fn bound(text: &str) -> Result<(Where, Vec<u16>), &'static str> {
    let text = text.strip_prefix("ipv4@").unwrap_or(text);
    let (text, is_v6) = match text.strip_prefix("ipv6@") {
        Some(text) => (text, true),
        None => (text, false),
    };
    if text.starts_with('/') || text.contains('@') {
        return Err("left out: lbd listens at IP addresses only");
    }
    let (host, ports) = text.rsplit_once(':').ok_or("left out: it has no port")?;
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let (Some(first), Some(last)) = (number(first), number(last)) else {
        return Err("left out: its port is none");
    };
    const MAX_PORTS: u16 = 1024;
    if last < first || last - first >= MAX_PORTS {
        return Err("left out: a service of lbd has at most 1024 ports");
    }
    let host = bare(host);
    let place = match host {
        "" | "*" | "0.0.0.0" => Where::Any { v6: is_v6 },
        "::" => Where::Any { v6: true },
        host => match host.parse::<IpAddr>() {
            Ok(ip) => Where::At(ip.to_canonical()),
            Err(_) => return Err("left out: its address is none; write the address, not a name"),
        },
    };
    Ok((place, (first..=last).collect()))
}

/// A server's host and port. No port is the one the client dialled.
pub(super) fn server(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let text = text.strip_prefix("ipv4@").unwrap_or(text);
    let text = text.strip_prefix("ipv6@").unwrap_or(text);
    if text.starts_with('/') || text.contains('@') {
        return Err("left out: lbd dials IP addresses only");
    }
    let (host, port) = match text.rsplit_once(':') {
        // The colons of a bare IPv6 address are its own.
        _ if text.parse::<IpAddr>().is_ok() => (text, ""),
        Some((host, port)) => (host, port),
        None => (text, ""),
    };
    let host = bare(host);
    if ["", "*", "0.0.0.0", "::"].contains(&host) {
        return Err("left out: it is dialled where the client dialled, and lbd has no such real");
    }
    match port {
        "" | "+0" | "-0" => Ok((host, None)),
        port if port.starts_with(['+', '-']) => {
            Err("left out: no port relative to the client's; write the port itself")
        }
        port => match port.parse() {
            Ok(0) => Ok((host, None)),
            Ok(port) => Ok((host, Some(port))),
            Err(_) => Err("left out: its port is none"),
        },
    }
}

fn bare(host: &str) -> &str {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host)
}

/// A time; milliseconds where it has no unit.
pub(super) fn time(text: &str) -> Option<Duration> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "us" => return Some(Duration::from_micros(number)),
        "" | "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        "d" => number.checked_mul(86_400_000),
        _ => None,
    };
    millis.map(Duration::from_millis)
}
