//! What both IP versions have in common once their headers are read.

use super::Addr;
use super::packet::Reason;

/// One IP packet, its lengths checked against the frame.
pub(super) struct Datagram<'a> {
    pub family: Family,
    pub source: Addr,
    pub destination: Addr,
    /// What `payload` is, behind all extension headers that were followed.
    pub protocol: u8,
    pub form: Form,
    /// Ends where the IP header says, so Ethernet padding is never part of it.
    pub payload: &'a [u8],
    /// Bytes from the first of the IP header to the last of the payload.
    pub total: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// Whether the payload may be read as what `protocol` says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    /// It carries IPv4 options.
    Options,
    /// It begins as it should, and goes on in another packet.
    FirstFragment,
    /// It begins somewhere in the middle.
    LaterFragment,
}

/// Refuses packets between addresses that cannot be: a martian source, source and destination the
/// same (land), an IPv4-mapped IPv6 destination, which would pass for the IPv4 address.
#[inline]
pub(super) fn accept_addresses(ip: &Datagram<'_>) -> Result<(), Reason> {
    let mapped = ip.family == Family::V6 && ip.destination.is_v4();
    if martian(ip.source, ip.family) || ip.source == ip.destination || mapped {
        return Err(Reason::Martian);
    }
    Ok(())
}

/// Whether no client can have this address: 0/8, 127/8, 224/4 and 240/4 with the broadcast (RFC
/// 1122 3.2.1.3); `::`, `::1`, multicast and IPv4-mapped (RFC 4291).
#[inline]
pub(super) fn martian(address: Addr, family: Family) -> bool {
    let octets = address.octets();
    match family {
        Family::V4 => matches!(octets[12], 0 | 127 | 224..),
        Family::V6 => octets[0] == 0xff || u128::from_be_bytes(octets) <= 1 || address.is_v4(),
    }
}
