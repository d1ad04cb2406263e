//! ICMP errors about a flow (RFC 792, RFC 4443): they quote the start of a packet that a real
//! sent to the client, and belong to the flow of that packet.

use super::ip::{Datagram, Family, Form, accept_addresses, martian};
use super::packet::Reason;
use super::{FlowKey, Protocol, ServiceKey, ipv4, ipv6, transport};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// ICMP's own header, before the quotation.
const HEADER: usize = 8;

/// The flow, seen from the client, of the packet that an ICMP error quotes. `None` for anything
/// that is no error about a TCP or UDP packet: echo, neighbour discovery, source quench (RFC
/// 6633) and redirects, which nobody may send to a server through us.
///
/// # Errors
/// `Malformed` when the quotation is cut short, or was not sent by the address the error goes to;
/// `Fragment` when it shows no ports; `Martian` for a sender that cannot be.
#[inline]
pub(super) fn flow_of_error(ip: &Datagram<'_>) -> Result<Option<FlowKey>, Reason> {
    // Fragmented errors and errors with IP options do not happen; what looks so is nothing ours.
    if ip.form != Form::Whole {
        return Ok(None);
    }
    let Some(&kind) = ip.payload.first() else {
        return Ok(None);
    };
    match (ip.family, ip.protocol, kind) {
        // Destination unreachable, time exceeded, parameter problem.
        (Family::V4, ICMP, 3 | 11 | 12) => quoted_flow(ip, ipv4::open_quoted),
        // Destination unreachable, packet too big, time exceeded, parameter problem.
        (Family::V6, ICMPV6, 1..=4) => quoted_flow(ip, ipv6::open_quoted),
        _ => Ok(None),
    }
}

#[cold]
fn quoted_flow(
    ip: &Datagram<'_>,
    open: fn(&[u8]) -> Result<Datagram<'_>, Reason>,
) -> Result<Option<FlowKey>, Reason> {
    accept_addresses(ip)?;
    let Some(quotation) = ip.payload.get(HEADER..) else {
        return Err(Reason::Malformed("ICMP error cut short"));
    };
    let quoted = open(quotation)?;
    if quoted.source != ip.destination {
        return Err(Reason::Malformed(
            "ICMP error quotes a packet its addressee did not send",
        ));
    }
    if martian(quoted.destination, quoted.family) {
        return Err(Reason::Malformed("ICMP error quotes a packet to no client"));
    }
    let Some(protocol) = Protocol::from_number(quoted.protocol) else {
        return Ok(None);
    };
    if quoted.form == Form::LaterFragment {
        return Err(Reason::Fragment);
    }
    let Some((source_port, destination_port)) = transport::quoted_ports(quoted.payload) else {
        return Err(Reason::Malformed(
            "ICMP error quotes too little of a packet",
        ));
    };
    Ok(Some(FlowKey {
        client: quoted.destination,
        client_port: destination_port,
        service: ServiceKey {
            vip: quoted.source,
            port: source_port,
            protocol,
        },
    }))
}
