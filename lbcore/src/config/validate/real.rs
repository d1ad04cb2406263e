//! `[[service.real]]`

use super::super::faults::Fault;
use super::super::model::{Admin, Mode, Real};
use super::super::raw::Section;
use super::super::{value, words};
use super::claims::{Claims, Machine};
use std::net::IpAddr;
use toml::Spanned;

/// IPVS's and keepalived's customary range.
const MAX_WEIGHT: u32 = 256;

/// Reads one real, and its address with its place.
///
/// Its address family need not be the VIP's: in mode dr the address only finds the machine's MAC
/// address, and the frame goes on as it came.
pub(super) fn real(
    s: &Section<'_>,
    mode: Option<Mode>,
    ports: &[Spanned<u16>],
    claims: &mut Claims,
) -> Option<(Real, Spanned<IpAddr>)> {
    let address = s.required("address", value::host);
    if let Some(address) = &address {
        claims.machine(Machine {
            address: address.clone(),
            path: s.path_of("address"),
            reason: "a real is reached at an address of its own, besides the VIP",
        });
    }
    let bound = s.get("max_connections", value::connections);
    let own_port = match mode {
        Some(Mode::Dr) => {
            port(s, ports);
            dr_cannot(s, bound.as_ref());
            None
        }
        Some(Mode::Tproxy) => {
            tproxy_cannot(s);
            s.get("port", value::port).map(|port| port.into_inner())
        }
        None => None,
    };
    let name = s.get("name", value::real_name);
    if let (Some(name), Some(address)) = (&name, &address)
        && name
            .get_ref()
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip != *address.get_ref())
    {
        let fault = Fault::new(format!("`{}` is another machine's address", name.get_ref()))
            .help("a name that reads as an address is its own address");
        s.faults.error(name.span(), &s.path_of("name"), fault);
    }
    let weight = value::integer("a weight", 0, MAX_WEIGHT);
    let description = s.get_or("description", value::text, String::new());
    let labels = s.get_or("labels", value::labels, Default::default());
    let weight = s
        .get("weight", weight)
        .map_or(1, |weight| weight.into_inner() as u16);
    let admin = s.get_or("admin", |v| words::ADMIN.read(v), Admin::Enabled);
    let mac = s.get("mac", value::mac).map(|mac| mac.into_inner());
    let interface = s
        .get("interface", value::interface)
        .map(|name| name.into_inner());
    let backup = s.get_or("backup", value::boolean, false);

    let address = address?;
    let real = Real {
        name: name.map_or_else(|| address.get_ref().to_string(), |name| name.into_inner()),
        description,
        labels,
        address: *address.get_ref(),
        port: own_port,
        weight,
        admin,
        mac,
        interface,
        backup,
        max_connections: bound.map_or(0, Spanned::into_inner),
    };
    Some((real, address))
}

/// In mode dr the packet goes on with the port the client dialled: no other can be had.
fn port(s: &Section<'_>, ports: &[Spanned<u16>]) {
    let Some(port) = s.get("port", value::port) else {
        return;
    };
    if ports.is_empty() || matches!(ports, [only] if only.get_ref() == port.get_ref()) {
        return;
    }
    let dialled: Vec<String> = ports
        .iter()
        .map(|port| port.get_ref().to_string())
        .collect();
    let message = format!(
        "in mode dr packets reach a real at the port the client dialled ({}), not at {}",
        dialled.join(", "),
        port.get_ref()
    );
    let fault = Fault::new(message)
        .help("leave `port` out, and let the real listen on the VIP's port: dr changes MAC addresses only");
    s.faults.error(port.span(), &s.path_of("port"), fault);
}

/// In mode dr nobody counts connections: packets of a full real have nowhere to wait.
fn dr_cannot(s: &Section<'_>, bound: Option<&Spanned<u32>>) {
    if let Some(bound) = bound.filter(|bound| *bound.get_ref() > 0) {
        let fault = Fault::new("`max_connections` is for mode tproxy")
            .help("in mode dr, give the real less weight, or let it refuse connections itself");
        s.faults
            .error(bound.span(), &s.path_of("max_connections"), fault);
    }
}

/// In mode tproxy the host's routes find the real, as they find any other machine.
fn tproxy_cannot(s: &Section<'_>) {
    for key in ["mac", "interface"] {
        if s.has(key) {
            let fault = Fault::new(format!("`{key}` is for mode dr"))
                .help("a proxied real is reached by this host's routes: leave it out");
            s.faults.error(s.key_span(key), &s.path_of(key), fault);
        }
    }
}
