//! What is heard on the wire, as far as VIPs are concerned. Everything malformed is no frame for us.

use crate::net::MacAddr;
use pnet_packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket};
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::icmp::{IcmpPacket, IcmpTypes, checksum as icmp_checksum};
use pnet_packet::icmpv6::ndp::{
    NdpOptionTypes, NeighborAdvertFlags, NeighborAdvertPacket, NeighborSolicitPacket,
};
use pnet_packet::icmpv6::{Icmpv6Packet, Icmpv6Types, checksum as icmpv6_checksum};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::ipv6::Ipv6Packet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A frame that may concern a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// ARP request or reply for IPv4 over Ethernet (RFC 826).
    Arp {
        /// Destination MAC of the frame.
        to: MacAddr,
        /// Request, else reply.
        request: bool,
        /// Sender's hardware address.
        sender: MacAddr,
        /// Sender's protocol address; unspecified in a probe (RFC 5227).
        sender_ip: Ipv4Addr,
        /// Target's protocol address.
        target: Ipv4Addr,
    },
    /// Neighbour solicitation, valid by RFC 4861, 7.1.1.
    Solicitation {
        /// Destination MAC of the frame.
        to: MacAddr,
        /// Source MAC of the frame.
        from: MacAddr,
        /// Source address; unspecified while the sender does DAD (RFC 4862).
        source: Ipv6Addr,
        /// The address asked for.
        target: Ipv6Addr,
    },
    /// Neighbour advertisement, valid by RFC 4861, 7.1.2.
    Advertisement {
        /// The MAC it gives: its target link-layer address option, else the frame's source.
        mac: MacAddr,
        /// The address it speaks of.
        target: Ipv6Addr,
        /// The override flag.
        overrides: bool,
    },
    /// ICMP or ICMPv6 echo request in one piece.
    Echo(EchoRequest<'a>),
}

/// An echo request with a correct checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoRequest<'a> {
    /// Destination MAC of the frame.
    pub to: MacAddr,
    /// Source MAC of the frame.
    pub from: MacAddr,
    /// Who asks.
    pub source: IpAddr,
    /// Who is asked.
    pub destination: IpAddr,
    /// Type of service or traffic class, which the answer keeps.
    pub class: u8,
    /// The ICMP message from its type on.
    pub message: &'a [u8],
}

impl Heard<'_> {
    /// The addresses the frame may concern: a VIP is asked for or claimed only as one of these.
    pub fn concerns(&self) -> [Option<IpAddr>; 2] {
        match self {
            Heard::Arp {
                sender_ip, target, ..
            } => [
                Some((*target).into()),
                (sender_ip != target).then_some((*sender_ip).into()),
            ],
            Heard::Solicitation { target, .. } | Heard::Advertisement { target, .. } => {
                [Some((*target).into()), None]
            }
            Heard::Echo(echo) => [Some(echo.destination), None],
        }
    }
}

/// Parses an untagged Ethernet frame; `None` if it is of no concern or malformed.
pub fn parse(frame: &[u8]) -> Option<Heard<'_>> {
    let ethernet = EthernetPacket::new(frame)?;
    let body = frame.get(EthernetPacket::minimum_packet_size()..)?;
    let (to, from) = (ethernet.get_destination(), ethernet.get_source());
    if !is_station(from) {
        return None;
    }
    match ethernet.get_ethertype() {
        EtherTypes::Arp => arp(to, body),
        EtherTypes::Ipv4 => ipv4(to, from, body),
        EtherTypes::Ipv6 => ipv6(to, from, body),
        _ => None,
    }
}

/// Whether a MAC can belong to one machine.
fn is_station(mac: MacAddr) -> bool {
    mac.is_unicast() && !mac.is_zero()
}

fn arp(to: MacAddr, body: &[u8]) -> Option<Heard<'_>> {
    let arp = ArpPacket::new(body)?;
    let ipv4_over_ethernet = arp.get_hardware_type() == ArpHardwareTypes::Ethernet
        && arp.get_protocol_type() == EtherTypes::Ipv4
        && arp.get_hw_addr_len() == 6
        && arp.get_proto_addr_len() == 4;
    let request = match arp.get_operation() {
        ArpOperations::Request => true,
        ArpOperations::Reply => false,
        _ => return None,
    };
    (ipv4_over_ethernet && is_station(arp.get_sender_hw_addr())).then(|| Heard::Arp {
        to,
        request,
        sender: arp.get_sender_hw_addr(),
        sender_ip: arp.get_sender_proto_addr(),
        target: arp.get_target_proto_addr(),
    })
}

/// Echo requests only. Packets with options or in fragments are left unanswered: nobody's ping
/// needs them, and reassembly would be state a stranger can fill.
fn ipv4(to: MacAddr, from: MacAddr, body: &[u8]) -> Option<Heard<'_>> {
    let ip = Ipv4Packet::new(body)?;
    let header = Ipv4Packet::minimum_packet_size();
    let plain = ip.get_version() == 4
        && usize::from(ip.get_header_length()) * 4 == header
        && ip.get_flags() & 1 == 0
        && ip.get_fragment_offset() == 0
        && ip.get_next_level_protocol() == IpNextHeaderProtocols::Icmp
        && pnet_packet::ipv4::checksum(&ip) == ip.get_checksum();
    if !plain {
        return None;
    }
    let message = body.get(header..usize::from(ip.get_total_length()))?;
    let icmp = IcmpPacket::new(message)?;
    let source = ip.get_source();
    let answerable = icmp.get_icmp_type() == IcmpTypes::EchoRequest
        && icmp.get_icmp_code().0 == 0
        && message.len() >= 8
        && icmp_checksum(&icmp) == icmp.get_checksum()
        && !(source.is_unspecified()
            || source.is_multicast()
            || source.is_broadcast()
            || source.is_loopback());
    answerable.then(|| {
        Heard::Echo(EchoRequest {
            to,
            from,
            source: source.into(),
            destination: ip.get_destination().into(),
            class: (ip.get_dscp() << 2) | ip.get_ecn(),
            message,
        })
    })
}

/// ICMPv6 directly behind the header: neighbour discovery never travels in fragments (RFC 6980).
fn ipv6(to: MacAddr, from: MacAddr, body: &[u8]) -> Option<Heard<'_>> {
    let ip = Ipv6Packet::new(body)?;
    if ip.get_version() != 6 || ip.get_next_header() != IpNextHeaderProtocols::Icmpv6 {
        return None;
    }
    let header = Ipv6Packet::minimum_packet_size();
    let message = body.get(header..header + usize::from(ip.get_payload_length()))?;
    let (source, destination) = (ip.get_source(), ip.get_destination());
    let icmp = Icmpv6Packet::new(message)?;
    let sound = icmp.get_icmpv6_code().0 == 0
        && !source.is_multicast()
        && icmpv6_checksum(&icmp, &source, &destination) == icmp.get_checksum();
    if !sound {
        return None;
    }
    // A hop limit of 255 proves that no router passed the message on.
    let from_this_link = ip.get_hop_limit() == 255;
    match icmp.get_icmpv6_type() {
        Icmpv6Types::NeighborSolicit if from_this_link => {
            let solicit = NeighborSolicitPacket::new(message)?;
            let options = LinkAddresses::of(message)?;
            let target = solicit.get_target_addr();
            let valid = !target.is_multicast()
                && (!source.is_unspecified()
                    || (destination == super::compose::solicited_node(target)
                        && options.source.is_none()));
            valid.then_some(Heard::Solicitation {
                to,
                from,
                source,
                target,
            })
        }
        Icmpv6Types::NeighborAdvert if from_this_link => {
            let advert = NeighborAdvertPacket::new(message)?;
            let options = LinkAddresses::of(message)?;
            let target = advert.get_target_addr();
            let solicited = advert.get_flags() & NeighborAdvertFlags::Solicited != 0;
            let mac = options.target.unwrap_or(from);
            let solicited_by_a_group = destination.is_multicast() && solicited;
            let valid = !target.is_multicast() && !solicited_by_a_group && is_station(mac);
            valid.then(|| Heard::Advertisement {
                mac,
                target,
                overrides: advert.get_flags() & NeighborAdvertFlags::Override != 0,
            })
        }
        Icmpv6Types::EchoRequest if message.len() >= 8 && !source.is_unspecified() => {
            Some(Heard::Echo(EchoRequest {
                to,
                from,
                source: source.into(),
                destination: destination.into(),
                class: ip.get_traffic_class(),
                message,
            }))
        }
        _ => None,
    }
}

/// The link-layer address options of a neighbour solicitation or advertisement.
#[derive(Default)]
struct LinkAddresses {
    source: Option<MacAddr>,
    target: Option<MacAddr>,
}

impl LinkAddresses {
    /// Walks the options behind the 24 fixed bytes; `None` if one is malformed, which makes the
    /// whole message invalid. By hand, because the library multiplies an option's length in eight
    /// bits and overflows from 32 on.
    fn of(message: &[u8]) -> Option<Self> {
        let mut found = LinkAddresses::default();
        let mut rest = message.get(24..)?;
        while !rest.is_empty() {
            let length = usize::from(*rest.get(1)?) * 8;
            if length == 0 {
                return None;
            }
            let option = rest.get(..length)?;
            if let [kind, 1, a, b, c, d, e, f] = *option {
                let mac = MacAddr::new(a, b, c, d, e, f);
                if kind == NdpOptionTypes::SourceLLAddr.0 {
                    found.source = Some(mac);
                } else if kind == NdpOptionTypes::TargetLLAddr.0 {
                    found.target = Some(mac);
                }
            }
            rest = rest.get(length..)?;
        }
        Some(found)
    }
}
