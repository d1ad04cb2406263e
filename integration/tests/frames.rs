//! Frames byte for byte, on a wire: what changes, what does not, and what is left alone.

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder};
use integration::client::datagram;
use integration::conf::{Conf, RealConf, ServiceConf};
use integration::daemon::Daemon;
use integration::engine::assert_frames_add_up;
use integration::frames::{Headers, dst_mac, mac, only_macs_differ, src_mac};
use integration::long_flows::{LongFlows, Transport};
use integration::real_server::{RealServer, Settings};
use integration::stage::PORT;
use integration::tally::Tally;
use integration::topology::{CLIENT, CLIENT6, LB, LB_MAC, VIP, VIP6, Wire, real_mac, real6};
use integration::wire::RawSocket;
use integration::{isolated, wait_until};
use std::net::SocketAddr;
use std::time::Duration;

/// Real servers on the wire: they need not answer, their MACs are pinned.
const REALS: u8 = 3;

/// A frame that should come back does so within this; typically within a millisecond or two.
const SOON: Duration = Duration::from_secs(3);

/// How long we look for frames that must not come: ten times what lbd takes to send one on.
const NEVER: Duration = Duration::from_millis(50);

/// TCP and UDP in both families at [`PORT`], over pinned reals.
fn four_services() -> Conf {
    let vip6 = format!("\"{VIP6}\"");
    let reals6 = |service: ServiceConf| {
        (1..=REALS).fold(service.with("vip", &vip6), |service, n| {
            service.real(RealConf::new(&format!("rs{n}"), real6(n)).pinned(n))
        })
    };
    Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=REALS))
        .service(ServiceConf::udp("dns", PORT).pinned_reals(1..=REALS))
        .service(reals6(ServiceConf::tcp("web6", PORT)))
        .service(reals6(ServiceConf::udp("dns6", PORT)))
}

fn is_from_lbd(frame: &[u8]) -> bool {
    src_mac(frame) == Some(mac(LB_MAC))
        && (1..=REALS).any(|n| dst_mac(frame) == Some(mac(&real_mac(n))))
}

/// Sends a frame and returns it as lbd sent it on.
fn sent_on(socket: &RawSocket, frame: &[u8]) -> Option<Vec<u8>> {
    socket.send(frame).expect("sent");
    socket.receive_where(SOON, |seen| {
        is_from_lbd(seen) && seen.get(12..) == frame.get(12..)
    })
}

fn padded(mut frame: Vec<u8>, len: usize) -> Vec<u8> {
    frame.resize(len.max(frame.len()), 0);
    frame
}

/// Frames of flows, each with something that must survive.
fn flow_frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (family, new) in [
        (4u16, Headers::v4 as fn(u16, u16) -> Headers),
        (6, Headers::v6),
    ] {
        let header = if family == 4 { 34 } else { 54 };
        for (index, len) in [60, 61, 64, 90, 128, 256, 512, 1000, 1280, 1400, 1513, 1514]
            .into_iter()
            .enumerate()
        {
            let port = family * 1000 + index as u16;
            let headers = Headers {
                tos: (index * 23) as u8,
                ttl: 1 + index as u8,
                ..new(port, PORT)
            };
            let payload = |transport: usize| {
                (0..len - (header + transport).min(len))
                    .map(|i| i as u8)
                    .collect::<Vec<u8>>()
            };
            frames.push(padded(headers.tcp("S", 7, b""), 60));
            frames.push(headers.tcp("PA", 8, &payload(20)));
            frames.push(headers.udp(&payload(8)));
        }
        for flags in ["A", "FA", "R"] {
            frames.push(new(family * 1000, PORT).tcp(flags, 9, b""));
        }
    }
    // A frame whose checksum is wrong is the real's to judge.
    let mut wrong = Headers::v4(4999, PORT).udp(b"wrong checksum");
    wrong[40] ^= 0xff;
    frames.push(wrong);
    let mut none = Headers::v4(4998, PORT).udp(b"no checksum");
    none[40..42].fill(0);
    frames.push(none);
    frames
}

/// ICMP errors about what a real sent to the client, from a router on the way.
fn icmp_errors(flow4: &Headers, flow6: &Headers) -> Vec<Vec<u8>> {
    let back = |flow: &Headers| Headers {
        src: flow.dst,
        dst: flow.src,
        src_port: flow.dst_port,
        dst_port: flow.src_port,
        ..flow.clone()
    };
    let mut frames = Vec::new();
    let quote4 = back(flow4).tcp("A", 1, &[0; 64]).split_off(14);
    let mut types4 = vec![
        Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Host),
        Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Port),
        Icmpv4Type::TimeExceeded(etherparse::icmpv4::TimeExceededCode::TtlExceededInTransit),
    ];
    types4.extend([68, 576, 1400, 9000].map(|next_hop_mtu| {
        Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::FragmentationNeeded {
            next_hop_mtu,
        })
    }));
    for (index, kind) in types4.into_iter().enumerate() {
        let builder = PacketBuilder::ethernet2(flow4.src_mac, flow4.dst_mac)
            .ipv4([198, 51, 100, index as u8 + 1], VIP.octets(), 60)
            .icmpv4(kind);
        let mut frame = Vec::new();
        builder.write(&mut frame, &quote4[..28]).expect("a frame");
        frames.push(padded(frame, 60));
    }
    let quote6 = back(flow6).tcp("A", 1, &[0; 64]).split_off(14);
    let types6 = [
        Icmpv6Type::PacketTooBig { mtu: 1280 },
        Icmpv6Type::PacketTooBig { mtu: 1400 },
        Icmpv6Type::DestinationUnreachable(etherparse::icmpv6::DestUnreachableCode::Address),
        Icmpv6Type::TimeExceeded(etherparse::icmpv6::TimeExceededCode::HopLimitExceeded),
    ];
    for kind in types6 {
        let router = "2001:db8:ffff::1"
            .parse::<std::net::Ipv6Addr>()
            .expect("an address");
        let builder = PacketBuilder::ethernet2(flow6.src_mac, flow6.dst_mac)
            .ipv6(router.octets(), VIP6.octets(), 60)
            .icmpv6(kind);
        let mut frame = Vec::new();
        builder.write(&mut frame, &quote6).expect("a frame");
        frames.push(frame);
    }
    frames
}

#[test]
fn t2_only_the_two_mac_addresses_change() {
    isolated(|| {
        let wire = Wire::new();
        let lbd = Daemon::start(&wire.lb, &four_services());
        let socket = RawSocket::open(&wire.generator);
        let mut pairs = 0;
        for frame in flow_frames() {
            let out = sent_on(&socket, &frame);
            let out = out.unwrap_or_else(|| panic!("not sent on: {frame:02x?}\n{}", lbd.log()));
            assert!(only_macs_differ(&frame, &out));
            pairs += 1;
        }
        let (flow4, flow6) = (Headers::v4(30_000, PORT), Headers::v6(30_000, PORT));
        let to4 = sent_on(&socket, &flow4.tcp("S", 1, b"")).expect("an IPv4 flow");
        let to6 = sent_on(&socket, &flow6.tcp("S", 1, b"")).expect("an IPv6 flow");
        for frame in icmp_errors(&flow4, &flow6) {
            let out = sent_on(&socket, &frame);
            let out = out.unwrap_or_else(|| panic!("not sent on: {frame:02x?}"));
            let flow = if frame[12..14] == [8, 0] { &to4 } else { &to6 };
            assert_eq!(
                dst_mac(&out),
                dst_mac(flow),
                "an error goes to its flow's real"
            );
            assert!(only_macs_differ(&frame, &out));
            pairs += 1;
        }
        integration::figure("T2 golden pairs", pairs);
        assert!(pairs >= 60);
    });
}

#[test]
fn every_packet_of_a_flow_goes_to_one_real() {
    isolated(|| {
        let wire = Wire::new();
        let _lbd = Daemon::start(&wire.lb, &four_services());
        let socket = RawSocket::open(&wire.generator);
        for port in 20_000..20_050 {
            let headers = Headers::v4(port, PORT);
            let first = sent_on(&socket, &headers.tcp("S", 1, b"")).expect("the SYN");
            for sequence in 2..6 {
                let next = sent_on(&socket, &headers.tcp("A", sequence, b"x")).expect("data");
                assert_eq!(dst_mac(&first), dst_mac(&next));
            }
        }
    });
}

/// Frames that are none of lbd's business.
fn foreign_frames() -> Vec<(&'static str, Vec<u8>)> {
    let other_address = Headers {
        dst: "192.0.2.200".parse().expect("v4"),
        ..Headers::v4(1, PORT)
    };
    let own_address = Headers {
        dst: LB.into(),
        ..Headers::v4(1, 9)
    };
    let mut arp = vec![0xff; 6];
    arp.extend(mac(integration::topology::CLIENT_MAC));
    arp.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    arp.extend(mac(integration::topology::CLIENT_MAC));
    arp.extend(CLIENT.octets());
    arp.extend([0; 6]);
    arp.extend([192, 0, 2, 77]);
    let lldp = [
        &[1, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 0x64, 0x88, 0xcc][..],
        &[0; 46],
    ]
    .concat();
    let stp = [
        &[
            1, 0x80, 0xc2, 0, 0, 0, 2, 0, 0, 0, 0, 0x64, 0, 38, 0x42, 0x42, 3,
        ][..],
        &[0; 43],
    ];
    vec![
        ("another address", other_address.tcp("S", 1, b"")),
        ("lbd's own address", own_address.udp(b"discard")),
        ("another port", Headers::v4(1, 81).tcp("S", 1, b"")),
        ("another port, UDP", Headers::v4(1, 81).udp(b"x")),
        ("another port, IPv6", Headers::v6(1, 81).tcp("S", 1, b"")),
        ("ARP", padded(arp, 60)),
        ("LLDP", lldp),
        ("STP", stp.concat()),
    ]
}

#[test]
fn t3_other_traffic_is_left_to_the_host() {
    isolated(|| {
        let wire = Wire::new();
        let conf = four_services();
        let lbd = Daemon::start(&wire.lb, &conf);
        // A session of the host's own, as ssh would be.
        let _sshd = RealServer::start(
            wire.lb.handle(),
            Settings {
                name: "lb".into(),
                port: 2222,
                udp_addresses: vec![LB.into()],
            },
        );
        let ssh = SocketAddr::new(LB.into(), 2222);
        let period = Duration::from_millis(20);
        let session = LongFlows::start(wire.generator.handle(), Transport::Tcp, ssh, 1, period)
            .assert_opened();
        let socket = RawSocket::open(&wire.generator);
        for (what, frame) in foreign_frames() {
            for _ in 0..10 {
                socket.send(&frame).expect("sent");
            }
            assert_eq!(
                socket.receive_where(NEVER, is_from_lbd),
                None,
                "{what} was sent on"
            );
        }
        let echo = datagram(&wire.generator, ssh, b"udp too", Duration::from_secs(2));
        assert_eq!(echo.expect("the host still answers").server, "lb");
        session.wait_for_echoes();
        assert_eq!(session.broken(), 0);
        let forwarded = lbd.metrics().value("lbd_frames_sent_total", &[]);
        assert_eq!(forwarded, 0.0);
    });
}

#[test]
fn t3_a_strict_firewall_with_conntrack_does_not_see_what_is_balanced() {
    isolated(|| {
        let wire = Wire::new();
        wire.lb.nft(&format!(
            "add table inet strict; add counter inet strict seen; \
             add chain inet strict pre {{ type filter hook prerouting priority -150; }}; \
             add rule inet strict pre ip daddr {VIP} counter name seen; \
             add rule inet strict pre ct state invalid drop"
        ));
        let _lbd = Daemon::start(&wire.lb, &four_services());
        let socket = RawSocket::open(&wire.generator);
        // Half of a flow, as direct routing sees it, begun before lbd was here.
        for port in 5_000..5_050 {
            let frame = Headers::v4(port, PORT).tcp("PA", 77, b"half-seen");
            assert!(sent_on(&socket, &frame).is_some());
        }
        let seen = wire.lb.nft("list counter inet strict seen");
        assert!(
            seen.contains("packets 0 "),
            "the host's stack saw VIP traffic: {seen}"
        );
    });
}

#[test]
fn t48_only_frames_for_our_own_mac_are_sent_on() {
    isolated(|| {
        let wire = Wire::new();
        wire.lb.ip("link set eth0 promisc on");
        let _lbd = Daemon::start(&wire.lb, &four_services());
        let socket = RawSocket::open(&wire.generator);
        let ours = mac(LB_MAC);
        let good = Headers::v4(1_000, PORT);
        assert!(
            sent_on(&socket, &good.tcp("S", 1, b"")).is_some(),
            "the good frame passes"
        );
        for (what, dst_mac, src_mac) in [
            ("another host's", mac("02:00:00:00:00:99"), good.src_mac),
            ("broadcast", [0xff; 6], good.src_mac),
            ("multicast", mac("01:00:5e:00:00:01"), good.src_mac),
            ("IPv6 multicast", mac("33:33:00:00:00:01"), good.src_mac),
            ("from multicast", ours, mac("01:00:5e:00:00:01")),
            ("from ourselves", ours, ours),
            ("from zero", ours, [0; 6]),
        ] {
            let headers = Headers {
                src_mac,
                dst_mac,
                ..Headers::v4(1_000, PORT)
            };
            socket
                .send(&headers.tcp("A", 2, what.as_bytes()))
                .expect("sent");
            assert_eq!(socket.receive_where(NEVER, is_from_lbd), None, "{what}");
        }
    });
}

#[test]
fn received_is_sent_plus_passed_plus_drops_exactly() {
    isolated(|| {
        let wire = Wire::new();
        let lbd = Daemon::start(&wire.lb, &four_services());
        let socket = RawSocket::open(&wire.generator);
        let tally = Tally::of_reals(&wire.generator, REALS);
        let mut good = 0;
        for port in 1_000..1_200 {
            socket
                .send(&Headers::v4(port, PORT).tcp("S", 1, b""))
                .expect("sent");
            socket
                .send(&Headers::v6(port, PORT).udp(b"x"))
                .expect("sent");
            good += 2;
            let mut short = Headers::v4(port, PORT).tcp("S", 1, b"");
            short.truncate(40);
            socket.send(&short).expect("sent");
            let mut lying = Headers::v4(port, PORT).udp(b"x");
            lying[14] = 0x42;
            socket.send(&lying).expect("sent");
            let martian = Headers {
                src: VIP.into(),
                ..Headers::v4(port, PORT)
            };
            socket.send(&martian.udp(b"land")).expect("sent");
            for (_, frame) in foreign_frames() {
                socket.send(&frame).expect("sent");
            }
        }
        assert_eq!(tally.settled_at(good), good);
        let value = |name| lbd.metrics().value(name, &[]) as u64;
        // Counted a little later than sent.
        wait_until("they are counted as sent", Duration::from_secs(10), || {
            value("lbd_frames_sent_total") >= good
        });
        let (_, sent) = assert_frames_add_up(&lbd);
        assert_eq!(sent as u64, good);
        let drops = value("lbd_drops_total");
        assert!(
            drops >= 400,
            "malformed and martian frames are counted: {drops}"
        );
        let counted = || {
            let status = lbd.status();
            ["new_flows", "packets"].map(|key| {
                status["services"]
                    .as_array()
                    .expect("services")
                    .iter()
                    .map(|service| service[key].as_u64().expect("a number"))
                    .sum::<u64>()
            })
        };
        let what = "services have counted them";
        wait_until(what, Duration::from_secs(10), || counted() >= [good, good]);
        assert_eq!(counted(), [good, good]);
    });
}

/// Addresses this file's frames carry are the topology's; the compiler would not notice.
#[test]
fn frames_for_the_wire_are_what_a_client_sends() {
    let headers = Headers::v6(1, PORT);
    assert_eq!((headers.src, headers.dst), (CLIENT6.into(), VIP6.into()));
    assert_eq!(dst_mac(&headers.udp(b"")), Some(mac(LB_MAC)));
}
