//! Proxied datagrams end to end: sessions, whom both sides see, floods, refusals.

use integration::client::datagram;
use integration::conf::{Conf, ServiceConf};
use integration::routed::{CLIENT, CLIENT6};
use integration::stage::{PORT, REAL_PORT, RoutedStage, vip, vip6};
use integration::topology::VIP6;
use integration::{figure, isolated, isolated_within, wait_until};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);

/// `dns`, proxied from the VIP's [`PORT`] to [`REAL_PORT`] of `reals` real servers.
fn dns(reals: u8) -> ServiceConf {
    ServiceConf::udp("dns", PORT)
        .with("mode", "\"tproxy\"")
        .routed(1..=reals, REAL_PORT)
}

/// `dns6`: the same in IPv6.
fn dns6(reals: u8) -> ServiceConf {
    ServiceConf::udp("dns6", PORT)
        .with("mode", "\"tproxy\"")
        .with("vip", &format!("\"{VIP6}\""))
        .routed6(1..=reals, REAL_PORT)
}

/// A client's socket that speaks to `to` alone.
fn client(stage: &RoutedStage, from: SocketAddr, to: SocketAddr) -> UdpSocket {
    let socket = stage.net.cl.run(|| UdpSocket::bind(from).expect("bound"));
    socket.connect(to).expect("connected");
    socket.set_read_timeout(Some(SOON)).expect("a time limit");
    socket
}

/// The next answer: the line that says who answered, and the echo.
fn answer(socket: &UdpSocket) -> (String, Vec<u8>) {
    let mut room = vec![0; 65_536];
    let count = loop {
        match socket.recv(&mut room) {
            Ok(count) => break count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("no answer: {error}"),
        }
    };
    let end = room.iter().position(|byte| *byte == b'\n').expect("a line");
    let line = String::from_utf8_lossy(&room[..end]).into_owned();
    (line, room[end + 1..count].to_vec())
}

#[test]
fn t36_datagrams_keep_both_addresses_and_the_port() {
    isolated(|| {
        let stage = RoutedStage::new(2, &Conf::one(dns(2)).service(dns6(2)));
        for (vip, from) in [(vip(), IpAddr::from(CLIENT)), (vip6(), CLIENT6.into())] {
            for size in [0, 1, 512, 1472, 4000, 20_000] {
                let payload = vec![size as u8; size];
                let echo = datagram(&stage.net.cl, vip, &payload, SOON);
                let echo = echo.unwrap_or_else(|error| panic!("{size} bytes to {vip}: {error}"));
                assert_eq!(echo.peer.ip(), from, "{size} bytes to {vip}");
            }
            let socket = client(&stage, SocketAddr::new(from, 40_000), vip);
            socket.send(b"who").expect("sent");
            let (line, echo) = answer(&socket);
            assert_eq!(echo, b"who");
            let port = format!("{}", SocketAddr::new(from, 40_000));
            assert!(line.contains(&port), "{line}: the client's own port");
        }
    });
}

#[test]
fn t36_a_server_that_is_gone_is_heard_of_and_found_again() {
    isolated(|| {
        let mut stage = RoutedStage::new(1, &Conf::one(dns(1)).service(dns6(1)));
        stage.servers[0].stop();
        let clients = [(vip(), IpAddr::from(CLIENT)), (vip6(), CLIENT6.into())]
            .map(|(vip, from)| client(&stage, SocketAddr::new(from, 40_000), vip));
        for socket in &clients {
            wait_until("the client hears that nobody listens", SOON, || {
                let patience = Some(Duration::from_millis(100));
                socket.set_read_timeout(patience).expect("a time limit");
                let _ = socket.send(b"anybody?");
                let told = socket.recv(&mut [0; 64]);
                told.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
            });
        }
        stage.serve(1);
        for socket in &clients {
            socket.set_read_timeout(Some(SOON)).expect("a time limit");
            wait_until("the client is answered", SOON, || {
                socket.send(b"now?").is_ok() && socket.recv(&mut [0; 64]).is_ok()
            });
        }
    });
}

#[test]
fn a_reload_keeps_sessions_and_a_drained_server_keeps_its_own() {
    isolated(|| {
        let conf = Conf::one(dns(2).with("scheduler", "\"rr\""));
        let stage = RoutedStage::new(2, &conf);
        let sockets: Vec<_> = (0..8u16)
            .map(|n| client(&stage, SocketAddr::new(CLIENT.into(), 40_000 + n), vip()))
            .collect();
        let servers = || -> Vec<String> {
            let ask = |socket: &UdpSocket| {
                socket.send(b"who").expect("sent");
                answer(socket).0
            };
            sockets.iter().map(ask).collect()
        };
        let before = servers();
        assert!(before.iter().any(|line| line.contains("rs1")), "{before:?}");
        assert!(before.iter().any(|line| line.contains("rs2")), "{before:?}");
        let other = dns(2)
            .with("scheduler", "\"rr\"")
            .with("idle_timeout", "\"1m\"");
        stage.lbd.reload(&Conf::one(other).service(dns6(2)));
        assert_eq!(servers(), before, "after a reload");
        stage.lbd.ctl(&["real", "drain", "dns", "rs1"]).ok();
        assert_eq!(servers(), before, "while one drains");
        for n in 0..4u16 {
            let late = client(&stage, SocketAddr::new(CLIENT.into(), 41_000 + n), vip());
            late.send(b"who").expect("sent");
            assert!(answer(&late).0.contains("rs2"), "new ones go elsewhere");
        }
        let flows = stage.lbd.ctl(&["flows", "--service", "dns"]).ok();
        for n in 0..8u16 {
            let client = format!("{CLIENT}:{}", 40_000 + n);
            assert!(flows.stdout().contains(&client), "{}", flows.stdout());
        }
        // Disabled is as dead, at once.
        stage.lbd.ctl(&["real", "disable", "dns", "rs1"]).ok();
        let moved = |line: &String| line.contains("rs2");
        wait_until("all have moved", SOON, || servers().iter().all(moved));
    });
}

/// As many strangers as one host can play: each a client address and port of its own.
const STRANGERS: usize = 100_000;

/// Sessions the service may have; the limit of descriptors here is 20,000.
const CAP: usize = 10_000;

/// Of the process's memory, as the proxy's own tests hold it to.
const ENTRY: usize = 192;

#[test]
fn t42_strangers_in_masses_cost_no_client_a_datagram() {
    isolated_within(Duration::from_secs(240), || {
        let service = dns(1)
            .with("idle_timeout", "\"30s\"")
            .proxy("max_connections", &CAP.to_string());
        let stage = RoutedStage::new(1, &Conf::one(service));
        for strangers in ["198.51.100.32/27", "198.51.100.64/27"] {
            stage
                .net
                .cl
                .ip(&format!("route add local {strangers} dev lo"));
        }
        let sockets: Vec<_> = (0..100u16)
            .map(|n| client(&stage, SocketAddr::new(CLIENT.into(), 50_000 + n), vip()))
            .collect();
        let mut exchanged = 0u32;
        let mut round = || {
            exchanged += 1;
            let payload = exchanged.to_be_bytes();
            for socket in &sockets {
                socket.send(&payload).expect("sent");
            }
            for (who, socket) in sockets.iter().enumerate() {
                assert_eq!(answer(socket).1, payload, "client {who}");
            }
        };
        let strangers = |range: std::ops::Range<usize>| {
            for n in range {
                // 64 addresses, and ports of each.
                let address = Ipv4Addr::new(198, 51, 100, 32 + (n % 64) as u8);
                let from = SocketAddr::new(address.into(), 1024 + (n / 64) as u16);
                let stranger = UdpSocket::bind(from).expect("bound");
                stranger.send_to(b"once", vip()).expect("sent");
            }
        };
        // What does not grow with sessions is there after the first few.
        (0..3).for_each(|_| round());
        for start in (STRANGERS - 500..STRANGERS).step_by(100) {
            stage.net.cl.run(|| strangers(start..start + 100));
            round();
        }
        let before = stage.lbd.resident_kib();
        // No more at once than the server's own queue takes.
        for start in (0..STRANGERS - 500).step_by(100) {
            stage.net.cl.run(|| strangers(start..start + 100));
            round();
        }
        let grown = stage.lbd.resident_kib().saturating_sub(before);
        let status = stage.lbd.service("dns");
        let told = format!(
            "{STRANGERS} strangers beside 100 clients with {exchanged} exchanges each, 0 lost; \
             {} sessions held, {grown} KiB more resident",
            status["flows"]
        );
        figure("T42", &told);
        let flows = status["flows"].as_u64().expect("a number");
        assert!(flows <= CAP as u64, "{flows} sessions");
        assert!(flows >= CAP as u64 * 9 / 10, "{flows} sessions");
        let allowed = (CAP * ENTRY * 11 / 10).div_ceil(1024) as u64;
        assert!(grown <= allowed, "{grown} KiB, allowed {allowed}");
    });
}
