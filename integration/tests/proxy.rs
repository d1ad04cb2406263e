//! The transparent proxy on real traffic: addresses both sides see, bytes, ports.

use integration::behind::Behind;
use integration::client::{curl, request, spread, upload};
use integration::conf::{Conf, RealConf, ServiceConf};
use integration::daemon::Daemon;
use integration::dial::{self, End, dial_from, echo, echo_over, read_line, reset};
use integration::real_server::{RealServer, Settings};
use integration::routed::{self, BACK, BACK6, CLIENT, CLIENT6};
use integration::sockets::{self, State};
use integration::stage::{PORT, REAL_PORT, RoutedStage, proxied, proxied6, serve, vip, vip6, web};
use integration::topology::{self, Offloads, Switch, VIP};
use integration::transfer::transfer;
use integration::{FairClock, figure, isolated, isolated_within, wait_until};
use std::io::Write;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);

fn both() -> Conf {
    Conf::one(proxied(2)).service(proxied6(2))
}

#[test]
fn t36_the_server_sees_the_client_and_the_client_the_vip() {
    isolated(|| {
        let stage = RoutedStage::new(2, &both());
        for (vip, client) in [(vip(), IpAddr::from(CLIENT)), (vip6(), CLIENT6.into())] {
            let answers = curl(&stage.net.cl, vip, 50);
            assert_eq!(answers.len(), 50, "{vip}");
            assert!(answers.iter().all(|answer| answer.peer.ip() == client));
            assert_eq!(spread(&answers).len(), 2, "both real servers");
            let (mut stream, identity) = echo(&stage.client(), vip).expect("an echo");
            assert_eq!(identity.peer.ip(), client);
            dial::round(&mut stream).expect("a round");
            // The same from the kernel's own tables at both ends.
            let ours = stream.local_addr().expect("an address");
            let at_client = sockets::tcp(&stage.client());
            assert!(at_client.iter().any(|s| s.local == ours && s.remote == vip));
            let reals = stage.net.reals.iter();
            let at_reals = reals.flat_map(|real| sockets::tcp(&real.handle()));
            let seen =
                at_reals.filter(|s| s.remote == identity.peer && s.local.port() == REAL_PORT);
            assert_eq!(seen.count(), 1);
        }
        assert!(
            !stage.net.lb.ip("addr").contains(&VIP.to_string()),
            "the VIP is no address"
        );
    });
}

#[test]
fn t36_bytes_are_equal_and_either_side_may_end_first() {
    isolated(|| {
        let stage = RoutedStage::new(2, &both());
        for vip in [vip(), vip6()] {
            for bytes in [0, 1, 1_000, 65_536, 3_000_017] {
                let sent = upload(&stage.net.cl, vip, bytes, true).expect("an upload");
                assert_eq!((sent.bytes, sent.intact), (bytes as u64, true), "{vip}");
                let moved = transfer(&stage.client(), vip, bytes as u64).expect("a transfer");
                assert!(moved.same, "{bytes} bytes through {vip}");
            }
            // The server ends first, and still hears all that the client says after that.
            let late = |stage: &RoutedStage| -> u64 {
                let counts = stage.servers.iter().map(|s| &s.counts.late_bytes);
                counts
                    .map(|c| c.load(std::sync::atomic::Ordering::Relaxed))
                    .sum()
            };
            let before = late(&stage);
            let mut stream = dial::dial(&stage.client(), vip).expect("a connection");
            stream.write_all(b"FIRST\n").expect("sent");
            read_line(&mut stream).expect("the identity");
            assert_eq!(dial::read_to_end(&mut stream), (End::Closed, 0));
            stream.write_all(&[7; 300_000]).expect("sent");
            stream.shutdown(Shutdown::Write).expect("half-closed");
            wait_until("the server heard all", SOON, || {
                late(&stage) - before == 300_000
            });
        }
        stage.wait_open(0, SOON);
    });
}

#[test]
fn t36_with_source_self_the_server_sees_us() {
    isolated(|| {
        let own = |service: ServiceConf| service.proxy("source", "\"self\"");
        let conf = Conf::one(own(proxied(1))).service(own(proxied6(1)));
        let stage = RoutedStage::new(1, &conf);
        for (vip, ours) in [(vip(), IpAddr::from(BACK)), (vip6(), BACK6.into())] {
            let answer = request(&stage.net.cl, vip).expect("an answer");
            assert_eq!(answer.peer.ip(), ours);
            assert!(
                transfer(&stage.client(), vip, 1_000_003)
                    .expect("a transfer")
                    .same
            );
        }
    });
}

/// A real without a port of its own is dialled at the port the client dialled.
#[test]
fn t36_several_ports_lead_to_the_same_ports() {
    isolated(|| {
        let service = ServiceConf::proxied("web", PORT)
            .with("port", "[80, 443, 9000]")
            .real(RealConf::new("rs1", routed::real(1)));
        let stage = RoutedStage::new(1, &Conf::one(service));
        let _servers: Vec<RealServer> = [80, 443, 9000]
            .map(|port| {
                let settings = Settings {
                    name: format!("at-{port}"),
                    port,
                    udp_addresses: Vec::new(),
                };
                RealServer::start(stage.net.reals[0].handle(), settings)
            })
            .into();
        for port in [80, 443, 9000] {
            let answer = request(&stage.net.cl, SocketAddr::new(VIP.into(), port));
            let answer = answer.expect("an answer");
            assert_eq!(answer.server, format!("at-{port}"));
            assert_eq!(answer.peer.ip(), CLIENT);
        }
        // What is no endpoint of ours stays unanswered: neither served nor refused.
        let other = SocketAddr::new(VIP.into(), 81);
        let error =
            integration::client::request_within(&stage.net.cl, other, Duration::from_millis(300));
        assert!(error.is_err());
    });
}

#[test]
fn t36_a_gibibyte_both_ways_at_once_is_equal_byte_for_byte() {
    isolated_within(Duration::from_secs(180), || {
        const GIB: u64 = 1 << 30;
        let stage = RoutedStage::new(2, &both());
        for vip in [vip(), vip6()] {
            let moved = transfer(&stage.client(), vip, GIB).expect("a transfer");
            assert!(moved.same, "{vip}");
            let rate = 2.0 * GIB as f64 * 8.0 / moved.took.as_secs_f64() / 1e9;
            figure(
                &format!("T36 1 GiB both ways at once through {vip}"),
                format!("equal, {rate:.1} Gbit/s in all"),
            );
        }
        stage.wait_open(0, SOON);
        let metrics = stage.lbd.metrics();
        // To the byte: the pattern, and the lines that ask for it and judge it.
        let (asked, judged) = (format!("DUPLEX {GIB}\n"), format!("{GIB} same\n"));
        for (direction, line) in [("in", asked), ("out", judged)] {
            let bytes = metrics.value("lbd_proxy_bytes_total", &[("direction", direction)]);
            assert_eq!(bytes, 2.0 * (GIB + line.len() as u64) as f64, "{direction}");
        }
    });
}

#[test]
fn t37_every_port_serves_each_real_once_and_then_clients_are_refused_at_once() {
    isolated(|| {
        let conf = Conf::one(proxied(2).with("scheduler", "\"rr\""));
        let mut stage = RoutedStage::before_lbd(2, &conf);
        stage
            .net
            .lb
            .sysctl("ipv4.ip_local_port_range", "40000 40099");
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        let mut held = Vec::new();
        for n in 1..=200 {
            let opened = echo(&stage.client(), vip());
            held.push(opened.unwrap_or_else(|error| panic!("connection {n}: {error}")));
        }
        assert_eq!(stage.servers[0].open(), 100);
        let (end, took) = dial::refused(&stage.client(), vip()).expect("no port is left");
        assert_eq!(end, End::Reset);
        assert!(took < Duration::from_millis(500), "{took:?}");
        stage.wait_ended("no_ports", 1);
        figure(
            "T37 connections from 100 ports to 2 reals; the next is refused after",
            format!("200; {took:.1?}"),
        );
        for (stream, _) in &mut held {
            dial::round(stream).expect("the others go on");
        }
        // A port given back without TIME_WAIT serves again.
        let (stream, _) = held.swap_remove(17);
        reset(stream);
        stage.wait_open(199, SOON);
        held.push(echo(&stage.client(), vip()).expect("a port is free"));
    });
}

#[test]
fn t38_the_same_client_port_may_call_many_and_call_again() {
    isolated(|| {
        let conf = Conf::one(proxied(2))
            .service(ServiceConf::proxied("other", 81).routed([1, 2], REAL_PORT))
            .service(proxied6(2));
        let stage = RoutedStage::new(2, &conf);
        let source = SocketAddr::new(CLIENT.into(), 40_000);
        let other = SocketAddr::new(VIP.into(), 81);
        let held = [vip(), other].map(|target| {
            let stream = dial_from(&stage.client(), Some(source), target).expect("connected");
            echo_over(stream).expect("an echo")
        });
        for (mut stream, identity) in held {
            assert_eq!(identity.peer.ip(), CLIENT);
            dial::round(&mut stream).expect("a round");
        }
        stage.wait_open(0, SOON);
        // A request: the server ends first, so that the tuple stays in TIME_WAIT at lbd's host, and
        // calls again at once.
        let source = SocketAddr::new(CLIENT.into(), 40_001);
        let mut slowest = Duration::ZERO;
        for n in 0..20 {
            let start = FairClock::start();
            let stream = dial_from(&stage.client(), Some(source), vip());
            let mut stream = stream.unwrap_or_else(|error| panic!("call {n}: {error}"));
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
            let (end, bytes) = dial::read_to_end(&mut stream);
            assert_eq!(end, End::Closed, "call {n}");
            assert!(bytes > 20, "call {n}");
            drop(stream);
            slowest = slowest.max(start.elapsed());
            let waits = |s: &&sockets::TcpSocket| s.remote == source && s.state == State::TimeWait;
            wait_until(&format!("call {n} waits at lbd's host"), SOON, || {
                let at_lb = sockets::tcp(&stage.net.lb.handle());
                let at_client = sockets::tcp(&stage.client());
                let called = at_client.iter().any(|s| s.local == source);
                at_lb.iter().filter(waits).count() == 1 && !called
            });
        }
        assert!(slowest < Duration::from_millis(500), "{slowest:?}");
        figure(
            "T38 slowest of 20 calls on a tuple in TIME_WAIT",
            format!("{slowest:.1?}"),
        );
    });
}

#[test]
fn t38_a_real_that_refuses_never_shows_to_the_client() {
    isolated(|| {
        let mut stage = RoutedStage::new(2, &Conf::one(proxied(2)));
        stage.servers[0].stop();
        let answers = curl(&stage.net.cl, vip(), 200);
        assert_eq!(spread(&answers)["rs2"], 200);
        stage.wait_ended("ok", 200);
        let conf = Conf::one(proxied(2).proxy("retries", "0"));
        stage.lbd.reload(&conf);
        let answers = curl(&stage.net.cl, vip(), 100).len();
        assert!(
            (20..=80).contains(&answers),
            "{answers} of 100 without another try"
        );
        stage.wait_ended(
            "connect_failed",
            100 - u32::try_from(answers).expect("a hundred at most"),
        );
    });
}

#[test]
fn t39_a_real_that_calls_the_vip_is_not_led_to_itself() {
    isolated(|| {
        let conf = Conf::one(proxied(2).with("scheduler", "\"rr\""));
        let stage = RoutedStage::new(2, &conf);
        let [rs1, rs2] = [&stage.net.reals[0], &stage.net.reals[1]];
        // rs2's answers to rs1's address must come back through lbd, as those to any client.
        rs2.ip(&format!("route add {} via {BACK}", routed::real(1)));
        for _ in 0..20 {
            let answer = request(rs1, vip()).expect("an answer");
            assert_eq!(answer.server, "rs2");
            assert_eq!(answer.peer.ip(), routed::real(1));
        }
        stage.lbd.reload(&Conf::one(proxied(1)));
        let (end, took) = dial::refused(&rs1.handle(), vip()).expect("nobody else is left");
        assert_eq!(end, End::Reset);
        assert!(took < Duration::from_millis(500), "{took:?}");
        stage.wait_ended("own_address", 1);
        assert_eq!(stage.servers[0].connections(), 0, "rs1 never met itself");
    });
}

/// lbd's own host as a client: its packets to a VIP come back to it from its own address, which no
/// host takes. What must not happen is that lbd calls itself.
#[test]
fn t39_lbds_own_host_as_a_client_makes_no_loop() {
    isolated(|| {
        let stage = RoutedStage::new(2, &both());
        for vip in [vip(), vip6()] {
            let limit = Duration::from_millis(500);
            // Served or not, as the host's routes are; but once at most.
            let _ = integration::client::request_within(&stage.net.lb, vip, limit);
        }
        let begun: u64 = stage.servers.iter().map(RealServer::connections).sum();
        assert!(begun <= 2, "{begun}");
        stage.wait_open(0, SOON);
        let vips = [vip(), vip6()];
        let sockets = sockets::tcp(&stage.net.lb.handle());
        let own = sockets
            .iter()
            .filter(|s| vips.contains(&s.local) && vips.contains(&s.remote));
        assert_eq!(own.count(), 0);
        // And others are served as ever.
        assert_eq!(curl(&stage.net.cl, vip(), 20).len(), 20);
    });
}

#[test]
fn t39_a_vip_inside_the_pool_is_refused() {
    isolated(|| {
        let stage = RoutedStage::before_lbd(1, &Conf::one(proxied(1)));
        let pool = proxied(1).real(RealConf::new("self", VIP).dialled_at(PORT));
        stage.lbd.write(&Conf::one(pool));
        let output = stage.lbd.command().arg("--check").output().expect("lbd");
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let words = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(words.contains(&VIP.to_string()), "{words}");
    });
}

#[test]
fn direct_routing_and_the_proxy_share_a_vip() {
    isolated(|| {
        // Real servers for direct routing on the client's network, one more behind lbd.
        let switch = Switch::new(2, Offloads::Defaults);
        let near: Vec<RealServer> = (1..=2).map(|n| serve(&switch, n)).collect();
        let far = Behind::new(&switch.lb, 1, REAL_PORT);
        let behind = ServiceConf::proxied("behind", 81).routed([1], REAL_PORT);
        let mut lbd = Daemon::start(&switch.lb, &Conf::one(web(2)).service(behind));
        lbd.wait_announced();
        let proxied = SocketAddr::new(VIP.into(), 81);
        for round in 0..2 {
            let direct = curl(&switch.cl, vip(), 50);
            assert_eq!(direct.len(), 50, "round {round}");
            let behind = curl(&switch.cl, proxied, 50);
            assert_eq!(spread(&behind).get("far1"), Some(&50), "round {round}");
            let both = direct.iter().chain(&behind);
            assert!(
                both.clone()
                    .all(|answer| answer.peer.ip() == topology::CLIENT)
            );
            assert!(
                transfer(&switch.cl.handle(), vip(), 3_000_017)
                    .expect("a transfer")
                    .same
            );
            assert!(
                transfer(&switch.cl.handle(), proxied, 3_000_017)
                    .expect("a transfer")
                    .same
            );
            lbd.kill();
            lbd.spawn();
            lbd.wait_ready();
            lbd.wait_announced();
        }
        drop((near, far));
    });
}
