//! TCP (RFC 9293) and UDP (RFC 768) headers: ports, flags, lengths.

use super::Protocol;
use super::packet::{Reason, Transport};
use pnet_packet::tcp::TcpPacket;
use pnet_packet::udp::UdpPacket;
use std::fmt;

/// The eight control bits of a TCP segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TcpFlags(u8);

impl TcpFlags {
    /// FIN alone.
    pub const FIN: TcpFlags = TcpFlags(0x01);
    /// SYN alone.
    pub const SYN: TcpFlags = TcpFlags(0x02);
    /// RST alone.
    pub const RST: TcpFlags = TcpFlags(0x04);
    /// PSH alone.
    pub const PSH: TcpFlags = TcpFlags(0x08);
    /// ACK alone.
    pub const ACK: TcpFlags = TcpFlags(0x10);
    /// URG alone.
    pub const URG: TcpFlags = TcpFlags(0x20);

    /// From the byte of a TCP header.
    pub fn new(bits: u8) -> Self {
        TcpFlags(bits)
    }

    /// The byte.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Both sets together.
    pub fn with(self, other: TcpFlags) -> Self {
        TcpFlags(self.0 | other.0)
    }

    /// The sender opens a connection.
    pub fn syn(self) -> bool {
        self.0 & Self::SYN.0 != 0
    }

    /// The sender has nothing more to send.
    pub fn fin(self) -> bool {
        self.0 & Self::FIN.0 != 0
    }

    /// The sender gives the connection up.
    pub fn rst(self) -> bool {
        self.0 & Self::RST.0 != 0
    }

    /// The sender acknowledges.
    pub fn ack(self) -> bool {
        self.0 & Self::ACK.0 != 0
    }

    /// Whether a TCP could have sent this: not without any flag, not SYN with FIN or RST.
    fn plausible(self) -> bool {
        self.0 & 0x3f != 0 && !(self.syn() && (self.fin() || self.rst()))
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let mut separator = "";
        for (bit, name) in NAMES.iter().enumerate() {
            if self.0 >> bit & 1 == 1 {
                write!(f, "{separator}{name}")?;
                separator = "|";
            }
        }
        if separator.is_empty() {
            f.write_str("none")
        } else {
            Ok(())
        }
    }
}

/// A transport header, checked against the IP payload.
pub(super) struct Segment {
    pub source_port: u16,
    pub destination_port: u16,
    pub transport: Transport,
    /// Bytes of the header, TCP options included; never more than the IP payload.
    pub header: usize,
}

/// Opens the transport header at the start of an IP payload.
#[inline]
pub(super) fn open(protocol: Protocol, payload: &[u8]) -> Result<Segment, Reason> {
    match protocol {
        Protocol::Tcp => tcp(payload),
        Protocol::Udp => udp(payload),
    }
}

#[inline]
fn tcp(payload: &[u8]) -> Result<Segment, Reason> {
    let Some(view) = TcpPacket::new(payload) else {
        return Err(Reason::Malformed("TCP header cut short"));
    };
    let header = usize::from(view.get_data_offset()) * 4;
    if header < TcpPacket::minimum_packet_size() {
        return Err(Reason::Malformed("TCP data offset below 5"));
    }
    if header > payload.len() {
        return Err(Reason::Malformed("TCP data offset beyond the packet"));
    }
    let flags = TcpFlags(view.get_flags());
    if !flags.plausible() {
        return Err(Reason::Malformed("TCP flags no client sends"));
    }
    Ok(Segment {
        source_port: view.get_source(),
        destination_port: view.get_destination(),
        transport: Transport::Tcp(flags),
        header,
    })
}

#[inline]
fn udp(payload: &[u8]) -> Result<Segment, Reason> {
    let Some(view) = UdpPacket::new(payload) else {
        return Err(Reason::Malformed("UDP header cut short"));
    };
    let header = UdpPacket::minimum_packet_size();
    let length = usize::from(view.get_length());
    if length < header {
        return Err(Reason::Malformed("UDP length below its header"));
    }
    if length > payload.len() {
        return Err(Reason::Malformed("UDP length beyond the packet"));
    }
    Ok(Segment {
        source_port: view.get_source(),
        destination_port: view.get_destination(),
        transport: Transport::Udp,
        header,
    })
}

/// The ports at the start of a quoted transport header, of which eight bytes are sure to be there
/// (RFC 792).
pub(super) fn quoted_ports(payload: &[u8]) -> Option<(u16, u16)> {
    let &[s0, s1, d0, d1, ..] = payload.first_chunk::<8>()?;
    Some((u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])))
}
