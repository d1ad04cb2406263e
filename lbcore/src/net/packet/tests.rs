#![allow(clippy::unwrap_used)]

mod frames;
mod icmp;
mod oracle;

use super::*;
use crate::net::{VlanTag, rewrite};
use frames::*;
use proptest::prelude::*;
use rstest::rstest;

fn parsed(frame: &[u8]) -> Result<Packet, Fault> {
    parse(frame, &FrameMeta::default())
}

fn reason(frame: &[u8]) -> Reason {
    let fault = parsed(frame).expect_err("a fault");
    assert!(
        fault.destination == Some(VIP4) || fault.destination == Some(VIP6),
        "{fault:?}"
    );
    assert_eq!(fault.dst_mac, OURS);
    fault.reason
}

fn is_malformed(frame: &[u8]) -> bool {
    matches!(reason(frame), Reason::Malformed(_))
}

#[rstest]
#[case(ipv4(TCP, &tcp(SYN)), key4(Protocol::Tcp), Transport::Tcp(TcpFlags::SYN), 40)]
#[case(ipv4(UDP, &udp(b"hello")), key4(Protocol::Udp), Transport::Udp, 33)]
#[case(ipv6(TCP, &tcp(SYN)), key6(Protocol::Tcp), Transport::Tcp(TcpFlags::SYN), 60)]
#[case(ipv6(UDP, &udp(b"hello")), key6(Protocol::Udp), Transport::Udp, 53)]
fn flows(
    #[case] frame: Vec<u8>,
    #[case] key: FlowKey,
    #[case] transport: Transport,
    #[case] wire_bytes: u64,
) {
    let packet = Packet {
        dst_mac: OURS,
        src_mac: ROUTER,
        subject: Subject::Flow { key, transport },
        wire_bytes,
        segments: 1,
    };
    assert_eq!(parsed(&frame), Ok(packet));
    // T44: Ethernet padding is no payload and is not counted.
    let mut padded = frame.clone();
    padded.resize(frame.len().max(60) + 4, 0xff);
    assert_eq!(parsed(&padded), Ok(packet));
}

/// T3: what is not balanced is passed.
#[rstest]
#[case::arp(ethernet(0x0806, &[0; 28]))]
#[case::lldp(ethernet(0x88cc, &[0; 46]))]
#[case::length_field(ethernet(0x0026, &[0x42; 38]))]
#[case::echo(ipv4(1, &[8, 0, 0, 0, 0, 1, 0, 1]))]
#[case::echo6(ipv6(58, &[128, 0, 0, 0, 0, 1, 0, 1]))]
#[case::neighbour_solicitation(ipv6(58, &[135; 24]))]
#[case::igmp(ipv4(2, &[0x16; 8]))]
#[case::esp(ipv6(50, &[0; 16]))]
#[case::empty_icmp(ipv4(1, &[]))]
#[case::echo_fragment(fragment4(ipv4(1, &[8, 0, 0, 0, 0, 1, 0, 1]), 0x2000))]
fn other(#[case] frame: Vec<u8>) {
    let packet = parsed(&frame).unwrap();
    assert_eq!((packet.subject, packet.wire_bytes), (Subject::Other, 0));
}

/// T11: one tag is looked through, in the frame or beside it; a second one is not ours.
#[test]
fn vlan_tags() {
    let plain = ipv4(TCP, &tcp(SYN));
    let once = tagged(&plain, 0x8100, 10);
    let beside = FrameMeta {
        vlan: Some(VlanTag {
            tpid: 0x8100,
            tci: 10,
        }),
        ..FrameMeta::default()
    };
    let subject = parsed(&plain).unwrap().subject;
    assert_ne!(subject, Subject::Other);
    assert_eq!(parsed(&once).unwrap().subject, subject);
    assert_eq!(
        parsed(&tagged(&plain, 0x88a8, 10)).unwrap().subject,
        subject
    );
    assert_eq!(parse(&plain, &beside).unwrap().subject, subject);
    assert_eq!(parse(&once, &beside).unwrap().subject, Subject::Other);
    assert_eq!(
        parsed(&tagged(&once, 0x88a8, 20)).unwrap().subject,
        Subject::Other
    );
    assert_eq!(parsed(&once[..16]).unwrap().subject, Subject::Other);
}

/// T44: every length from nothing to one byte less than the whole packet, padded to 60 bytes or
/// not. Where the destination is there it is told, so that a runt for others is passed.
#[rstest]
fn shorts(
    #[values(
        ipv4(TCP, &tcp(SYN)),
        ipv4(UDP, &udp(b"")),
        ipv6(TCP, &tcp(SYN)),
        ipv6(UDP, &udp(b""))
    )]
    whole: Vec<u8>,
) {
    let address_end = if whole[12] == 0x08 { 14 + 20 } else { 14 + 40 };
    for length in 0..whole.len() {
        let fault = parsed(&whole[..length]).expect_err("too short");
        assert!(
            matches!(fault.reason, Reason::Malformed(_)),
            "{length}: {fault:?}"
        );
        assert_eq!(
            fault.destination.is_some(),
            length >= address_end,
            "{length}"
        );
        assert_eq!(
            fault.dst_mac,
            if length < 14 { MacAddr::zero() } else { OURS }
        );
    }
    for length in address_end..whole.len() {
        let mut lying = whole.clone();
        let total = (length - 14) as u16;
        match whole[12] {
            0x08 => patch(&mut lying, 16, &total.to_be_bytes()),
            _ => patch(&mut lying, 18, &(total - 40).to_be_bytes()),
        }
        lying.resize(70, 0);
        assert!(
            is_malformed(&lying),
            "header cut at {length}, padding behind"
        );
    }
}

/// T45: lengths that contradict each other.
#[rstest]
#[case::version(14, &[0x65])]
#[case::ihl_0(14, &[0x40])]
#[case::ihl_4(14, &[0x44])]
#[case::ihl_15_beyond_the_frame(14, &[0x4f])]
#[case::total_below_header(16, &[0, 19])]
#[case::total_beyond_frame(16, &[0, 41])]
#[case::total_zero(16, &[0, 0])]
#[case::doff_0(14 + 20 + 12, &[0x00])]
#[case::doff_4(14 + 20 + 12, &[0x40])]
#[case::doff_beyond(14 + 20 + 12, &[0x60])]
fn lying_lengths_v4(#[case] at: usize, #[case] bytes: &[u8]) {
    let mut frame = ipv4(TCP, &tcp(SYN));
    patch(&mut frame, at, bytes);
    assert!(is_malformed(&frame));
}

/// T45: IPv6 payload 0, beyond the frame, and lying UDP lengths.
#[test]
fn lying_lengths_v6_and_udp() {
    for length in [0u16, 19, 21, 0xffff] {
        let mut frame = ipv6(TCP, &tcp(SYN));
        patch(&mut frame, 18, &length.to_be_bytes());
        assert!(is_malformed(&frame), "payload length {length}");
    }
    for length in [0u16, 7, 14, 0xffff] {
        let mut frame = ipv4(UDP, &udp(b"hello"));
        patch(&mut frame, 14 + 20 + 4, &length.to_be_bytes());
        assert!(is_malformed(&frame), "UDP length {length}");
    }
    // Shorter than the packet is legal: what follows is nobody's (RFC 768).
    let mut frame = ipv4(UDP, &udp(b"hello"));
    patch(&mut frame, 14 + 20 + 4, &9u16.to_be_bytes());
    assert!(parsed(&frame).is_ok());
}

/// T45: TCP options are not read, so their lengths cannot lie to us.
#[test]
fn tcp_options_are_not_walked() {
    for option in [[2, 0, 0, 0], [2, 1, 0, 0], [2, 255, 0, 0]] {
        let mut segment = tcp(SYN);
        segment[12] = 0x60;
        segment.extend(option);
        assert!(parsed(&ipv4(TCP, &segment)).is_ok());
    }
}

/// T46: no piece of a fragmented packet shows a flow, and ports of later ones are never read.
#[test]
fn fragments() {
    for flags_and_offset in [0x2000, 0x2001, 0x0001, 0x1fff, 0x3fff] {
        let frame = fragment4(ipv4(UDP, &udp(b"hello")), flags_and_offset);
        assert_eq!(reason(&frame), Reason::Fragment, "{flags_and_offset:#x}");
    }
    let tiny_first = fragment4(ipv4(TCP, &tcp(SYN)[..8]), 0x2000);
    assert_eq!(reason(&tiny_first), Reason::Fragment);
    let dont_fragment = fragment4(ipv4(UDP, &udp(b"hello")), 0x4000);
    assert!(parsed(&dont_fragment).is_ok());
    // First, later and atomic (RFC 6946) in IPv6, the last with more headers behind.
    for (next, flags_and_offset) in [
        (UDP, [0, 1]),
        (UDP, [0x05, 0xa8]),
        (UDP, [0, 0]),
        (60, [0, 1]),
    ] {
        let mut payload = vec![
            next,
            0,
            flags_and_offset[0],
            flags_and_offset[1],
            0,
            0,
            0,
            7,
        ];
        payload.extend(udp(b"hello"));
        assert_eq!(reason(&ipv6(44, &payload)), Reason::Fragment);
    }
}

/// T47: checksums decide nothing.
#[test]
fn checksums_are_not_looked_at() {
    let whole = parsed(&ipv4(UDP, &udp(b"hello")));
    for at in [24, 14 + 20 + 6] {
        let mut frame = ipv4(UDP, &udp(b"hello"));
        patch(&mut frame, at, &[0xde, 0xad]);
        assert_eq!(parsed(&frame), whole);
    }
}

/// T49: options, martians, land.
#[test]
fn ip_oddities() {
    let mut options = ipv4(TCP, &[&[7, 3, 4, 0][..], &tcp(SYN)].concat());
    patch(&mut options, 14, &[0x46]);
    assert_eq!(reason(&options), Reason::IpOptions);

    let vip4 = &VIP4.octets()[12..];
    for source in [
        &[0, 1, 2, 3],
        &[127, 0, 0, 1],
        &[224, 0, 0, 1],
        &[240, 1, 1, 1],
        &[255; 4],
        vip4,
    ] {
        let mut frame = ipv4(TCP, &tcp(SYN));
        patch(&mut frame, 14 + 12, source);
        assert_eq!(reason(&frame), Reason::Martian, "{source:?}");
    }
    let mapped = Addr::v4([198, 51, 100, 7]).octets();
    let (mut any, mut loopback, mut multicast) = ([0; 16], [0; 16], [0; 16]);
    (any[15], loopback[15], multicast[0]) = (0, 1, 0xff);
    for source in [any, loopback, multicast, mapped, VIP6.octets()] {
        let mut frame = ipv6(TCP, &tcp(SYN));
        patch(&mut frame, 14 + 8, &source);
        assert_eq!(reason(&frame), Reason::Martian, "{source:?}");
    }
    let mut to_mapped = ipv6(TCP, &tcp(SYN));
    patch(&mut to_mapped, 14 + 24, &VIP4.octets());
    assert_eq!(reason(&to_mapped), Reason::Martian);

    for ttl in [0, 1] {
        let mut frame = ipv4(TCP, &tcp(SYN));
        patch(&mut frame, 22, &[ttl]);
        assert!(parsed(&frame).is_ok(), "TTL is the routers' business");
    }
}

/// T49: flags that no client sends.
#[rstest]
#[case::none(0x00, false)]
#[case::only_ecn(0xc0, false)]
#[case::all(0xff, false)]
#[case::syn_fin(0x03, false)]
#[case::syn_rst(0x06, false)]
#[case::syn_ecn(0xc2, true)]
#[case::rst(0x04, true)]
#[case::fin_ack(0x11, true)]
fn tcp_flags(#[case] flags: u8, #[case] forwarded: bool) {
    let frame = ipv4(TCP, &tcp(flags));
    assert_eq!(parsed(&frame).is_ok(), forwarded);
    if !forwarded {
        assert!(is_malformed(&frame));
    }
}

/// T10: extension headers are followed up to a bound.
#[test]
fn extension_headers() {
    let behind = |headers: &[(u8, Vec<u8>)]| ipv6_behind(headers, TCP, &tcp(SYN));
    let options = |bytes: usize| {
        let mut header = vec![0; bytes];
        header[1] = (bytes / 8 - 1) as u8;
        header
    };
    let routing = |segments_left| vec![0, 0, 4, segments_left, 0, 0, 0, 0];

    let subject = Subject::Flow {
        key: key6(Protocol::Tcp),
        transport: Transport::Tcp(TcpFlags::SYN),
    };
    for headers in [
        vec![(0, options(8))],
        vec![(60, options(8))],
        vec![
            (0, options(16)),
            (60, options(24)),
            (43, routing(0)),
            (60, options(8)),
        ],
        vec![(60, options(8)); 8],
        vec![(0, options(256))],
    ] {
        let packet = parsed(&behind(&headers)).unwrap();
        assert_eq!(packet.subject, subject);
        let extensions: usize = headers.iter().map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(packet.wire_bytes, (40 + extensions + 20) as u64);
    }
    for headers in [
        vec![(60, options(8)); 9],
        vec![(0, options(264))],
        vec![(0, options(128)), (60, options(136))],
        vec![(43, routing(1))],
    ] {
        assert_eq!(reason(&behind(&headers)), Reason::IpOptions);
    }
    assert!(is_malformed(&behind(&[(60, options(8)), (0, options(8))])));
    let mut beyond = behind(&[(0, options(8))]);
    patch(&mut beyond, 14 + 40 + 1, &[9]);
    assert!(is_malformed(&beyond));
    assert!(is_malformed(&ipv6(0, &[TCP, 0, 0, 0])));
}

/// A super-frame counts as what the client sent: every segment with its own headers.
#[test]
fn superframes_count_as_their_segments() {
    let meta = FrameMeta {
        gso_size: 1448,
        ..FrameMeta::default()
    };
    let counted = |frame: &[u8]| {
        let packet = parse(frame, &meta).unwrap();
        (packet.segments, packet.wire_bytes)
    };
    let segment = |payload: usize| [tcp(ACK), vec![0; payload]].concat();
    assert_eq!(counted(&ipv4(TCP, &segment(4000))), (3, 4000 + 3 * 40));
    assert_eq!(counted(&ipv6(TCP, &segment(2896))), (2, 2896 + 2 * 60));
    assert_eq!(counted(&ipv4(TCP, &segment(0))), (1, 40));
    // Beyond 64 KiB the length field is zero.
    let mut big = ipv4(TCP, &segment(60_000));
    patch(&mut big, 16, &[0, 0]);
    big.extend([0; 40_000]);
    assert_eq!(counted(&big), (70, 100_000 + 70 * 40));
    assert!(matches!(
        parsed(&big).unwrap_err().reason,
        Reason::Malformed(_)
    ));
}

proptest! {
    /// T45: any bytes give an answer.
    #[test]
    fn any_bytes(frame in prop::collection::vec(any::<u8>(), 0..200), gso_size in any::<u16>()) {
        let _ = parse(&frame, &FrameMeta { gso_size, ..FrameMeta::default() });
    }

    /// T2: direct routing changes the two MAC addresses and nothing else.
    #[test]
    fn only_the_addresses_change(
        frame in prop::collection::vec(any::<u8>(), 0..1600),
        src in any::<[u8; 6]>(),
        dst in any::<[u8; 6]>(),
    ) {
        let mut sent = frame.clone();
        rewrite::direct_route(&mut sent, MacAddr::from(src), MacAddr::from(dst));
        if frame.len() < 12 {
            prop_assert_eq!(sent, frame);
        } else {
            prop_assert_eq!(sent, [&dst[..], &src[..], &frame[12..]].concat());
        }
    }
}
