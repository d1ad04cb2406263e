//! A frame, parsed once: lengths are checked here and never again, and what comes out says whose
//! flow the frame belongs to. Total and bounded: any bytes give an answer, after a handful of
//! steps, without allocation. Checksums are not looked at: the real judges them, and behind
//! checksum offload they are unfinished anyway.

use super::icmp;
use super::ip::{Datagram, Form, accept_addresses};
use super::transport::{self, Segment};
use super::{FlowKey, FrameMeta, MacAddr, Protocol, ServiceKey};
use pnet_packet::ethernet::{EtherType, EtherTypes, EthernetPacket};
use pnet_packet::vlan::VlanPacket;

use super::Addr;
pub use super::transport::TcpFlags;

/// 802.1ad service tag (EtherType 0x88a8).
const SERVICE_TAG: EtherType = EtherType(0x88a8);

/// What one frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Who the frame is for.
    pub dst_mac: MacAddr,
    /// Who sent it on this link.
    pub src_mac: MacAddr,
    /// Whose flow it belongs to.
    pub subject: Subject,
    /// IP bytes as the client sent them: a super-frame counts as its segments, each with its own
    /// headers; Ethernet padding does not count. 0 for [`Subject::Other`].
    pub wire_bytes: u64,
    /// Packets the client sent: 1, or the segments of a super-frame.
    pub segments: u32,
}

/// Whose flow a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A packet of the flow itself.
    Flow {
        /// The flow, seen from the client.
        key: FlowKey,
        /// Its transport.
        transport: Transport,
    },
    /// An ICMP error about a packet that a real sent to the client (RFC 792, RFC 4443): it must
    /// reach that real.
    IcmpError {
        /// The flow of the quoted packet, seen from the client: the quoted source is the VIP.
        key: FlowKey,
    },
    /// Nothing that is balanced: ARP, ND, echo, LLDP, a second VLAN tag, other IP protocols.
    Other,
}

/// The transport of a flow's packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A TCP segment with its flags.
    Tcp(TcpFlags),
    /// A UDP datagram.
    Udp,
}

/// Why a frame of a balanced protocol has no [`Subject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who the frame is for; zero when not even that is there.
    pub dst_mac: MacAddr,
    /// The IP source where it could be read, for people.
    pub source: Option<Addr>,
    /// The IP destination where it could be read: a fault in a frame that is not for a VIP is no
    /// business of ours.
    pub destination: Option<Addr>,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Headers contradict each other or the frame's length, or TCP flags no client sends; the
    /// words say which.
    Malformed(&'static str),
    /// A fragment, the first and IPv6 atomic ones (RFC 6946) included.
    Fragment,
    /// IPv4 options, an IPv6 source route, or more extension headers than are followed.
    IpOptions,
    /// A source address no client can have, or the destination itself (land).
    Martian,
}

/// Parses a frame.
///
/// # Errors
/// A [`Fault`] for TCP, UDP or ICMP errors over IP whose flow cannot or must not be told.
#[inline]
pub fn parse(frame: &[u8], meta: &FrameMeta) -> Result<Packet, Fault> {
    let Some(ethernet) = EthernetPacket::new(frame) else {
        return Err(Fault {
            dst_mac: MacAddr::zero(),
            source: None,
            destination: None,
            reason: Reason::Malformed("Ethernet header cut short"),
        });
    };
    let (dst_mac, src_mac) = (ethernet.get_destination(), ethernet.get_source());
    let (ethertype, bytes) = payload(frame, &ethernet, meta);
    match subject(ethertype, bytes, meta) {
        Ok((subject, size)) => Ok(Packet {
            dst_mac,
            src_mac,
            subject,
            wire_bytes: size.wire_bytes,
            segments: size.segments,
        }),
        Err(reason) => {
            let [source, destination] = addresses(ethertype, bytes);
            Err(Fault {
                dst_mac,
                source,
                destination,
                reason,
            })
        }
    }
}

/// The EtherType behind at most one in-line tag, and the bytes it speaks of. A second tag stays
/// as the EtherType, so that the frame is somebody else's.
#[inline]
fn payload<'a>(
    frame: &'a [u8],
    ethernet: &EthernetPacket<'_>,
    meta: &FrameMeta,
) -> (EtherType, &'a [u8]) {
    let ethertype = ethernet.get_ethertype();
    let bytes = &frame[EthernetPacket::minimum_packet_size()..];
    if (ethertype == EtherTypes::Vlan || ethertype == SERVICE_TAG)
        && meta.vlan.is_none()
        && let Some(tag) = VlanPacket::new(bytes)
    {
        return (
            tag.get_ethertype(),
            &bytes[VlanPacket::minimum_packet_size()..],
        );
    }
    (ethertype, bytes)
}

#[inline]
fn subject(
    ethertype: EtherType,
    bytes: &[u8],
    meta: &FrameMeta,
) -> Result<(Subject, Size), Reason> {
    let superframe = meta.gso_size > 0;
    let ip = match ethertype {
        EtherTypes::Ipv4 => super::ipv4::open(bytes, superframe)?,
        EtherTypes::Ipv6 => super::ipv6::open(bytes, superframe)?,
        _ => return Ok((Subject::Other, Size::NOT_COUNTED)),
    };
    if let Some(protocol) = Protocol::from_number(ip.protocol) {
        match ip.form {
            Form::Whole => {}
            Form::Options => return Err(Reason::IpOptions),
            Form::FirstFragment | Form::LaterFragment => return Err(Reason::Fragment),
        }
        accept_addresses(&ip)?;
        let segment = transport::open(protocol, ip.payload)?;
        let key = FlowKey {
            client: ip.source,
            client_port: segment.source_port,
            service: ServiceKey {
                vip: ip.destination,
                port: segment.destination_port,
                protocol,
            },
        };
        let size = Size::of(&ip, &segment, meta.gso_size);
        return Ok((
            Subject::Flow {
                key,
                transport: segment.transport,
            },
            size,
        ));
    }
    match icmp::flow_of_error(&ip)? {
        Some(key) => Ok((
            Subject::IcmpError { key },
            Size {
                wire_bytes: ip.total as u64,
                segments: 1,
            },
        )),
        None => Ok((Subject::Other, Size::NOT_COUNTED)),
    }
}

/// The IP source and destination of a faulty packet, at their fixed places.
#[cold]
fn addresses(ethertype: EtherType, bytes: &[u8]) -> [Option<Addr>; 2] {
    let v4 = |at: usize| Some(Addr::v4(*bytes.get(at..)?.first_chunk()?));
    let v6 = |at: usize| Some(Addr::v6(*bytes.get(at..)?.first_chunk()?));
    match ethertype {
        EtherTypes::Ipv4 => [v4(12), v4(16)],
        EtherTypes::Ipv6 => [v6(8), v6(24)],
        _ => [None, None],
    }
}

/// How much the client sent.
struct Size {
    wire_bytes: u64,
    segments: u32,
}

impl Size {
    const NOT_COUNTED: Size = Size {
        wire_bytes: 0,
        segments: 1,
    };

    #[inline]
    fn of(ip: &Datagram<'_>, segment: &Segment, gso_size: u16) -> Self {
        let payload = ip.payload.len() - segment.header;
        let segments = match gso_size {
            0 => 1,
            size => payload.div_ceil(usize::from(size)).max(1),
        };
        let headers = ip.total - payload;
        Size {
            wire_bytes: (ip.total + (segments - 1) * headers) as u64,
            segments: segments as u32,
        }
    }
}

#[cfg(test)]
mod tests;
