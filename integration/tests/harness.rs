//! The harness alone, without lbd: what the other tests rely on.

use integration::client::{curl, datagram, request, request_within, spread, upload};
use integration::dial::{self, End};
use integration::frames::Headers;
use integration::host::Host;
use integration::isolated;
use integration::load::Load;
use integration::long_flows::{LongFlows, Transport};
use integration::routed::{self, Routed};
use integration::stage::serve;
use integration::tally::Tally;
use integration::topology::{CLIENT, Offloads, Switch, VIP, Wire, real, real_mac, real6};
use integration::transfer::transfer;
use integration::wire::RawSocket;
use integration::{sockets, wait_until};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

#[test]
fn a_real_server_says_who_it_is_and_whom_it_sees() {
    isolated(|| {
        for offloads in [Offloads::Defaults, Offloads::Off] {
            let switch = Switch::new(1, offloads);
            let _server = serve(&switch, 1);
            for address in [IpAddr::from(real(1)), real6(1).into()] {
                let target = SocketAddr::new(address, 80);
                let answer = request(&switch.cl, target).expect("an answer");
                assert_eq!(answer.server, "rs1");
                let echo = datagram(&switch.cl, target, b"hello", Duration::from_secs(2));
                assert_eq!(echo.expect("an echo").server, "rs1");
                let sent = upload(&switch.cl, target, 1_000_003, true).expect("an upload");
                assert_eq!((sent.bytes, sent.intact), (1_000_003, true));
            }
            let answers = curl(&switch.cl, SocketAddr::new(real(1).into(), 80), 50);
            assert_eq!(spread(&answers)["rs1"], 50);
            assert!(answers.iter().all(|answer| answer.peer.ip() == CLIENT));
        }
    });
}

#[test]
fn the_routed_networks_meet_at_lbds_host() {
    isolated(|| {
        let routed = Routed::new(2, Offloads::Defaults);
        let _server = routed.serve(2, 8080);
        for address in [IpAddr::from(routed::real(2)), routed::real6(2).into()] {
            let target = SocketAddr::new(address, 8080);
            let answer = request(&routed.lb, target).expect("an answer");
            assert_eq!(answer.server, "rs2");
            assert!(request_within(&routed.cl, target, Duration::from_millis(300)).is_err());
        }
        // What is for a VIP comes as far as lbd's host, which does not have it.
        let seen = RawSocket::open(&routed.lb);
        let vip = format!("{VIP}:80").parse().expect("an address");
        assert!(request_within(&routed.cl, vip, Duration::from_millis(300)).is_err());
        let to_vip = |frame: &[u8]| frame.get(30..34) == Some(&VIP.octets());
        assert!(seen.receive_where(Duration::from_secs(2), to_vip).is_some());
    });
}

#[test]
fn long_flows_notice_a_dead_server() {
    isolated(|| {
        let switch = Switch::new(1, Offloads::Defaults);
        let mut server = serve(&switch, 1);
        let target = SocketAddr::new(real(1).into(), 80);
        let period = Duration::from_millis(50);
        let tcp = LongFlows::start(switch.cl.handle(), Transport::Tcp, target, 200, period);
        let udp = LongFlows::start(switch.cl.handle(), Transport::Udp, target, 20, period);
        let (tcp, udp) = (tcp.assert_opened(), udp.assert_opened());
        tcp.wait_for_echoes();
        udp.wait_for_echoes();
        assert_eq!(tcp.broken(), 0);
        server.stop();
        integration::wait_until("every flow broke", Duration::from_secs(5), || {
            tcp.broken() == 200
        });
        assert!(
            udp.finish()
                .iter()
                .all(|flow| flow.server == "rs1" && flow.moves == 0)
        );
    });
}

#[test]
fn the_wire_carries_frames_byte_for_byte() {
    isolated(|| {
        let wire = Wire::new();
        let (near, far) = (RawSocket::open(&wire.generator), RawSocket::open(&wire.lb));
        for frame in [
            Headers::v4(1000, 80).tcp("S", 1, b""),
            Headers::v6(1000, 80).tcp("A", 1, &[7; 1400]),
            Headers::v4(1000, 53).udp(b"x"),
            Headers::v6(1000, 53).udp(b"x"),
        ] {
            near.send(&frame).expect("sent");
            let same = |seen: &[u8]| seen == frame;
            assert!(far.receive_where(Duration::from_secs(2), same).is_some());
            assert!(
                near.receive_where(Duration::from_millis(20), same)
                    .is_none(),
                "own frame"
            );
        }
    });
}

#[test]
fn load_is_counted_exactly() {
    isolated(|| {
        let wire = Wire::new();
        let arrivals = Tally::of_reals(&wire.generator, 2);
        let mut headers = Headers::v4(1000, 80);
        let mut to = |n| {
            headers.dst_mac = integration::frames::mac(&real_mac(n));
            headers.udp(b"load")
        };
        // The other way round than lbd's traffic: towards the generator.
        let load = Load::start(&wire.lb, vec![to(1), to(1), to(2)], 20_000);
        load.wait_sent(6_000);
        let sent = load.stop();
        assert_eq!(arrivals.settled_at(sent), sent);
        assert!(arrivals.of("rs1").abs_diff(2 * arrivals.of("rs2")) <= 2);
    });
}

#[test]
fn connections_held_by_hand_end_as_they_should() {
    isolated(|| {
        let switch = Switch::new(1, Offloads::Defaults);
        let server = serve(&switch, 1);
        let (cl, lb) = (switch.cl.handle(), &switch.lb);
        let before = Host::of(lb);
        for address in [IpAddr::from(real(1)), real6(1).into()] {
            let target = SocketAddr::new(address, 80);
            let (mut stream, identity) = dial::echo(&cl, target).expect("an echo");
            assert_eq!(identity.server, "rs1");
            dial::round(&mut stream).expect("a round");
            let sockets = sockets::tcp(&switch.reals[0].handle());
            assert!(sockets.iter().any(|socket| socket.remote == identity.peer));
            let resets = server.resets();
            dial::reset(stream);
            wait_until("it was reset", Duration::from_secs(2), || {
                server.resets() == resets + 1
            });
            let mut stream = dial::dial(&cl, target).expect("a connection");
            stream.write_all(b"RESET 1000\n").expect("sent");
            assert_eq!(dial::read_to_end(&mut stream), (End::Reset, 1000));
            let mut stream = dial::dial(&cl, target).expect("a connection");
            stream.write_all(b"FIRST\n").expect("sent");
            assert_eq!(dial::read_to_end(&mut stream).0, End::Closed);
            assert_eq!(server.open(), 1, "it reads on");
            let moved = transfer(&cl, target, 10_000_019).expect("a transfer");
            assert!(moved.same);
        }
        lb.ip("rule add pref 77 fwmark 7 lookup 77");
        lb.ip("-6 route add local ::/0 dev lo table 77");
        let added = Host::of(lb).since(&before);
        assert_eq!((added.rules.len(), added.routes.len()), (1, 1), "{added:?}");
        added.delete_rules(lb);
        added.delete_routes(lb);
        assert_eq!(Host::of(lb), before);
    });
}
