//! Ping of a VIP.

use super::*;
use etherparse::{SlicedPacket, TransportSlice};

/// An echo request of the client to `to`, built by another library than ours.
fn ping(to: MacAddr, vip: IpAddr, payload: &[u8]) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2(mac(CLIENT).octets(), to.octets());
    let mut frame = Vec::new();
    match vip {
        IpAddr::V4(vip) => builder
            .ipv4(CLIENT_V4.octets(), vip.octets(), 17)
            .icmpv4_echo_request(7, 1)
            .write(&mut frame, payload),
        IpAddr::V6(vip) => builder
            .ipv6(CLIENT_V6.octets(), vip.octets(), 17)
            .icmpv6_echo_request(7, 1)
            .write(&mut frame, payload),
    }
    .unwrap();
    frame
}

#[rstest::rstest]
fn a_ping_is_answered_with_what_it_carried(
    #[values(V4.into(), V6.into())] vip: IpAddr,
    #[values(0, 1, 56, 1_472)] size: usize,
) {
    let payload: Vec<u8> = (0..size).map(|i| i as u8).collect();
    let mut bench = Bench::announced(vip, facts());
    bench.hear(&ping(mac(OURS), vip, &payload));
    let [(_, reply)] = &bench.sent[..] else {
        panic!("one answer, not {}", bench.sent.len())
    };

    let sliced = SlicedPacket::from_ethernet(reply).unwrap();
    assert_eq!(reply[..6], mac(CLIENT).octets());
    assert_eq!(reply[6..12], mac(OURS).octets());
    match (sliced.net.unwrap(), sliced.transport.unwrap()) {
        (etherparse::NetSlice::Ipv4(ip), TransportSlice::Icmpv4(icmp)) => {
            let header = ip.header();
            assert_eq!(
                (header.source_addr(), header.destination_addr()),
                (V4, CLIENT_V4)
            );
            assert_eq!(
                header.header_checksum(),
                header.to_header().calc_header_checksum()
            );
            assert_eq!(header.ttl(), 64);
            let sound = icmp.header().icmp_type.calc_checksum(icmp.payload());
            assert_eq!(icmp.checksum(), sound);
            assert_eq!((icmp.type_u8(), icmp.code_u8()), (0, 0));
            assert_eq!(icmp.bytes5to8(), [0, 7, 0, 1]);
            assert_eq!(icmp.payload(), payload);
        }
        (etherparse::NetSlice::Ipv6(ip), TransportSlice::Icmpv6(icmp)) => {
            let header = ip.header();
            assert_eq!(
                (header.source_addr(), header.destination_addr()),
                (V6, CLIENT_V6)
            );
            assert!(icmp.is_checksum_valid(V6.octets(), CLIENT_V6.octets()));
            assert_eq!((icmp.type_u8(), icmp.code_u8()), (129, 0));
            assert_eq!(icmp.bytes5to8(), [0, 7, 0, 1]);
            assert_eq!(icmp.payload(), payload);
        }
        other => panic!("{other:?}"),
    }
}

#[rstest::rstest]
fn a_ping_is_answered_only_for_an_announced_vip_with_a_healthy_real(
    #[values(V4.into(), V6.into())] vip: IpAddr,
) {
    let frame = ping(mac(OURS), vip, b"abc");
    let mut asking = Bench::new(vip, facts());
    asking.sent.clear();
    asking.hear(&frame);
    assert_eq!(asking.sent, []);
    for ownership in [Ownership::Kernel, Ownership::Mute] {
        let mut owned = Bench::new(
            vip,
            Facts {
                ownership,
                ..facts()
            },
        );
        owned.run_to(900);
        owned.sent.clear();
        owned.hear(&frame);
        assert_eq!(owned.sent, [], "the kernel answers: {ownership:?}");
    }
    let mut bench = Bench::announced(
        vip,
        Facts {
            healthy: false,
            ..facts()
        },
    );
    bench.hear(&frame);
    assert_eq!(bench.sent, []);
    bench.set(facts());
    bench.hear(&frame);
    assert_eq!(bench.sent.len(), 1);
}

#[rstest::rstest]
fn a_ping_by_broadcast_or_to_another_machine_is_not_answered(
    #[values(V4.into(), V6.into())] vip: IpAddr,
    #[values(MacAddr::broadcast(), multicast_mac(V6), mac(0x12))] to: MacAddr,
) {
    let mut bench = Bench::announced(vip, facts());
    bench.hear(&ping(to, vip, b"abc"));
    assert_eq!(bench.sent, []);
}

/// The frame with the IPv4 header checksum made right again.
fn resealed(mut frame: Vec<u8>) -> Vec<u8> {
    let sum = pnet_packet::util::checksum(&frame[14..34], 5);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn fragments_bad_sums_and_impossible_sources_are_not_for_us() {
    let good = ping(mac(OURS), V4.into(), b"abc");
    assert!(parse(&resealed(good.clone())).is_some());
    for (at, value, what) in [
        (20, 0x20, "more fragments"),
        (21, 0x01, "a later fragment"),
        (34, 13, "another type"),
        (35, 1, "another code"),
        (42, b'x', "payload and checksum disagree"),
        (26, 224, "a multicast source"),
        (26, 127, "a loopback source"),
        (14, 0x46, "options"),
        (17, 200, "longer than the frame"),
    ] {
        let mut frame = good.clone();
        frame[at] = value;
        assert_eq!(parse(&resealed(frame)), None, "{what}");
    }
    for source in [[0; 4], [255; 4]] {
        let mut frame = good.clone();
        frame[26..30].copy_from_slice(&source);
        assert_eq!(parse(&resealed(frame)), None, "{source:?}");
    }
    let mut frame = good;
    frame[24] ^= 1;
    assert_eq!(parse(&frame), None, "header checksum");
}

#[test]
fn pings_are_answered_at_a_bounded_rate() {
    let mut bench = Bench::announced(V4, facts());
    let frame = ping(mac(OURS), V4.into(), b"abc");
    for at in 0..10_000 {
        bench.now = Tick(1_000 + at / 10);
        bench.hear(&frame);
    }
    let answered = u64::try_from(bench.sent.len()).unwrap();
    assert!(
        (ECHOES_PER_SECOND..=2 * ECHOES_PER_SECOND).contains(&answered),
        "{answered}"
    );
}
