//! IPv6 headers and the extension headers before a transport (RFC 8200).

use super::Addr;
use super::ip::{Datagram, Family, Form};
use super::packet::Reason;
use pnet_packet::ipv6::Ipv6Packet;

/// Extension headers that are followed; more are refused as options. Real clients send none or
/// one, and the bound keeps a hostile frame cheap.
pub const MAX_EXTENSIONS: usize = 8;

/// Bytes of extension headers that are followed, for the same reason.
pub const MAX_EXTENSION_BYTES: usize = 256;

const HEADER: usize = 40;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Opens a packet that a frame carries whole. Behind `superframe` the kernel may leave the
/// payload length at zero (packets beyond 64 KiB): then the frame's end is the packet's.
#[inline]
pub(super) fn open(bytes: &[u8], superframe: bool) -> Result<Datagram<'_>, Reason> {
    let view = header(bytes)?;
    let total = match usize::from(view.get_payload_length()) {
        0 if superframe => bytes.len(),
        length => HEADER + length,
    };
    let Some(payload) = bytes.get(HEADER..total) else {
        return Err(Reason::Malformed("IPv6 payload length beyond the frame"));
    };
    datagram(&view, payload, total)
}

/// Opens a packet that an ICMP error quotes, which ends wherever the quotation does.
pub(super) fn open_quoted(bytes: &[u8]) -> Result<Datagram<'_>, Reason> {
    let view = header(bytes)?;
    datagram(&view, &bytes[HEADER..], bytes.len())
}

#[inline]
fn header(bytes: &[u8]) -> Result<Ipv6Packet<'_>, Reason> {
    let Some(view) = Ipv6Packet::new(bytes) else {
        return Err(Reason::Malformed("IPv6 header cut short"));
    };
    if view.get_version() != 6 {
        return Err(Reason::Malformed("IPv6 version is not 6"));
    }
    Ok(view)
}

#[inline]
fn datagram<'a>(
    view: &Ipv6Packet<'_>,
    payload: &'a [u8],
    total: usize,
) -> Result<Datagram<'a>, Reason> {
    let first = view.get_next_header().0;
    let (protocol, form, payload) = match first {
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS => follow(first, payload)?,
        protocol => (protocol, Form::Whole, payload),
    };
    Ok(Datagram {
        family: Family::V6,
        source: Addr::v6(view.get_source().octets()),
        destination: Addr::v6(view.get_destination().octets()),
        protocol,
        form,
        payload,
        total,
    })
}

/// Follows extension headers to the first thing that is none. All but the fragment header give
/// their length in 8-byte units beyond the first at their second byte.
#[cold]
fn follow(first: u8, payload: &[u8]) -> Result<(u8, Form, &[u8]), Reason> {
    let (mut next, mut rest, mut followed) = (first, payload, 0);
    for position in 0..=MAX_EXTENSIONS {
        if !matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS) {
            return Ok((next, Form::Whole, rest));
        }
        if position == MAX_EXTENSIONS {
            break;
        }
        let Some(&[following, units, third, fourth, ..]) = rest.first_chunk::<8>() else {
            return Err(Reason::Malformed("IPv6 extension header cut short"));
        };
        let length = 8 + usize::from(units) * 8;
        match next {
            FRAGMENT => {
                let offset = u16::from_be_bytes([third, fourth]) >> 3;
                return fragment(following, offset, &rest[8..]);
            }
            HOP_BY_HOP if position > 0 => {
                return Err(Reason::Malformed("IPv6 hop-by-hop header is not the first"));
            }
            // Segments left: it is on its way somewhere else.
            ROUTING if fourth > 0 => return Err(Reason::IpOptions),
            _ => {}
        }
        followed += length;
        if followed > MAX_EXTENSION_BYTES {
            break;
        }
        let Some(behind) = rest.get(length..) else {
            return Err(Reason::Malformed("IPv6 extension header beyond the packet"));
        };
        (next, rest) = (following, behind);
    }
    Err(Reason::IpOptions)
}

/// A fragment of what `protocol` names; with further extension headers behind, which a later
/// fragment does not show, it could be anything and is refused.
fn fragment(protocol: u8, offset: u16, rest: &[u8]) -> Result<(u8, Form, &[u8]), Reason> {
    let form = if offset == 0 {
        Form::FirstFragment
    } else {
        Form::LaterFragment
    };
    match protocol {
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS => Err(Reason::Fragment),
        _ => Ok((protocol, form, rest)),
    }
}
