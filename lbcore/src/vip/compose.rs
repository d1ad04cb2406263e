//! The frames lbd sends for a VIP.

use super::parse::EchoRequest;
use crate::net::MacAddr;
use pnet_packet::Packet;
use pnet_packet::arp::{ArpHardwareTypes, ArpOperation, ArpOperations, MutableArpPacket};
use pnet_packet::ethernet::{EtherType, EtherTypes, MutableEthernetPacket};
use pnet_packet::icmp::{IcmpTypes, MutableIcmpPacket};
use pnet_packet::icmpv6::ndp::{
    MutableNdpOptionPacket, MutableNeighborAdvertPacket, MutableNeighborSolicitPacket,
    NdpOptionType, NdpOptionTypes, NeighborAdvertFlags,
};
use pnet_packet::icmpv6::{Icmpv6Types, MutableIcmpv6Packet};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::{Ipv4Flags, MutableIpv4Packet};
use pnet_packet::ipv6::MutableIpv6Packet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ETHERNET: usize = 14;
const ARP: usize = 28;
const IPV4: usize = 20;
const IPV6: usize = 40;
/// Solicitation and advertisement without options.
const NDP: usize = 24;
/// A link-layer address option.
const LINK_ADDRESS: usize = 8;

/// Hop limit and TTL of echo replies: the kernel's default.
const TTL: u8 = 64;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const SIZED: &str = "the buffer was made to size";

/// The group that neighbour solicitations for `address` go to (RFC 4291, 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(a),
        u16::from_be_bytes([b, c]),
    )
}

/// The MAC a multicast group's frames go to (RFC 2464, 7).
pub fn multicast_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr::new(0x33, 0x33, a, b, c, d)
}

/// Asks whether anybody has `vip`: an ARP probe (RFC 5227, 2.1.1), or DAD's solicitation (RFC 4862,
/// 5.4.2).
pub(super) fn probe(mac: MacAddr, vip: IpAddr) -> Vec<u8> {
    match vip {
        IpAddr::V4(vip) => arp(
            ArpOperations::Request,
            MacAddr::broadcast(),
            (mac, Ipv4Addr::UNSPECIFIED),
            (MacAddr::zero(), vip),
        ),
        IpAddr::V6(vip) => {
            let group = solicited_node(vip);
            let mut frame = ethernet(multicast_mac(group), mac, EtherTypes::Ipv6, IPV6 + NDP);
            let mut solicit =
                MutableNeighborSolicitPacket::new(&mut frame[ETHERNET + IPV6..]).expect(SIZED);
            solicit.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
            solicit.set_target_addr(vip);
            finish_icmpv6(frame, Ipv6Addr::UNSPECIFIED, group, 255, 0)
        }
    }
}

/// Asks everybody who has `target`, as a host that wants to send to it does: an ARP request (RFC
/// 826) or a neighbour solicitation (RFC 4861, 7.2.2), answered to `own`. Without an address of
/// `target`'s family it is asked as a probe asks, and answered all the same.
pub fn question(mac: MacAddr, own: Option<IpAddr>, target: IpAddr) -> Vec<u8> {
    match (own, target) {
        (Some(IpAddr::V4(own)), IpAddr::V4(target)) => arp(
            ArpOperations::Request,
            MacAddr::broadcast(),
            (mac, own),
            (MacAddr::zero(), target),
        ),
        (Some(IpAddr::V6(own)), IpAddr::V6(target)) => {
            let group = solicited_node(target);
            let length = IPV6 + NDP + LINK_ADDRESS;
            let mut frame = ethernet(multicast_mac(group), mac, EtherTypes::Ipv6, length);
            let message = &mut frame[ETHERNET + IPV6..];
            let mut solicit = MutableNeighborSolicitPacket::new(message).expect(SIZED);
            solicit.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
            solicit.set_target_addr(target);
            link_address(&mut message[NDP..], NdpOptionTypes::SourceLLAddr, mac);
            finish_icmpv6(frame, own, group, 255, 0)
        }
        _ => probe(mac, target),
    }
}

/// Tells everybody that `vip` is at `mac`: an ARP announcement, as a request because that is what
/// every stack takes (RFC 5227, 2.3 and 3), or an unsolicited advertisement (RFC 4861, 7.2.6).
pub(super) fn announcement(mac: MacAddr, vip: IpAddr) -> Vec<u8> {
    match vip {
        IpAddr::V4(vip) => arp(
            ArpOperations::Request,
            MacAddr::broadcast(),
            (mac, vip),
            (MacAddr::zero(), vip),
        ),
        IpAddr::V6(vip) => advertisement(
            mac,
            vip,
            (multicast_mac(ALL_NODES), ALL_NODES),
            NeighborAdvertFlags::Override,
        ),
    }
}

/// Answers an ARP request of `to`. A probe, whose sender has no address, is answered the same way.
pub(super) fn arp_reply(mac: MacAddr, vip: Ipv4Addr, to: (MacAddr, Ipv4Addr)) -> Vec<u8> {
    arp(ArpOperations::Reply, to.0, (mac, vip), to)
}

/// Answers a neighbour solicitation of `to`; one from the unspecified address (somebody else's
/// DAD) to all nodes (RFC 4861, 7.2.4).
pub(super) fn solicited_advertisement(
    mac: MacAddr,
    vip: Ipv6Addr,
    to: (MacAddr, Ipv6Addr),
) -> Vec<u8> {
    if to.1.is_unspecified() {
        return announcement(mac, vip.into());
    }
    let flags = NeighborAdvertFlags::Solicited | NeighborAdvertFlags::Override;
    advertisement(mac, vip, to, flags)
}

/// Answers an echo request: addresses swapped, the message the same but for type and checksum.
/// `None` if its two addresses are of different families, which no parsed request is.
pub(super) fn echo_reply(mac: MacAddr, request: &EchoRequest<'_>) -> Option<Vec<u8>> {
    match (request.destination, request.source) {
        (IpAddr::V4(vip), IpAddr::V4(client)) => {
            let length = IPV4 + request.message.len();
            let mut frame = ethernet(request.from, mac, EtherTypes::Ipv4, length);
            let mut ip = MutableIpv4Packet::new(&mut frame[ETHERNET..]).expect(SIZED);
            ip.set_version(4);
            ip.set_header_length(5);
            ip.set_dscp(request.class >> 2);
            ip.set_ecn(request.class & 3);
            ip.set_total_length(u16::try_from(length).ok()?);
            ip.set_flags(Ipv4Flags::DontFragment);
            ip.set_ttl(TTL);
            ip.set_next_level_protocol(IpNextHeaderProtocols::Icmp);
            ip.set_source(vip);
            ip.set_destination(client);
            let checksum = pnet_packet::ipv4::checksum(&ip.to_immutable());
            ip.set_checksum(checksum);
            let message = &mut frame[ETHERNET + IPV4..];
            message.copy_from_slice(request.message);
            let mut icmp = MutableIcmpPacket::new(message)?;
            icmp.set_icmp_type(IcmpTypes::EchoReply);
            let checksum = pnet_packet::icmp::checksum(&icmp.to_immutable());
            icmp.set_checksum(checksum);
            Some(frame)
        }
        (IpAddr::V6(vip), IpAddr::V6(client)) => {
            let length = IPV6 + request.message.len();
            let mut frame = ethernet(request.from, mac, EtherTypes::Ipv6, length);
            let message = &mut frame[ETHERNET + IPV6..];
            message.copy_from_slice(request.message);
            MutableIcmpv6Packet::new(message)?.set_icmpv6_type(Icmpv6Types::EchoReply);
            Some(finish_icmpv6(frame, vip, client, TTL, request.class))
        }
        _ => None,
    }
}

fn ethernet(to: MacAddr, from: MacAddr, kind: EtherType, payload: usize) -> Vec<u8> {
    let mut frame = vec![0; ETHERNET + payload];
    let mut header = MutableEthernetPacket::new(&mut frame).expect(SIZED);
    header.set_destination(to);
    header.set_source(from);
    header.set_ethertype(kind);
    frame
}

fn arp(
    operation: ArpOperation,
    to: MacAddr,
    sender: (MacAddr, Ipv4Addr),
    target: (MacAddr, Ipv4Addr),
) -> Vec<u8> {
    let mut frame = ethernet(to, sender.0, EtherTypes::Arp, ARP);
    let mut arp = MutableArpPacket::new(&mut frame[ETHERNET..]).expect(SIZED);
    arp.set_hardware_type(ArpHardwareTypes::Ethernet);
    arp.set_protocol_type(EtherTypes::Ipv4);
    arp.set_hw_addr_len(6);
    arp.set_proto_addr_len(4);
    arp.set_operation(operation);
    arp.set_sender_hw_addr(sender.0);
    arp.set_sender_proto_addr(sender.1);
    arp.set_target_hw_addr(target.0);
    arp.set_target_proto_addr(target.1);
    frame
}

fn advertisement(mac: MacAddr, vip: Ipv6Addr, to: (MacAddr, Ipv6Addr), flags: u8) -> Vec<u8> {
    let mut frame = ethernet(to.0, mac, EtherTypes::Ipv6, IPV6 + NDP + LINK_ADDRESS);
    let message = &mut frame[ETHERNET + IPV6..];
    let mut advert = MutableNeighborAdvertPacket::new(message).expect(SIZED);
    advert.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
    advert.set_flags(flags);
    advert.set_target_addr(vip);
    link_address(&mut message[NDP..], NdpOptionTypes::TargetLLAddr, mac);
    finish_icmpv6(frame, vip, to.1, 255, 0)
}

fn link_address(room: &mut [u8], kind: NdpOptionType, mac: MacAddr) {
    let mut option = MutableNdpOptionPacket::new(room).expect(SIZED);
    option.set_option_type(kind);
    option.set_length(1);
    option.set_data(&mac.octets());
}

/// Fills in the IPv6 header before an ICMPv6 message, and the message's checksum.
fn finish_icmpv6(
    mut frame: Vec<u8>,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
    class: u8,
) -> Vec<u8> {
    let (header, message) = frame[ETHERNET..].split_at_mut(IPV6);
    let mut icmp = MutableIcmpv6Packet::new(message).expect(SIZED);
    let checksum = pnet_packet::icmpv6::checksum(&icmp.to_immutable(), &source, &destination);
    icmp.set_checksum(checksum);
    let length = icmp.packet().len();
    let mut ip = MutableIpv6Packet::new(header).expect(SIZED);
    ip.set_version(6);
    ip.set_traffic_class(class);
    ip.set_payload_length(u16::try_from(length).expect("a message came in one IPv6 packet"));
    ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
    ip.set_hop_limit(hop_limit);
    ip.set_source(source);
    ip.set_destination(destination);
    frame
}
