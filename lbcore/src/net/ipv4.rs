//! IPv4 headers (RFC 791).

use super::Addr;
use super::ip::{Datagram, Family, Form};
use super::packet::Reason;
use pnet_packet::ipv4::{Ipv4Flags, Ipv4Packet};

const MIN_HEADER: usize = 20;

/// Opens a packet that a frame carries whole. Behind `superframe` the kernel may leave the total
/// length at zero (packets beyond 64 KiB): then the frame's end is the packet's.
#[inline]
pub(super) fn open(bytes: &[u8], superframe: bool) -> Result<Datagram<'_>, Reason> {
    let (header, view) = header(bytes)?;
    let total = match usize::from(view.get_total_length()) {
        0 if superframe => bytes.len(),
        total => total,
    };
    if total < header {
        return Err(Reason::Malformed("IPv4 total length below its header"));
    }
    let Some(payload) = bytes.get(header..total) else {
        return Err(Reason::Malformed("IPv4 total length beyond the frame"));
    };
    Ok(datagram(&view, header, payload, total))
}

/// Opens a packet that an ICMP error quotes, which ends wherever the quotation does.
pub(super) fn open_quoted(bytes: &[u8]) -> Result<Datagram<'_>, Reason> {
    let (header, view) = header(bytes)?;
    Ok(datagram(&view, header, &bytes[header..], bytes.len()))
}

#[inline]
fn header(bytes: &[u8]) -> Result<(usize, Ipv4Packet<'_>), Reason> {
    let Some(view) = Ipv4Packet::new(bytes) else {
        return Err(Reason::Malformed("IPv4 header cut short"));
    };
    if view.get_version() != 4 {
        return Err(Reason::Malformed("IPv4 version is not 4"));
    }
    let header = usize::from(view.get_header_length()) * 4;
    if header < MIN_HEADER {
        return Err(Reason::Malformed("IPv4 header length below 5"));
    }
    if header > bytes.len() {
        return Err(Reason::Malformed("IPv4 header length beyond the frame"));
    }
    Ok((header, view))
}

#[inline]
fn datagram<'a>(
    view: &Ipv4Packet<'_>,
    header: usize,
    payload: &'a [u8],
    total: usize,
) -> Datagram<'a> {
    let more = view.get_flags() & Ipv4Flags::MoreFragments != 0;
    let form = if view.get_fragment_offset() > 0 {
        Form::LaterFragment
    } else if more {
        Form::FirstFragment
    } else if header > MIN_HEADER {
        Form::Options
    } else {
        Form::Whole
    };
    Datagram {
        family: Family::V4,
        source: Addr::v4(view.get_source().octets()),
        destination: Addr::v4(view.get_destination().octets()),
        protocol: view.get_next_level_protocol().0,
        form,
        payload,
        total,
    }
}
