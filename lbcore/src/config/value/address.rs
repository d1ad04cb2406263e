//! Addresses, each as strict as its use asks.

use super::super::faults::Fault;
use super::{quote, string};
use crate::net::{MacAddr, Prefix};
use std::net::{IpAddr, SocketAddr};
use toml::de::DeValue;

/// An IPv4 or IPv6 address, nothing around it.
pub(in super::super) fn ip(value: &DeValue<'_>) -> Result<IpAddr, Fault> {
    let text = string(value)?;
    let Ok(ip) = text.parse::<IpAddr>() else {
        let fault = Fault::new(format!("{} is not an IP address", quote(&text)));
        return Err(if text.parse::<SocketAddr>().is_ok() {
            fault.help("the port goes into its own key, `port`")
        } else if text.contains('/') {
            fault.help("one address, without a prefix length")
        } else if text.contains('%') {
            fault.help("without a zone: the interface goes into its own key")
        } else {
            fault.help("an IPv4 or IPv6 address; names are not looked up")
        });
    };
    if let IpAddr::V6(v6) = ip
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        let fault = Fault::new(format!("{text} is an IPv4 address in IPv6 clothes"));
        return Err(fault.help(format!("write \"{v4}\"")));
    }
    Ok(ip)
}

/// An address a machine on a network can have.
pub(in super::super) fn host(value: &DeValue<'_>) -> Result<IpAddr, Fault> {
    let ip = ip(value)?;
    let sort = match ip {
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V4(v4) if v4.octets()[0] == 0 => "an address of no machine (RFC 1122, 3.2.1.3)",
        _ if ip.is_unspecified() => "the unspecified address",
        _ if ip.is_loopback() => "a loopback address",
        _ if ip.is_multicast() => "a multicast address",
        _ => return Ok(ip),
    };
    Err(Fault::new(format!("{ip} is {sort}")).help("an address of one machine is wanted"))
}

/// An address clients can dial from afar.
pub(in super::super) fn vip(value: &DeValue<'_>) -> Result<IpAddr, Fault> {
    let ip = host(value)?;
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if link_local {
        let fault = Fault::new(format!("{ip} is a link-local address"));
        return Err(fault.help("clients behind a router could never dial it"));
    }
    Ok(ip)
}

/// An address or a network, such as `198.51.100.0/24`.
pub(in super::super) fn prefix(value: &DeValue<'_>) -> Result<Prefix, Fault> {
    let text = string(value)?;
    text.parse().map_err(|_| {
        Fault::new(format!("{} is not a network", quote(&text)))
            .help("an address with the number of bits that count, such as \"198.51.100.0/24\"")
    })
}

/// Where the metrics page listens; `None` is `"off"`.
pub(in super::super) fn listen(value: &DeValue<'_>) -> Result<Option<SocketAddr>, Fault> {
    let text = string(value)?;
    if text == "off" {
        return Ok(None);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(Some(address)),
        _ => {
            let fault = Fault::new(format!("{} is not an address with a port", quote(&text)));
            Err(fault.help("such as \"127.0.0.1:9380\" or \"[::1]:9380\", or \"off\""))
        }
    }
}

/// The MAC address of one network card.
pub(in super::super) fn mac(value: &DeValue<'_>) -> Result<MacAddr, Fault> {
    let text = string(value)?;
    let pairs: Vec<&str> = text.split(':').collect();
    let well_formed = pairs.len() == 6
        && pairs
            .iter()
            .all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
    let Some(mac) = text.parse::<MacAddr>().ok().filter(|_| well_formed) else {
        let fault = Fault::new(format!("{} is not a MAC address", quote(&text)));
        return Err(fault.help("six pairs of hex digits, such as \"02:00:00:00:00:21\""));
    };
    let sort = match mac {
        _ if mac.is_zero() => "no address at all",
        _ if mac.is_broadcast() => "the broadcast address",
        _ if mac.is_multicast() => "a multicast address (lowest bit of the first byte)",
        _ => return Ok(mac),
    };
    Err(Fault::new(format!("{mac} is {sort}")).help("the MAC address of one card is wanted"))
}
