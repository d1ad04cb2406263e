//! ICMP errors that a VIP sends to a client: a real answered its datagram with "port unreachable",
//! and the client shall hear so at once, as it would without a proxy (RFC 792, RFC 4443).

use arrayvec::ArrayVec;
use pnet_packet::Packet;
use pnet_packet::icmp::destination_unreachable::{IcmpCodes, MutableDestinationUnreachablePacket};
use pnet_packet::icmp::{self, IcmpPacket, IcmpTypes};
use pnet_packet::icmpv6::{self, Icmpv6Code, Icmpv6Packet, Icmpv6Types, MutableIcmpv6Packet};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::{self, MutableIpv4Packet};
use pnet_packet::ipv6::MutableIpv6Packet;
use pnet_packet::udp::MutableUdpPacket;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

const IPV4: usize = 20;
const IPV6: usize = 40;
const ICMP: usize = 8;
const UDP: usize = 8;

/// RFC 4443, 3.1.
const PORT_UNREACHABLE: Icmpv6Code = Icmpv6Code(4);

/// What hosts send with (RFC 1700, `ip_default_ttl`).
const TTL: u8 = 64;

/// A whole IP packet.
pub type Error = ArrayVec<u8, { IPV6 + ICMP + IPV6 + UDP }>;

/// The IP packet by which `vip` tells `client` that nobody listens on its port. It quotes the
/// headers of a datagram between the two: addresses and ports, by which the client's host finds
/// the socket, are the client's own; the rest of the headers was not kept, nor was what came after.
/// `None` if the two are not of one family.
pub fn port_unreachable(client: SocketAddr, vip: SocketAddr) -> Option<Error> {
    let mut room = [0u8; IPV6 + ICMP + IPV6 + UDP];
    let length = match (client, vip) {
        (SocketAddr::V4(client), SocketAddr::V4(vip)) => {
            let (outer, icmp) = room.split_at_mut(IPV4);
            ipv4_header(outer, ICMP + IPV4 + UDP, *vip.ip(), *client.ip(), false)?;
            let (header, inner) = icmp.get_mut(ICMP..)?.split_at_mut(IPV4);
            ipv4_header(header, UDP, *client.ip(), *vip.ip(), true)?;
            udp_header(inner, client.port(), vip.port())?;
            let message = icmp.get_mut(..ICMP + IPV4 + UDP)?;
            let mut error = MutableDestinationUnreachablePacket::new(message)?;
            error.set_icmp_type(IcmpTypes::DestinationUnreachable);
            error.set_icmp_code(IcmpCodes::DestinationPortUnreachable);
            let sum = icmp::checksum(&IcmpPacket::new(error.packet())?);
            error.set_checksum(sum);
            IPV4 + ICMP + IPV4 + UDP
        }
        (SocketAddr::V6(client), SocketAddr::V6(vip)) => {
            let (outer, icmp) = room.split_at_mut(IPV6);
            ipv6_header(outer, ICMP + IPV6 + UDP, *vip.ip(), *client.ip(), false)?;
            let (header, inner) = icmp.get_mut(ICMP..)?.split_at_mut(IPV6);
            ipv6_header(header, UDP, *client.ip(), *vip.ip(), true)?;
            udp_header(inner, client.port(), vip.port())?;
            let mut error = MutableIcmpv6Packet::new(icmp)?;
            error.set_icmpv6_type(Icmpv6Types::DestinationUnreachable);
            error.set_icmpv6_code(PORT_UNREACHABLE);
            let packet = Icmpv6Packet::new(error.packet())?;
            let sum = icmpv6::checksum(&packet, vip.ip(), client.ip());
            error.set_checksum(sum);
            IPV6 + ICMP + IPV6 + UDP
        }
        _ => return None,
    };
    Error::try_from(room.get(..length)?).ok()
}

fn ipv4_header(
    room: &mut [u8],
    payload: usize,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    udp: bool,
) -> Option<()> {
    let mut header = MutableIpv4Packet::new(room)?;
    header.set_version(4);
    header.set_header_length(5);
    header.set_total_length(u16::try_from(IPV4 + payload).ok()?);
    header.set_ttl(TTL);
    header.set_next_level_protocol(if udp {
        IpNextHeaderProtocols::Udp
    } else {
        IpNextHeaderProtocols::Icmp
    });
    header.set_source(source);
    header.set_destination(destination);
    let sum = ipv4::checksum(&header.to_immutable());
    header.set_checksum(sum);
    Some(())
}

fn ipv6_header(
    room: &mut [u8],
    payload: usize,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    udp: bool,
) -> Option<()> {
    let mut header = MutableIpv6Packet::new(room)?;
    header.set_version(6);
    header.set_payload_length(u16::try_from(payload).ok()?);
    header.set_hop_limit(TTL);
    header.set_next_header(if udp {
        IpNextHeaderProtocols::Udp
    } else {
        IpNextHeaderProtocols::Icmpv6
    });
    header.set_source(source);
    header.set_destination(destination);
    Some(())
}

fn udp_header(room: &mut [u8], source: u16, destination: u16) -> Option<()> {
    let mut header = MutableUdpPacket::new(room)?;
    header.set_source(source);
    header.set_destination(destination);
    header.set_length(UDP as u16);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{Icmpv4Type, Icmpv6Type, SlicedPacket, TransportSlice, icmpv4, icmpv6};

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn another_parser_reads_what_it_says() {
        for (client, vip) in [
            (at("198.51.100.7:40000"), at("192.0.2.10:53")),
            (at("[2001:db8:2::7]:40000"), at("[2001:db8::10]:53")),
        ] {
            let error = port_unreachable(client, vip).expect("one family");
            let outer = SlicedPacket::from_ip(&error).expect("IP");
            let quoted = match outer.transport.clone().expect("ICMP") {
                TransportSlice::Icmpv4(icmp) => {
                    let port = icmpv4::DestUnreachableHeader::Port;
                    assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(port));
                    let header = icmp.header();
                    let sum = header.icmp_type.calc_checksum(icmp.payload());
                    assert_eq!(header.checksum, sum);
                    icmp.payload().to_vec()
                }
                TransportSlice::Icmpv6(icmp) => {
                    let port = icmpv6::DestUnreachableCode::Port;
                    assert_eq!(icmp.icmp_type(), Icmpv6Type::DestinationUnreachable(port));
                    let (SocketAddr::V6(client), SocketAddr::V6(vip)) = (client, vip) else {
                        panic!("ICMPv6 between IPv4 addresses");
                    };
                    let (from, to) = (vip.ip().octets(), client.ip().octets());
                    let sum = icmp.icmp_type().calc_checksum(from, to, icmp.payload());
                    assert_eq!(icmp.header().checksum, sum.expect("short"));
                    icmp.payload().to_vec()
                }
                other => panic!("{other:?}"),
            };
            let ends = |packet: &SlicedPacket<'_>| match packet.net.clone().expect("IP") {
                etherparse::NetSlice::Ipv4(ip) => {
                    let header = ip.header().to_header();
                    assert_eq!(header.header_checksum, header.calc_header_checksum());
                    let (from, to) = (header.source.into(), header.destination.into());
                    (std::net::IpAddr::V4(from), std::net::IpAddr::V4(to))
                }
                etherparse::NetSlice::Ipv6(ip) => {
                    let header = ip.header();
                    let (from, to) = (header.source_addr(), header.destination_addr());
                    (from.into(), to.into())
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(ends(&outer), (vip.ip(), client.ip()));
            let inner = SlicedPacket::from_ip(&quoted).expect("IP");
            assert_eq!(ends(&inner), (client.ip(), vip.ip()));
            match inner.transport {
                Some(TransportSlice::Udp(udp)) => {
                    let ports = (udp.source_port(), udp.destination_port());
                    assert_eq!(ports, (client.port(), vip.port()));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn families_do_not_mix() {
        assert!(port_unreachable(at("192.0.2.1:1"), at("[2001:db8::1]:1")).is_none());
    }
}
